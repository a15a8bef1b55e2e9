import asyncio

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.exc import OperationalError

from admin_api import housekeeping
from admin_api.housekeeping import keep_alarms, keep_house, keep_house_for_ever
from engine.store.change_feed import CHANGES_KEPT_MS
from engine.store.database import open_database, reading, writing, writing_session
from engine.store.money.velocity_store import ALARMS_KEPT_MS
from engine.store.tables import Binding, BindingParty, Change
from engine.store.tables.velocity import VelocityAlarm

from .conftest import NOW_MS, World


async def test_expired_bindings_and_old_changes_pile_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.services.lines.bindings.EXPIRED_ENDED_MAX", 1)
    monkeypatch.setattr("admin_api.housekeeping.EXPIRED_ENDED_MAX", 1)
    database = open_database(world.settings.database_url)
    async with writing_session(database, NOW_MS) as session:
        for binding_id in ("binding1", "binding3"):
            (await session.get_one(Binding, binding_id)).expires_at_ms = NOW_MS + 5
    assert await keep_house(database, NOW_MS + 4) == (0, 0)
    ended, pruned = await keep_house(database, NOW_MS + CHANGES_KEPT_MS + 1)
    assert (ended, pruned > 10) == (2, True)
    async with reading(database) as connection:
        assert await connection.scalar(select(func.count(BindingParty.binding_id.distinct()))) == 1
        assert await connection.scalar(select(func.count(Change.id))) == 2  # the bindings that were ended just now
    await database.dispose()


async def test_one_failure_ends_the_housekeeping(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    async def fail(_database: object, now_ms: int) -> tuple[int, int]:
        tries.append(now_ms)
        if len(tries) == 1:
            raise OperationalError("", {}, Exception("database is locked"))
        return (0, 0)

    monkeypatch.setattr(housekeeping, "INTERVAL_SECONDS", 0)
    monkeypatch.setattr(housekeeping, "keep_house", fail)
    database = open_database(world.settings.database_url)
    task = asyncio.create_task(keep_house_for_ever(database, lambda: 7))
    while len(tries) < 3:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    await database.dispose()
    assert tries[0] == 7


async def test_acknowledged_alarms_pile_up_or_an_open_one_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.store.money.velocity_store.PRUNED_ALARMS_MAX", 2)
    monkeypatch.setattr("admin_api.housekeeping.PRUNED_ALARMS_MAX", 2)
    database = world.context.database
    async with writing(database) as connection:
        await connection.execute(delete(VelocityAlarm))
    async with writing_session(database, NOW_MS) as session:
        for number, acknowledged_at_ms in enumerate((NOW_MS, None, NOW_MS, NOW_MS + 1, NOW_MS, NOW_MS, NOW_MS), 11):
            alarm = VelocityAlarm(id=number, tenant_id=1, measure="attempts", limited_by="usual", value=2, limit=1)
            alarm.raised_at_ms, alarm.acknowledged_at_ms = 1, acknowledged_at_ms
            session.add(alarm)
    async with reading(database) as connection:
        changes = await connection.scalar(select(func.count(Change.id)))
    assert await keep_alarms(database, NOW_MS + ALARMS_KEPT_MS) == 0
    assert await keep_alarms(database, NOW_MS + ALARMS_KEPT_MS + 1) == 5
    async with reading(database) as connection:
        assert list(await connection.scalars(select(VelocityAlarm.id).order_by(VelocityAlarm.id))) == [12, 14]
        assert await connection.scalar(select(func.count(Change.id))) == changes, "engines know open ones alone"
    found = await world.ask("platform", "GET", "/api/platform/velocity-alarms?open=true")
    assert [alarm["id"] for alarm in found.json()["items"]] == [12]


async def test_the_housekeeper_forgets_alarms(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def keep(_database: object, _now_ms: int) -> int:
        asked.set()
        return 0

    monkeypatch.setattr(housekeeping, "INTERVAL_SECONDS", 0)
    monkeypatch.setattr(housekeeping, "keep_alarms", keep)
    task = asyncio.create_task(keep_house_for_ever(world.context.database, lambda: NOW_MS))
    await asyncio.wait_for(asked.wait(), 10)
    task.cancel()
    await asyncio.wait({task})
