import asyncio

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from admin_api import housekeeping
from admin_api.housekeeping import keep_house, keep_house_for_ever
from engine.store.change_feed import CHANGES_KEPT_MS
from engine.store.database import open_database, reading, writing_session
from engine.store.tables import Binding, BindingParty, Change

from .conftest import NOW_MS, World


async def test_expired_bindings_and_old_changes_pile_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.services.bindings.EXPIRED_ENDED_MAX", 1)
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
    database = open_database(world.settings.database_url)  # the application's is of another thread's loop
    task = asyncio.create_task(keep_house_for_ever(database, lambda: 7))
    while len(tries) < 3:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    await database.dispose()
    assert tries[0] == 7
