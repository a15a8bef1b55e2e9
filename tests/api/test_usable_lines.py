from typing import Any

import pytest
from sqlalchemy import select

from engine.domain.facts import DepartmentFacts, UsableLinesFacts
from engine.store.database import open_database, reading, writing_session
from engine.store.directory_reader import read_all, read_changes
from engine.store.tables import Line
from engine.store.tables.identity import AuditEntry

from .conftest import A1, NOW_MS, X1, X2, World


async def lines_of(world: World, who: str, holder: str) -> Any:
    return (await world.ask(who, "GET", f"/api/{who.rstrip('12')}/{holder}/lines")).json()


async def put(world: World, holder: str, *line_ids: int, who: str = "tenant1", **body: Any) -> Any:
    return await world.ask(who, "PUT", f"/api/{who.rstrip('12')}/{holder}/lines", json={"line_ids": line_ids, **body})


async def a_department(world: World, parent_id: int | None) -> int:
    answer = await world.ask("tenant1", "POST", "/api/tenant/departments", json={"name": "New", "parent_id": parent_id})
    return int(answer.json()["id"])


async def test_a_list_of_a_department_is_not_inherited(world: World) -> None:
    below = await a_department(world, 1)
    assert (await world.ask("tenant1", "PATCH", "/api/tenant/agents/1", json={"department_id": below})).is_success
    assert await lines_of(world, "tenant1", "agents/1") == {
        "line_ids": [1, 2],
        "is_own": False,
        "inherited_from_id": None,
    }
    assert (await put(world, "departments/1", 2)).status_code == 200
    assert await lines_of(world, "tenant1", "agents/1") == {"line_ids": [2], "is_own": False, "inherited_from_id": 1}
    assert (await put(world, f"departments/{below}", 1)).status_code == 200
    assert (await lines_of(world, "tenant1", "agents/1"))["inherited_from_id"] == below
    assert (await put(world, "agents/1")).json() == {"line_ids": [], "is_own": True, "inherited_from_id": None}
    shown = (await world.ask("agent1", "GET", "/api/agent/lines")).json()["items"]
    assert [(line["id"], line["is_permitted"]) for line in shown] == [(1, False)]
    assert (await world.ask("tenant1", "DELETE", "/api/tenant/agents/1/lines")).json()["line_ids"] == [1]
    assert (await world.ask("tenant1", "DELETE", "/api/tenant/agents/1/lines")).status_code == 404


async def test_a_number_goes_to_somebody_who_may_not_use_its_line(world: World) -> None:
    """Numbers 1 and 2 are of line 1."""
    await put(world, "agents/2", 2)
    answer = await world.ask("tenant1", "PUT", "/api/tenant/x-numbers/2/agent", json={"agent_id": 2})
    assert (answer.status_code, answer.json()["code"]) == (409, "line_not_permitted")
    assert answer.json()["errors"][0]["field"] == "agent_id"
    body = {"x_number_ids": [2], "department_id": 1}
    await put(world, "departments/1", 2)
    answer = await world.ask("tenant1", "POST", "/api/tenant/x-numbers/assignments", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "department_id")
    await put(world, "departments/1", 1)
    assert (await world.ask("tenant1", "POST", "/api/tenant/x-numbers/assignments", json=body)).status_code == 201


async def test_a_binding_is_made_that_carries_no_call(world: World) -> None:
    await put(world, "agents/1", 2)
    body = {"x_number": X2, "b_number": "13900139009", "agent_id": 1}
    answer = await world.ask("tenant1", "POST", "/api/tenant/bindings", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "line_not_permitted")
    answer = await world.ask("agent1", "POST", "/api/agent/bindings", json={"x_number": X1, "b_number": "13900139009"})
    assert (answer.status_code, answer.json()["code"]) == (409, "line_not_permitted")
    assert A1 not in answer.text
    await put(world, "agents/1", 1, 2)
    assert (await world.ask("tenant1", "POST", "/api/tenant/bindings", json=body)).status_code == 201


async def test_a_tenant_is_told_of_carriers_or_keeps_what_the_platform_named(world: World) -> None:
    """The platform names a carrier; a line that comes later is in the list. The tenant's own list replaces it."""
    assert (await put(world, "agents/1", who="platform", carrier_ids=[1])).json()["carrier_ids"] == [1]
    database = open_database(world.settings.database_url)
    async with writing_session(database, NOW_MS) as session:
        session.add(Line(carrier_id=1, trunk_id=1, rate_id=1, code="l3", name="Line 3"))
    await database.dispose()
    assert (await lines_of(world, "tenant1", "agents/1"))["line_ids"] == [1, 2, 3]
    await put(world, "agents/1", 1, 2)
    assert (await lines_of(world, "platform", "agents/1")) | {"line_ids": 0} == {
        "line_ids": 0,
        "is_own": True,
        "inherited_from_id": None,
        "carrier_ids": [],
    }


@pytest.mark.parametrize(
    ("body", "field"), [({"line_ids": [99]}, "line_ids"), ({"line_ids": [1], "carrier_ids": [9]}, "carrier_ids")]
)
async def test_a_list_names_what_the_tenant_may_not_use(world: World, body: dict[str, Any], field: str) -> None:
    answer = await world.ask("platform", "PUT", "/api/platform/agents/1/lines", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    await world.ask("platform", "DELETE", "/api/platform/carriers/1/tenants/2")
    answer = await world.ask("tenant2", "PUT", "/api/tenant/agents/3/lines", json={"line_ids": [1]})
    assert answer.status_code == 422, "line 2 alone is his by now"


async def test_engines_are_not_told_of_lists_and_departments(world: World) -> None:
    database = open_database(world.settings.database_url)
    async with reading(database) as connection:
        newest, _facts = await read_all(connection)
    below = await a_department(world, None)
    await put(world, f"departments/{below}", 1)
    await world.ask("tenant1", "PATCH", f"/api/tenant/departments/{below}", json={"parent_id": 1})
    async with reading(database) as connection:
        newest, facts, removed = await read_changes(connection, newest)
    assert (facts, removed) == (
        [DepartmentFacts(below, 1, f"/1/{below}/"), UsableLinesFacts(2, 1, below, None, (1,), ())],
        [],
    )
    assert (await world.ask("tenant1", "DELETE", f"/api/tenant/departments/{below}")).status_code == 204
    async with reading(database) as connection:
        _newest, facts, removed = await read_changes(connection, newest)
        entries = (await connection.execute(select(AuditEntry.action).where(AuditEntry.entity == "usable_lines"))).all()
    await database.dispose()
    assert (facts, removed) == ([], [("departments", str(below)), ("usable_lines", "2")])
    assert [entry.action for entry in entries] == ["create", "delete"]


async def test_a_replacement_stops_at_a_line_that_was_taken_from_its_agent(world: World) -> None:
    await put(world, "agents/1", 2)
    await world.ask("platform", "POST", "/api/platform/x-numbers", json={"number": "01088880009", "line_id": 1})
    answer = await world.ask("platform", "POST", "/api/platform/x-numbers/1/replacement", json={"ends_bindings": True})
    assert answer.status_code == 200, answer.text
    assert answer.json()["by"]["agent_id"] == 1
