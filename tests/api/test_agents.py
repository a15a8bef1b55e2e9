"""Agents: their phones, and their suspension."""

from typing import Any

from engine.domain.facts import AgentFacts, BindingFacts
from engine.runtime.control.protocol import CutCalls, Reload
from engine.store.database import open_database, reading
from engine.store.directory_reader import read_changes

from .conftest import A1, A2, A3, B2, X1, X2, World


async def _tenant(world: World, method: str, path: str, status: int, body: Any = None, who: str = "tenant1") -> Any:
    answer = await world.ask(who, method, f"/api/tenant{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def _newest(world: World, since: int = 0) -> tuple[int, list[Any], list[tuple[str, str]]]:
    database = open_database(world.settings.database_url)
    async with reading(database) as connection:
        newest = await read_changes(connection, since)
    await database.dispose()
    return newest


async def test_a_phone_taken_elsewhere_tells_of_another_tenants_agent(world: World) -> None:
    await _tenant(world, "POST", "/agents", 201, {"code": "x", "name": "x", "phone": A3})
    refused = await _tenant(world, "POST", "/agents", 409, {"code": "y", "name": "y", "phone": A2})
    assert (refused["code"], refused["errors"][0]["field"]) == ("agent.phone_taken", "phone")
    refused = await _tenant(world, "PATCH", "/agents/1", 409, {"phone": A2})
    assert A2 not in str(refused)
    assert (await _tenant(world, "POST", "/agents", 409, {"code": "a1", "name": "y"}))["code"] == "agent.code_taken"


async def test_a_binding_keeps_the_old_phone(world: World) -> None:
    since, _, _ = await _newest(world)
    new = "+8613800138011"
    await _tenant(world, "PATCH", "/agents/1", 200, {"phone": "138 0013 8011"})
    _, facts, gone = await _newest(world, since)
    assert gone == []
    assert [fact.a_number for fact in facts if isinstance(fact, BindingFacts)] == [new]
    assert [fact.phone for fact in facts if isinstance(fact, AgentFacts)] == [new]
    body = {"x_number": X1, "b_number": "13900139008", "agent_id": 1}
    await _tenant(world, "POST", "/bindings", 409, body)  # the new phone is on X1 now
    await _tenant(world, "PATCH", "/agents/2", 200, {"phone": A1})
    body = {"x_number": X1, "b_number": "13900139008", "agent_id": 2}
    await _tenant(world, "POST", "/bindings", 201, body)  # and the old one is not any more


async def test_a_new_phone_meets_itself_on_an_x(world: World) -> None:
    await _tenant(world, "PATCH", "/agents/2", 200, {"phone": B2})  # the customer of his own binding
    await _tenant(world, "GET", "/bindings/binding2", 200)
    assert (await _tenant(world, "GET", "/bindings/binding2", 200))["ended_at_ms"] == world.now_ms
    await _tenant(world, "PATCH", "/agents/1", 200, {"phone": X1})
    assert (await _tenant(world, "GET", "/bindings/binding1", 200))["ended_at_ms"] == world.now_ms


async def test_bindings_outlive_the_phone_that_they_were_to_end_with(world: World) -> None:
    await _tenant(world, "PATCH", "/agents/1", 200, {"phone": "13800138011", "live_bindings": "end"})
    assert (await _tenant(world, "GET", "/bindings/binding1", 200))["ended_at_ms"] == world.now_ms
    await _tenant(world, "PATCH", "/agents/2", 200, {"phone": None})
    assert (await _tenant(world, "GET", "/bindings/binding2", 200))["ended_at_ms"] == world.now_ms
    assert (await _tenant(world, "GET", "/bindings", 200))["items"] == []


async def test_running_calls_are_cut_before_new_ones_are_refused(world: World) -> None:
    answer = await _tenant(world, "PUT", "/agents/1/suspension", 200, {"running_calls": "cut"})
    assert answer == {"status": "suspended", "calls_cut": 1, "engine_answered": True}
    assert world.control.asked == [Reload(), CutCalls(1, 1)]
    world.control.asked.clear()
    answer = await world.ask("platform", "PUT", "/api/platform/tenants/1/suspension", json={"running_calls": "finish"})
    assert answer.json()["calls_cut"] is None
    assert world.control.asked == [Reload()]


async def test_a_suspension_fails_since_the_engine_is_away(world: World) -> None:
    world.control.away = True
    answer = await _tenant(world, "PUT", "/agents/1/suspension", 200, {"running_calls": "cut"})
    assert answer == {"status": "suspended", "calls_cut": None, "engine_answered": False}
    assert (await _tenant(world, "GET", "/agents/1", 200))["status"] == "suspended"
    assert (await world.ask("agent1", "GET", "/api/agent/me")).status_code == 401


async def test_an_agent_leaves_by_a_patch(world: World) -> None:
    refused = await _tenant(world, "PATCH", "/agents/1", 409, {"status": "left"})
    assert (refused["code"], refused["allowed"]) == ("agent.not_offboarded", ["active", "suspended"])
    assert (await _tenant(world, "GET", "/x-numbers?agent_id=1", 200))["items"][0]["number"] != X2
