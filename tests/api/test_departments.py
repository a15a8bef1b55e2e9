"""A tenant's tree of departments."""

from typing import Any

import pytest

from engine.domain.people.department import DEPTH_MAX, DepartmentCycle, DepartmentTooDeep, moved, path_of

from .conftest import World


async def _ask(world: World, method: str, path: str, status: int, body: Any = None) -> Any:
    answer = await world.ask("tenant1", method, f"/api/tenant/departments{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def _make(world: World, name: str, parent_id: int | None) -> int:
    return int((await _ask(world, "POST", "", 201, {"name": name, "parent_id": parent_id}))["id"])


def test_a_department_hangs_below_itself() -> None:
    for parent in ("/1/2/", "/1/2/3/"):
        with pytest.raises(DepartmentCycle):
            moved(["/1/2/", "/1/2/3/"], "/1/2/", parent)
    assert moved(["/1/2/", "/1/2/3/"], "/1/2/", "/12/") == {"/1/2/": "/12/2/", "/1/2/3/": "/12/2/3/"}
    assert moved(["/1/2/"], "/1/2/", None) == {"/1/2/": "/2/"}
    assert moved(["/2/"], "/2/", "/21/") == {"/2/": "/21/2/"}, "21 does not lie below 2"


def test_the_deepest_of_a_moved_subtree_is_forgotten() -> None:
    deep = "/" + "".join(f"{n}/" for n in range(1, DEPTH_MAX))
    assert path_of(deep, 99).count("/") == DEPTH_MAX + 1
    with pytest.raises(DepartmentTooDeep):
        path_of(path_of(deep, 99), 100)
    with pytest.raises(DepartmentTooDeep):
        moved(["/50/", "/50/51/"], "/50/", deep)
    assert moved(["/50/"], "/50/", deep)


async def test_a_subtree_stays_behind_as_its_top_moves(world: World) -> None:
    a = await _make(world, "A", 1)
    b = await _make(world, "B", a)
    c = await _make(world, "C", None)
    refused = await _ask(world, "PATCH", f"/{a}", 409, {"parent_id": b})
    assert refused["code"] == "department.cycle"
    await _ask(world, "PATCH", f"/{a}", 200, {"parent_id": c})
    assert (await _ask(world, "GET", f"/{b}", 200))["path"] == [c, a, b]
    below = (await _ask(world, "GET", f"?within={c}", 200))["items"]
    assert {row["id"] for row in below} == {a, b, c}
    assert [row["id"] for row in (await _ask(world, "GET", "?within=1", 200))["items"]] == [1]
    assert (await _ask(world, "GET", "?within=2", 200))["items"] == [], "another tenant's"


async def test_two_sisters_have_one_name(world: World) -> None:
    await _make(world, "A", 1)
    assert (await _ask(world, "POST", "", 409, {"name": "A", "parent_id": 1}))["code"] == "department.name_taken"
    assert (await _ask(world, "POST", "", 409, {"name": "Department 1"}))["code"] == "department.name_taken"
    other = await _make(world, "A", None)
    await _ask(world, "PATCH", f"/{other}", 409, {"parent_id": 1})
    await _ask(world, "PATCH", f"/{other}", 200, {"name": "A"})


async def test_a_department_goes_with_those_who_are_in_it(world: World) -> None:
    a = await _make(world, "A", 1)
    assert (await _ask(world, "DELETE", "/1", 409))["allowed"] == ["move its departments"]
    await world.ask("tenant1", "PATCH", "/api/tenant/agents/1", json={"department_id": a})
    assert (await _ask(world, "GET", "/1", 200))["agents"] == 1, "counted with those below"
    await _ask(world, "PUT", f"/{a}/heads", 200, {"agent_ids": [2]})
    assert (await _ask(world, "DELETE", f"/{a}", 409))["allowed"] == ["move its agents"]
    await world.ask("tenant1", "PATCH", "/api/tenant/agents/1", json={"department_id": None})
    await _ask(world, "DELETE", f"/{a}", 204)
    await _ask(world, "GET", f"/{a}", 404)


async def test_a_former_head_stays_one(world: World) -> None:
    assert (await _ask(world, "PUT", "/1/heads", 200, {"agent_ids": [2, 1, 1]}))["head_ids"] == [1, 2]
    assert (await _ask(world, "PUT", "/1/heads", 200, {"agent_ids": [2]}))["head_ids"] == [2]
    assert (await _ask(world, "PUT", "/1/heads", 422, {"agent_ids": [3]}))["code"] == "agent.unknown"
    assert (await _ask(world, "GET", "/1", 200))["head_ids"] == [2]
