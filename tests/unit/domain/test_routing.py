from dataclasses import replace

import pytest

from engine.domain.cause import Cause
from engine.domain.facts import (
    AgentFacts,
    BindingFacts,
    CarrierPermissionFacts,
    LineFacts,
    LinePermissionFacts,
    TenantFacts,
    TrunkFacts,
    XNumberFacts,
)
from engine.domain.lines.directory import Directory
from engine.domain.lines.routing import Direction, NoRoute, Route, route_axb
from tests.unit.facts import NOW_MS, STRANGER, TRUNK, A, B, X, directory


def route(world: Directory, caller: str | None, dialled: str | None = X) -> Route | NoRoute:
    return route_axb(world, caller=caller, dialled=dialled, now_ms=NOW_MS)


def refused(result: Route | NoRoute) -> Cause:
    assert isinstance(result, NoRoute)
    return result.cause


def test_a_reaches_b() -> None:
    found = route(directory(), A)
    assert isinstance(found, Route)
    assert (found.callee_number, found.parties.direction) == (B, Direction.A_TO_B)
    assert found.callee_agent_id is None, "a customer is never looked for among softphones"


def test_b_reaches_a_and_may_ring_its_softphone() -> None:
    found = route(directory(), B)
    assert isinstance(found, Route)
    assert (found.callee_number, found.parties.direction, found.callee_agent_id) == (A, Direction.B_TO_A, 1)


def test_unknown_x_and_unknown_caller_are_told_apart() -> None:
    assert refused(route(directory(), A, "+861065599999")) is Cause.UNKNOWN_X
    assert refused(route(directory(), A, None)) is Cause.UNKNOWN_X
    assert refused(route(directory(), STRANGER)) is Cause.NO_BINDING
    assert refused(route(directory(), None)) is Cause.NO_BINDING


def test_an_expired_binding_reaches_nobody() -> None:
    binding = BindingFacts("binding-1", 1, 1, 1, A, B, "both", True, NOW_MS, None)
    assert refused(route(directory(binding), A)) is Cause.NO_BINDING
    assert isinstance(route(directory(replace(binding, expires_at_ms=NOW_MS + 1)), A), Route)


@pytest.mark.parametrize(("allowed", "forbidden_caller"), [("a_to_b", B), ("b_to_a", A)])
def test_a_one_way_binding_refuses_the_other_way(allowed: str, forbidden_caller: str) -> None:
    world = directory(BindingFacts("binding-1", 1, 1, 1, A, B, allowed, True, None, None))
    assert refused(route(world, forbidden_caller)) is Cause.NO_BINDING
    assert isinstance(route(world, A if forbidden_caller == B else B), Route)


def test_an_unknown_caller_is_put_through_to_the_owner_where_the_number_says_so() -> None:
    world = directory(XNumberFacts(1, X, 1, 1, 1, "owner", "active"))
    found = route(world, STRANGER)
    assert isinstance(found, Route)
    assert (found.callee_number, found.parties.b_number, found.parties.binding_id) == (A, STRANGER, None)


def test_the_owner_without_a_binding_is_not_put_through_to_himself() -> None:
    world = directory(XNumberFacts(1, X, 1, 1, 1, "owner", "active"))
    world.remove("bindings", "binding-1")
    assert refused(route(world, A)) is Cause.NO_BINDING


def test_a_call_goes_over_a_carrier_that_its_tenant_may_not_use() -> None:
    world = directory()
    world.remove("carrier_permissions", "1")
    assert refused(route(world, A)) is Cause.CARRIER_NOT_PERMITTED
    world.apply([LinePermissionFacts(1, 2, 1), CarrierPermissionFacts(2, 1, 2)])  # another tenant, another carrier
    assert refused(route(world, A)) is Cause.CARRIER_NOT_PERMITTED
    world.apply([LinePermissionFacts(2, 1, 1)])
    assert isinstance(route(world, A), Route)
    world.remove("line_permissions", "2")
    assert refused(route(world, A)) is Cause.CARRIER_NOT_PERMITTED


def test_suspended_tenants_gone_agents_and_lines_out_of_service_carry_no_call() -> None:
    assert refused(route(directory(TenantFacts(1, "acme", "suspended")), A)) is Cause.TENANT_SUSPENDED
    assert refused(route(directory(AgentFacts(1, 1, A, "left")), A)) is Cause.NO_BINDING
    assert refused(route(directory(LineFacts(1, 1, 1, True, "suspended")), A)) is Cause.TRUNK_FAILURE
    assert refused(route(directory(XNumberFacts(1, X, 1, 1, 1, "refuse", "retired")), A)) is Cause.UNKNOWN_X


def test_a_new_binding_that_comes_before_the_old_ones_end_stays() -> None:
    world = directory(BindingFacts("binding-2", 1, 1, 1, A, STRANGER, "both", True, None, None))
    world.remove("bindings", "binding-1")
    found = route(world, A)
    assert isinstance(found, Route)
    assert found.callee_number == STRANGER
    assert refused(route(world, B)) is Cause.NO_BINDING


def test_trunks_are_found_by_exact_source_before_network() -> None:
    world = directory(TrunkFacts(2, "lab", "10.1.2.3", 5060, ("10.1.2.3",), "e164", 10, "active"))
    for source, code in [(("127.0.0.3", 5060), "carrier"), (("10.1.2.3", 9999), "lab"), (("10.1.9.9", 1), "carrier")]:
        trunk = world.trunk_by_source(*source)
        assert trunk is not None
        assert trunk.code == code
    assert world.trunk_by_source("127.0.0.3", 5061) is None
    world.apply([replace(TRUNK, source_addresses=("127.0.0.3",))])
    assert world.trunk_by_source("127.0.0.3", 5061) is not None, "the cache was forgotten"
