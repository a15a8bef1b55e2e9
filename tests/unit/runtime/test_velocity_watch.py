"""The alarm with its database: raised once by any number of engines, told of, and gone when it is acknowledged."""

import asyncio

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.facts import MoneyRulesFacts, VelocityAlarmFacts
from engine.domain.money.spend_cap import SpendBook, Spender
from engine.domain.money.velocity import Velocity, VelocityBook
from engine.runtime.credit.velocity_watch import VelocityWatch
from engine.services.money.velocity_alarms import acknowledge
from engine.store.database import reading, writing, writing_session
from engine.store.directory_reader import read_all, read_changes
from engine.store.money.velocity_store import (
    DAYS_KEPT_MS,
    QUIET_MS,
    prune_velocity,
    raise_peaks,
    read_peaks,
)
from engine.store.tables import Account, Agent, Tenant
from engine.store.tables.orders import MoneyEvent
from engine.store.tables.velocity import VelocityAlarm, VelocityDay
from engine.store.tables.webhooks import Webhook, WebhookDelivery

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
RULES = MoneyRulesFacts(1, "Asia/Shanghai", None, velocity_stops_calls=True)


class Engine:
    def __init__(self, database: AsyncEngine, name: str) -> None:
        self.book, self.spending, self.now_ms = VelocityBook(), SpendBook(), NOW_MS
        self.spending.take(RULES)
        self.watch = VelocityWatch(database, name, self.book, self.spending, lambda: self.now_ms)

    def call(self, times: int) -> None:
        for _ in range(times):
            self.book.attempted(1, 1, self.now_ms)


@pytest.fixture
async def told(database: AsyncEngine) -> AsyncEngine:
    """A tenant with an agent who has called ten times in his fastest window, on five days."""
    async with writing_session(database, NOW_MS) as session:
        session.add(Tenant(code="t", name="T", created_at_ms=NOW_MS))
        await session.flush()
        session.add_all([Account(tenant_id=1), Agent(tenant_id=1, code="a", name="A")])
        hook = Webhook(tenant_id=1, url="https://example.com", kinds=["account.velocity"], sealed_secret="")
        hook.created_at_ms = NOW_MS
        session.add(hook)
    day_ms = SpendBook().day_start_ms(1, NOW_MS)
    async with writing(database) as connection:
        for day in range(1, 6):
            for spender in (Spender(1), Spender(1, 1)):
                await raise_peaks(connection, {spender: (day_ms - day * DAY_MS, Velocity(10, 1_000_000))})
    return database


async def _alarms(database: AsyncEngine) -> list[tuple[int | None, str, int, int | None, bool]]:
    async with reading(database) as connection:
        columns = VelocityAlarm.agent_id, VelocityAlarm.measure, VelocityAlarm.limit, VelocityAlarm.usual
        rows = await connection.execute(select(*columns, VelocityAlarm.stops_calls).order_by(VelocityAlarm.id))
        return [tuple(row) for row in rows]


async def test_two_engines_overlook_what_each_sees_half_of(told: AsyncEngine) -> None:
    one, two = Engine(told, "one"), Engine(told, "two")
    for engine in (one, two):
        engine.call(50)
        await engine.watch.look()
    assert await _alarms(told) == [(1, "attempts", 50, 10, True)]


async def test_two_engines_raise_it_twice(told: AsyncEngine) -> None:
    engines = [Engine(told, f"engine {n}") for n in range(4)]
    for engine in engines:
        engine.call(60)
    await asyncio.gather(*(engine.watch.look() for engine in engines))
    for engine in engines:
        engine.now_ms += 61_000
        await engine.watch.look()
    assert len(await _alarms(told)) == 1
    async with reading(told) as connection:
        (event,) = (await connection.execute(select(MoneyEvent.kind, MoneyEvent.content))).all()
        kinds = (await connection.scalars(select(WebhookDelivery.kind))).all()
    assert (event.kind, event.content["agent_id"], event.content["measure"]) == ("velocity", 1, "attempts")
    assert list(kinds) == ["account.velocity"]


async def test_an_engine_is_told_late_or_for_ever(told: AsyncEngine) -> None:
    engine = Engine(told, "one")
    engine.call(60)
    await engine.watch.look()
    async with reading(told) as connection:
        newest, facts = await read_all(connection)
    assert VelocityAlarmFacts(1, 1, 1, stops_calls=True, acknowledged_at_ms=None) in facts
    async with writing_session(told, NOW_MS) as session:
        await acknowledge(session, await session.get_one(VelocityAlarm, 1), "boss", "it was us", NOW_MS)
    async with reading(told) as connection:
        _, _, removed = await read_changes(connection, newest)
        _, facts = await read_all(connection)
    assert ("velocity_alarms", "1") in removed
    assert not [fact for fact in facts if isinstance(fact, VelocityAlarmFacts)]
    engine.now_ms += QUIET_MS - 1
    engine.call(60)
    await engine.watch.look()
    assert len(await _alarms(told)) == 1, "whoever has just looked is not asked again"
    engine.now_ms += 61_000
    engine.call(60)
    await engine.watch.look()
    assert len(await _alarms(told)) == 2


async def test_today_is_usual_before_it_is_over(told: AsyncEngine) -> None:
    engine = Engine(told, "one")
    for _ in range(3):
        engine.call(15)
        await engine.watch.look()
        engine.now_ms += 5_000
    assert await _alarms(told) == []
    async with reading(told) as connection:
        today = SpendBook().day_start_ms(1, NOW_MS)
        peaks = (await read_peaks(connection, {Spender(1, 1): today}))[Spender(1, 1)]
        written = await connection.scalar(
            select(VelocityDay.attempts).where(VelocityDay.starts_at_ms == today, VelocityDay.agent_id == 1)
        )
    assert set(peaks) == {Velocity(10, 1_000_000)}
    assert written == 45
    async with writing(told) as connection:  # another engine, that saw less of the day
        await raise_peaks(connection, {Spender(1, 1): (today, Velocity(3, 9))})
        kept = select(VelocityDay.attempts, VelocityDay.spent_micro).where(
            VelocityDay.starts_at_ms == today, VelocityDay.agent_id == 1
        )
        assert tuple((await connection.execute(kept)).one()) == (45, 9)


async def test_old_days_are_kept_for_ever(told: AsyncEngine) -> None:
    async with writing(told) as connection:
        assert await prune_velocity(connection, NOW_MS) == 0
        assert await prune_velocity(connection, NOW_MS + DAYS_KEPT_MS) == 10
