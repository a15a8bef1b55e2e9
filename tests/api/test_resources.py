"""What the routes do, beyond who may use them."""

import re
from typing import Any

import pytest

from engine.domain.facts import AccountFacts, BindingFacts, TenantFacts
from engine.runtime.control.protocol import Failed, Reload
from engine.store.database import open_database, reading
from engine.store.directory_reader import read_changes

from .conftest import NOW_MS, World


async def _newest(world: World, since: int = 0) -> tuple[int, list[Any], list[tuple[str, str]]]:
    database = open_database(world.settings.database_url)
    async with reading(database) as connection:
        newest = await read_changes(connection, since)
    await database.dispose()
    return newest


async def _platform(world: World, method: str, path: str, **request: Any) -> Any:
    return await world.ask("platform", method, f"/api/platform{path}", **request)


async def test_health_and_schema_ask_for_a_token(world: World) -> None:
    assert (await world.ask(None, "GET", "/health")).json() == {"status": "ok"}
    schema = (await world.ask(None, "GET", "/schema/openapi.json")).json()
    assert "/api/tenant/bindings" in schema["paths"]
    assert (await world.ask(None, "GET", "/schema")).status_code == 200
    assert set(re.findall(r"https?://[^/'\"]*", str(schema))) <= {"https://crm.example.com"}, "but for the example"


async def test_engines_do_not_hear_of_a_write(world: World) -> None:
    since, _, _ = await _newest(world)
    await _platform(world, "PATCH", "/tenants/1", json={"status": "suspended"})
    await _platform(world, "POST", "/tenants/2/recharges", json={"amount_micro": 7, "key": "k"})
    _, facts, _ = await _newest(world, since)
    assert facts == [TenantFacts(1, "t1", "suspended"), AccountFacts(2, 5007, 1000, 0)]
    assert world.control.asked == [Reload(), Reload()]


async def test_a_write_fails_since_the_engine_is_away(world: World) -> None:
    world.control.away = True
    answer = await _platform(world, "PATCH", "/tenants/1", json={"status": "suspended"})
    assert (answer.status_code, answer.json()["status"]) == (200, "suspended")
    answer = await _platform(world, "GET", "/live-calls")
    assert (answer.status_code, answer.json()["title"]) == (503, "The engine is away")
    assert answer.headers["retry-after"] == "2"


async def test_the_engine_refuses(world: World) -> None:
    world.control.reply = Failed("out of order")
    for method, path in (("GET", "/live-calls"), ("POST", "/live-calls/call1/hang-up")):
        answer = await _platform(world, method, path)
        assert (answer.status_code, answer.json()["detail"]) == (502, "out of order")


async def test_a_call_that_is_over_is_hung_up(world: World) -> None:
    assert (await _platform(world, "POST", "/live-calls/call9/hang-up")).status_code == 404


async def test_a_recharge_is_sent_twice(world: World) -> None:
    body = {"amount_micro": 1000, "key": "bank-1"}
    path = "/tenants/1/recharges"
    assert (await _platform(world, "POST", path, json=body)).json() == {"applied": True, "balance_micro": 6000}
    assert (await _platform(world, "POST", path, json=body)).json() == {"applied": False, "balance_micro": 6000}
    answer = await _platform(world, "POST", path, json=body | {"amount_micro": 1001})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "key")
    assert (await _platform(world, "POST", "/tenants/9/recharges", json=body)).status_code == 404
    ledger = (await world.ask("tenant1", "GET", "/api/tenant/ledger")).json()["items"]
    assert [entry["amount_micro"] for entry in ledger] == [1000, 5000]


async def test_a_code_is_taken(world: World) -> None:
    answer = await _platform(world, "POST", "/tenants", json={"code": "t1", "name": "x"})
    assert (answer.status_code, answer.json()["errors"]) == (409, [{"field": "code", "reason": "is taken"}])
    since, _, _ = await _newest(world)
    answer = await _platform(
        world, "POST", "/agents", json={"tenant_id": 1, "code": "x", "name": "x", "phone": "13800138002"}
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "phone")
    assert (await _newest(world, since))[1] == []


async def test_a_row_refers_to_nothing(world: World) -> None:
    assert (
        await _platform(world, "POST", "/agents", json={"tenant_id": 9, "code": "x", "name": "x"})
    ).status_code == 422
    body = {"carrier_id": 1, "trunk_id": 9, "rate_id": 1, "code": "x", "name": "x"}
    assert (await _platform(world, "POST", "/lines", json=body)).status_code == 422
    assert (await _platform(world, "PUT", "/x-numbers/4/tenant", json={"tenant_id": 9})).status_code == 422
    user = {"login": "x", "password": "12345678", "role": "agent", "tenant_id": 2, "agent_id": 1}
    assert (await _platform(world, "POST", "/users", json=user)).json()["errors"][0]["field"] == "agent_id"


async def test_a_line_goes_over_another_carriers_trunk(world: World) -> None:
    await _platform(world, "POST", "/carriers", json={"code": "c2", "name": "x"})
    body = {"carrier_id": 2, "trunk_id": 1, "rate_id": 1, "code": "x", "name": "x"}
    answer = await _platform(world, "POST", "/lines", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "trunk_id")
    assert len((await _platform(world, "GET", "/lines")).json()["items"]) == 2


async def test_a_bound_number_goes_to_another_tenant(world: World) -> None:
    assert (await _platform(world, "PUT", "/x-numbers/1/tenant", json={"tenant_id": 2})).status_code == 409
    await world.ask("tenant1", "DELETE", "/api/tenant/bindings/binding1")
    answer = await _platform(world, "PUT", "/x-numbers/1/tenant", json={"tenant_id": 2})
    assert (answer.json()["tenant_id"], answer.json()["agent_id"]) == (2, None)


async def test_a_binding_lives_and_ends(world: World) -> None:
    since, _, _ = await _newest(world)
    body = {"x_number": "010-88880002", "b_number": "13900139009", "agent_id": 1, "expires_at_ms": NOW_MS + 5000}
    answer = await world.ask("tenant1", "POST", "/api/tenant/bindings", json=body)
    binding = answer.json()
    assert (binding["a_number"], binding["b_number"]) == ("+8613800138001", "+8613900139009")
    since, facts, _ = await _newest(world, since)
    assert isinstance(facts[0], BindingFacts)
    answer = await world.ask("tenant1", "POST", "/api/tenant/bindings", json=body)
    assert (answer.status_code, answer.json()["errors"]) == (
        409,
        [{"field": "a_number", "reason": "is in a live binding on this X number"}],
    )
    path = f"/api/tenant/bindings/{binding['id']}"
    assert (await world.ask("tenant1", "PATCH", path, json={"expires_at_ms": NOW_MS})).status_code == 422
    assert (await world.ask("tenant1", "DELETE", path)).status_code == 204
    assert (await world.ask("tenant1", "DELETE", path)).status_code == 404
    assert (await _newest(world, since))[2] == [("bindings", binding["id"])]
    live = (await world.ask("tenant1", "GET", "/api/tenant/bindings")).json()["items"]
    ever = (await world.ask("tenant1", "GET", "/api/tenant/bindings?live=false")).json()["items"]
    assert (len(live), len(ever)) == (2, 3)


async def test_an_agent_binds_with_nothing_but_a_number(world: World) -> None:
    await world.ask("agent1", "DELETE", "/api/agent/bindings/binding1")
    answer = await world.ask(
        "agent1", "POST", "/api/agent/bindings", json={"x_number": "01088880001", "b_number": "13900139009"}
    )
    assert answer.status_code == 201
    assert (answer.json()["a_number"], answer.json()["b_number"]) == ("+8613800138001", "139****9009")


async def test_an_overdraft_limit_changes_without_a_reason(world: World) -> None:
    for method, path, body in (
        ("PATCH", "/tenants/1", {"overdraft_limit_micro": 0, "name": "New"}),
        ("POST", "/tenants", {"code": "new", "name": "New", "overdraft_limit_micro": 9}),
        ("PUT", "/tenants/1/overdraft-limit", {"limit_micro": 0}),
        ("PUT", "/tenants/1/overdraft-limit", {"limit_micro": 0, "reason": ""}),
    ):
        answer = await _platform(world, method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "value.invalid")
    assert (await _platform(world, "GET", "/tenants/1/account")).json()["overdraft_limit_micro"] == 1000
    body = {"limit_micro": 0, "reason": "no longer agreed"}
    assert (await _platform(world, "PUT", "/tenants/1/overdraft-limit", json=body)).status_code == 200
    (entry,) = (await _platform(world, "GET", "/audit?entity=overdraft_changes")).json()["items"]
    shown = {name: entry["after"][name] for name in ("from_micro", "to_micro", "reason")}
    assert shown == {"from_micro": 1000, "to_micro": 0, "reason": "no longer agreed"}
    assert (entry["tenant_id"], entry["actor"]) == (1, "platform")


async def test_pages_repeat_or_skip(world: World) -> None:
    for path, key, count in (
        ("/api/platform/agents", "id", 3),
        ("/api/platform/cdrs", "id", 3),
        ("/api/platform/accounts", "tenant_id", 2),
        ("/api/tenant/bindings", "id", 2),
        ("/api/tenant/cdrs", "id", 2),
    ):
        who = "platform" if "platform" in path else "tenant1"
        seen: list[Any] = []
        cursor = ""
        while True:
            page = (await world.ask(who, "GET", f"{path}?limit=1{cursor}")).json()
            seen += [item[key] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert len(seen) == len(set(seen)) == count, path


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("state=ended", ["cdr3", "cdr2", "cdr1"]),
        ("state=ringing", []),
        ("tenant_id=2", ["cdr3"]),
        ("agent_id=2", ["cdr2"]),
        (f"from_ms={NOW_MS + 2}", ["cdr3", "cdr2"]),
        (f"to_ms={NOW_MS + 2}", ["cdr1"]),
        ("number=13900139001", ["cdr1"]),
        ("answered=false", []),
        ("cause=busy", []),
        ("cause=normal&answered=true&limit=1", ["cdr3"]),
    ],
)
async def test_cdrs_are_not_found(world: World, query: str, ids: list[str]) -> None:
    answer = await _platform(world, "GET", f"/cdrs?{query}")
    assert [item["id"] for item in answer.json()["items"]] == ids
