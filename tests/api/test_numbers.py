"""Numbers from the platform to a tenant, a department, an agent and back, and their replacement on evidence."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from admin_api.number_keeping import keep_numbers
from engine.services.lines.number_allocation import DAY_MS, By, TooFewNumbers, allocate_of_line
from engine.services.lines.number_import import CHUNK_ROWS
from engine.store.database import open_database, writing, writing_session
from engine.store.records.cdr_store import write_cdrs

from .conftest import A1, B1, NOW_MS, World, cdr

NUMBERS = "/api/platform/x-numbers"


async def _platform(world: World, method: str, path: str, **request: Any) -> Any:
    return await world.ask("platform", method, f"/api/platform{path}", **request)


async def _import(world: World, first: int, count: int, line_id: int = 2) -> Any:
    content = "\n".join(f"010{66660000 + first + each}" for each in range(count))
    return (await _platform(world, "POST", "/x-numbers/imports", json={"line_id": line_id, "content": content})).json()


async def test_a_number_is_in_two_hands(world: World) -> None:
    """Two tenants and three connections, all asking at once for more than there is."""
    assert (await _import(world, 1, 40))["added"] == 40
    databases = [open_database(world.settings.database_url) for _ in range(3)]

    async def take(index: int) -> list[int]:
        try:
            async with writing_session(databases[index % 3], NOW_MS) as session:
                rows = await allocate_of_line(session, index % 2 + 1, 2, 7, By(NOW_MS))
                return [row.id for row in rows]
        except TooFewNumbers:
            return []

    taken = await asyncio.gather(*(take(index) for index in range(9)))
    for database in databases:
        await database.dispose()
    ids = [each for some in taken for each in some]
    assert sorted(map(len, taken)) == [0, 0, 0, 0, 7, 7, 7, 7, 7]
    assert len(set(ids)) == len(ids) == 35
    for tenant_id in (1, 2):
        shown = (await _platform(world, "GET", f"/x-numbers?tenant_id={tenant_id}&line_id=2&limit=500")).json()["items"]
        mine = {each for index, some in enumerate(taken) for each in some if index % 2 + 1 == tenant_id}
        assert mine <= {item["id"] for item in shown}


async def test_a_number_goes_down_and_comes_back_without_a_trace(world: World) -> None:
    body = {"tenant_id": 1, "x_number_ids": [4], "reason": "campaign"}
    assert (await _platform(world, "POST", "/x-numbers/allocations", json=body)).status_code == 201
    again = await _platform(world, "POST", "/x-numbers/allocations", json=body)
    assert (again.status_code, again.json()["code"]) == (409, "number_state")
    assert "return" in again.json()["allowed"]
    await world.ask("tenant1", "PUT", "/api/tenant/x-numbers/4/department", json={"department_id": 1})
    shown = (await world.ask("tenant1", "PUT", "/api/tenant/x-numbers/4/agent", json={"agent_id": 1})).json()
    assert (shown["state"], shown["agent_id"]) == ("allocated", 1)
    back = (await _platform(world, "POST", "/x-numbers/returns", json={"x_number_ids": [4]})).json()["items"][0]
    assert (back["state"], back["tenant_id"], back["department_id"], back["agent_id"]) == ("idle", None, None, None)
    history = (await _platform(world, "GET", "/x-numbers/4/history")).json()["items"]
    assert [move["kind"] for move in history] == ["returned", "assigned", "assigned", "allocated"]
    assert [move["by"] for move in history] == ["platform", "tenant", "tenant", "platform"]
    assert [(move["from_agent_id"], move["to_agent_id"]) for move in history[:2]] == [(1, None), (None, 1)]
    assert history[-1]["reason"] == "campaign"
    # The next tenant reads nothing of the one before; the one before still reads his own part.
    await _platform(world, "POST", "/x-numbers/allocations", json={"tenant_id": 2, "x_number_ids": [4]})
    theirs = (await world.ask("tenant2", "GET", "/api/tenant/x-numbers/4/history")).json()["items"]
    assert [(move["kind"], move["tenant_id"], move["by_user_id"]) for move in theirs] == [("allocated", 2, None)]
    mine = (await world.ask("tenant1", "GET", "/api/tenant/x-numbers/4/history")).json()["items"]
    assert {move["tenant_id"] for move in mine} == {1}


async def test_a_tenant_without_permission_gets_numbers(world: World) -> None:
    assert (await _platform(world, "DELETE", "/carriers/1/tenants/1")).status_code == 204
    body = {"tenant_id": 1, "line_id": 2, "count": 1}
    answer = await _platform(world, "POST", "/x-numbers/allocations", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "carrier_not_permitted")
    assert (await _platform(world, "PUT", "/lines/2/tenants/1")).status_code == 204
    assert (await _platform(world, "POST", "/x-numbers/allocations", json=body)).status_code == 201


async def test_a_resting_number_is_woken_by_a_patch(world: World) -> None:
    answer = await _platform(world, "PATCH", "/x-numbers/5", json={"status": "active"})
    assert (answer.status_code, answer.json()["allowed"]) == (409, ["release"])
    assert (await _platform(world, "POST", "/x-numbers/5/release", json={})).json()["state"] == "idle"
    assert (await _platform(world, "POST", "/x-numbers/1/quarantine", json={})).status_code == 409  # it is bound
    resting = (
        await _platform(world, "POST", "/x-numbers/1/quarantine", json={"days": 2, "ends_bindings": True})
    ).json()
    assert (resting["state"], resting["tenant_id"]) == ("quarantined", None)
    assert (await world.ask("tenant1", "GET", "/api/tenant/bindings/binding1")).json()["ended_at_ms"] == NOW_MS
    database = open_database(world.settings.database_url)
    assert await keep_numbers(database, NOW_MS + 2 * DAY_MS - 1) == (0, 0)
    assert await keep_numbers(database, NOW_MS + 2 * DAY_MS) == (1, 0)
    await database.dispose()
    assert (await _platform(world, "GET", "/x-numbers?state=quarantined")).json()["items"] == []


@pytest.mark.parametrize(
    ("content", "added", "bad"),
    [
        ("号码,备注\n01066660001,x\n010-6666-0002\n\n", 2, []),
        ('\ufeffnumber\n"+86 10 6666 0003"\n', 1, []),
        ("01066660004\n01066660004\nabc\n12\n", 1, [(2, "twice"), (3, "not_a_number"), (4, "not_a_number")]),
        ("01088880001\n01088880003", 0, [(1, "on_another_line")]),
        ('"01066660005\n01066660006\n', 2, []),
    ],
)
async def test_a_row_is_lost_or_taken_for_another(
    world: World, content: str, added: int, bad: list[tuple[int, str]]
) -> None:
    report = (await _platform(world, "POST", "/x-numbers/imports", json={"line_id": 2, "content": content})).json()
    assert report["added"] == added
    assert [(each["row"], each["code"]) for each in report["problems"]] == bad
    assert report["rows"] == report["added"] + report["there"] + report["bad"]


async def test_an_import_is_sent_again(world: World) -> None:
    count = CHUNK_ROWS + 3
    assert (await _import(world, 1, count))["added"] == count
    again = await _import(world, 1, count + 1)
    assert (again["added"], again["there"], again["bad"]) == (1, count, 0)


async def _calls(world: World, numbers: list[str], attempted: int, answered: list[int]) -> None:
    rows = []
    for index, number in enumerate(numbers):
        for call in range(attempted):
            is_answered = call < answered[index]
            row = cdr(1, 1, 1, id=f"e{index}-{call}", x_number=number, line_id=2, direction="a_to_b", b_number=B1)
            row |= {"a_number": A1, "answered_at_ms": NOW_MS + 10 if is_answered else None, "ended_at_ms": NOW_MS + 20}
            rows.append(row | {"cause": "normal" if is_answered else "no_answer"})
    database = open_database(world.settings.database_url)
    async with writing(database) as connection:
        await write_cdrs(connection, rows)
    await database.dispose()


async def test_a_number_that_nobody_answers_stays(world: World) -> None:
    await _import(world, 1, 7)
    body = {"tenant_id": 1, "x_number_ids": [6, 7, 8, 9]}
    rows = (await _platform(world, "POST", "/x-numbers/allocations", json=body)).json()["items"]
    await world.ask("tenant1", "PUT", "/api/tenant/x-numbers/6/agent", json={"agent_id": 2})
    await _calls(world, [row["number"] for row in rows], 60, [2, 24, 25, 3])
    advice = (await _platform(world, "GET", "/lines/2/number-advice")).json()["items"]
    assert [(each["x_number"]["id"], each["advice"], each["answered"]) for each in advice[:2]] == [
        (6, "replace", 2),
        (9, "replace", 3),
    ]
    assert advice[0]["others_attempted"] == 180
    assert advice[0]["low"] <= advice[0]["answer_rate"] <= advice[0]["high"] < advice[0]["others_answer_rate"]
    database = open_database(world.settings.database_url)
    assert await keep_numbers(database, NOW_MS + 60_000) == (0, 0), "only lines that say so replace by themselves"
    setting = {"automatic": True, "per_day_max": 1, "cool_down_days": 0, "quarantine_days": 5}
    assert (await _platform(world, "PATCH", "/lines/2", json={"replacement": setting})).status_code == 200
    assert await keep_numbers(database, NOW_MS + 60_000) == (0, 1)
    assert await keep_numbers(database, NOW_MS + 120_000) == (0, 0), "one a day"
    old = (await _platform(world, "GET", "/x-numbers?state=quarantined")).json()["items"]
    assert [(each["id"], each["quarantined_until_ms"]) for each in old] == [(6, NOW_MS + 60_000 + 5 * DAY_MS)]
    new = (await _platform(world, "GET", "/x-numbers?agent_id=2&line_id=2")).json()["items"]
    assert (len(new), new[0]["id"]) == (1, 4), "the longest idle one has its place"
    assert await keep_numbers(database, NOW_MS + DAY_MS + 60_001) == (0, 1)
    await database.dispose()


async def test_a_replacement_finds_nothing_or_something_bound(world: World) -> None:
    assert (await _platform(world, "POST", "/x-numbers/3/replacement", json={})).status_code == 409  # bound
    await _platform(world, "POST", "/x-numbers/4/retirement", json={})
    answer = await _platform(world, "POST", "/x-numbers/3/replacement", json={"ends_bindings": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "no_idle_number")
    assert (await world.ask("tenant2", "GET", "/api/tenant/bindings/binding3")).json()["ended_at_ms"] is None
