import pytest

from engine.domain.cause import CODES, Cause
from engine.domain.facts import (
    AgentFacts,
    BindingFacts,
    DepartmentFacts,
    Facts,
    LineFacts,
    UsableLinesFacts,
    XNumberFacts,
)
from engine.domain.lines.directory import Directory
from engine.domain.lines.routing import NoRoute, Route, route_axb
from tests.unit.facts import NOW_MS, A, B, X, directory

TREE = (DepartmentFacts(1, 1, "/1/"), DepartmentFacts(5, 1, "/1/5/"), DepartmentFacts(11, 1, "/11/"))
IN_5 = AgentFacts(1, 1, A, "active", department_id=5)


def of_agent(*line_ids: int, carriers: tuple[int, ...] = ()) -> UsableLinesFacts:
    return UsableLinesFacts(1, 1, None, 1, line_ids, carriers)


def of_department(department_id: int, *line_ids: int, carriers: tuple[int, ...] = ()) -> UsableLinesFacts:
    return UsableLinesFacts(100 + department_id, 1, department_id, None, line_ids, carriers)


def cause(world: Directory, caller: str = A) -> Cause | None:
    found = route_axb(world, caller=caller, dialled=X, now_ms=NOW_MS)
    assert isinstance(found, NoRoute | Route)
    return found.cause if isinstance(found, NoRoute) else None


@pytest.mark.parametrize(
    ("lists", "allowed"),
    [
        ((), True),
        ((of_agent(1),), True),
        ((of_agent(2),), False),
        ((of_agent(),), False),
        ((of_agent(carriers=(1,)),), True),
        ((of_agent(2, carriers=(2,)),), False),
        ((of_department(5, 1),), True),
        ((of_department(5, 2),), False),
        ((of_department(1, 2),), False),
        ((of_department(1, carriers=(1,)),), True),
        ((of_department(11, 2),), True),
        ((of_department(1, 2), of_department(5, 1)), True),
        ((of_department(1, 1), of_department(5, 2)), False),
        ((of_department(5, 2), of_agent(1)), True),
        ((of_department(5, 1), of_agent(2)), False),
    ],
)
def test_an_agent_calls_over_a_line_that_is_kept_from_him(lists: tuple[Facts, ...], allowed: bool) -> None:
    world = directory(*TREE, IN_5, *lists)
    assert cause(world) is (None if allowed else Cause.LINE_NOT_PERMITTED)
    assert cause(world, B) is (None if allowed else Cause.LINE_NOT_PERMITTED), "nor does anybody reach him over it"


def test_a_number_of_a_department_lends_its_line_to_a_binding_of_nobodys() -> None:
    nobodys = BindingFacts("binding-1", 1, None, 1, A, B, "both", True, None, None)
    number = XNumberFacts(1, X, 1, 1, None, "refuse", "active", department_id=5)
    assert cause(directory(*TREE, nobodys, number, of_department(5, 1))) is None
    assert cause(directory(*TREE, nobodys, number, of_department(1, 2))) is Cause.LINE_NOT_PERMITTED


def test_lists_come_and_go_and_departments_move() -> None:
    world = directory(*TREE, IN_5, of_department(1, 2))
    assert cause(world) is Cause.LINE_NOT_PERMITTED
    world.apply([DepartmentFacts(5, 1, "/11/5/")])
    assert cause(world) is None, "he is elsewhere now"
    world.apply([of_agent(2)])
    assert cause(world) is Cause.LINE_NOT_PERMITTED
    world.apply([of_agent(2, 1)])
    assert cause(world) is None
    world.apply([LineFacts(1, 1, 1, True, "active", carrier_id=1), of_agent(2)])
    world.remove("usable_lines", "1")
    assert cause(world) is None
    world.remove("departments", "5")
    world.remove("usable_lines", "99")


def test_a_tenants_permission_goes_before() -> None:
    world = directory(of_agent(1))
    world.remove("carrier_permissions", "1")
    assert cause(world) is Cause.CARRIER_NOT_PERMITTED
    assert CODES[Cause.LINE_NOT_PERMITTED].sip_status == 403
