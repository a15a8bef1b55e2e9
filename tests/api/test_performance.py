"""Figures of agents, their numbers, and tenants; the world's clock says 2027-01-15 16:00 in Shanghai."""

from typing import Any
from urllib.parse import quote

from engine.store.database import open_database, writing
from engine.store.records.cdr_store import write_cdrs

from .conftest import NOW_MS, X1, X2, X3, World, cdr

DAY_MS = 24 * 3600 * 1000
JANUARY_MS = 1_798_732_800_000  # 2027-01-01 00:00 in Shanghai, 2026-12-31 16:00 in UTC


async def _get(world: World, path: str, who: str = "tenant1", status: int = 200) -> Any:
    answer = await world.ask(who, "GET", f"/api/{who.rstrip('1')}{path}")
    assert answer.status_code == status, answer.text
    return answer.json()


async def _write(world: World) -> None:
    ended = {"ended_at_ms": NOW_MS + 61_009}
    rows = [
        cdr(1, 1, 1, id="p1", started_at_ms=JANUARY_MS, answered_at_ms=JANUARY_MS, ended_at_ms=JANUARY_MS + 1_999),
        cdr(1, 1, 1, id="p2", started_at_ms=JANUARY_MS - 1, answered_at_ms=None, ended_at_ms=JANUARY_MS),
        cdr(1, 1, 1, id="p3", x_number=X2, answered_at_ms=None, charge_micro=0, **ended),
        cdr(1, 1, 1, id="p4", state="answered"),
        cdr(1, 1, 1, id="p5", answered_at_ms=NOW_MS, **ended | {"ended_at_ms": NOW_MS + 2_001}),
        cdr(1, 1, None, id="p6", **ended),
    ]
    database = open_database(world.settings.database_url)
    async with writing(database) as connection:
        await write_cdrs(connection, rows)
    await database.dispose()


async def test_a_months_figures_hold_the_month_befores_or_running_calls(world: World) -> None:
    await _write(world)
    items = (await _get(world, "/agents/performance?month=2027-01"))["items"]
    # The world's own call has no end, and so no talk.
    assert items[0] == {
        "agent_id": 1,
        "code": "a1",
        "name": "Agent 1",
        "calls": 4,
        "answered": 3,
        "answer_rate": 0.75,
        "talk_seconds": 4,
        "charge_micro": 360_000,
    }
    assert [item["agent_id"] for item in items] == [1, 2]
    one = await _get(world, "/agents/performance?month=2027-01&limit=1")
    two = await _get(world, f"/agents/performance?month=2027-01&limit=1&cursor={one['next']}")
    assert one["items"] + two["items"] == items
    december = (await _get(world, "/agents/performance?month=2026-12&department_id=1"))["items"]
    assert december == [], "nobody is in the department"
    await _get(world, "/agents/performance?month=2026-12&zone=Nowhere", status=400)
    await _get(world, "/agents/performance?month=2026-13", status=400)
    await _get(world, "/agents/performance?month=9999-12", status=400)
    await _get(world, "/agents/performance?month=0000-01", status=400)


async def test_a_month_is_another_zones(world: World) -> None:
    await _write(world)
    items = (await _get(world, "/agents/1/performance?months=2"))["items"]
    assert [(item["month"], item["calls"]) for item in items] == [("2027-01", 4), ("2026-12", 1)]
    items = (await _get(world, "/agents/1/performance?months=3&zone=UTC"))["items"]
    assert [(item["month"], item["calls"]) for item in items] == [("2027-01", 3), ("2026-12", 2), ("2026-11", 0)]
    assert items[2]["answer_rate"] is None


async def test_numbers_are_mixed_up_or_lost_between_pages(world: World) -> None:
    await _write(world)
    path = f"/agents/1/number-usage?from_ms={JANUARY_MS}&to_ms={NOW_MS + DAY_MS}"
    items = (await _get(world, path))["items"]
    assert [(item["x_number"], item["calls"], item["answered"], item["talk_seconds"]) for item in items] == [
        (X1, 3, 3, 4),
        (X2, 1, 0, 0),
    ]
    first = await _get(world, path + "&limit=1")
    second = await _get(world, f"{path}&limit=1&cursor={quote(first['next'])}")
    assert first["items"] + second["items"] == items
    assert (await _get(world, path.replace("/1/", "/3/"), "platform"))["items"][0]["x_number"] == X3


async def test_yesterdays_calls_are_todays(world: World) -> None:
    await _write(world)
    rows = (await _get(world, "/tenants", "platform"))["items"]
    assert [(row["calls_today"], row["answered_today"]) for row in rows] == [(6, 5), (1, 1)]
    assert [(row["balance_micro"], row["overdraft_limit_micro"]) for row in rows] == [(5000, 1000)] * 2
    assert (await _get(world, "/tenants?status=active", "platform"))["items"] == rows
    assert (await _get(world, "/tenants?status=suspended", "platform"))["items"] == []
