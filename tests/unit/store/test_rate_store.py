"""Plans keep every version of themselves, and come back as they were written."""

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.facts import RateFacts
from engine.domain.money.charging import Rate as DomainRate
from engine.domain.money.rate_plan import RateEntry, TimeWindow
from engine.store.database import reading, writing_session
from engine.store.directory_reader import read_all, read_changes
from engine.store.money.rate_store import read_version
from engine.store.tables import Rate, RateVersion

NOW_MS = 1_800_000_000_000
NIGHT = RateEntry(DomainRate(60_000, 6, 6, connect_fee_micro=5), "8613", "a_to_b", TimeWindow(31, 1320, 360), 1, 2)


async def _stock(database: AsyncEngine) -> None:
    async with writing_session(database, NOW_MS) as session:
        session.add(Rate(code="r", name="R", per_minute_micro=120_000, entries=[msgspec.to_builtins(NIGHT)]))


async def test_an_entry_comes_back_other_than_it_was_written(database: AsyncEngine) -> None:
    await _stock(database)
    async with reading(database) as connection:
        _, facts = await read_all(connection)
    assert facts == [RateFacts(1, 120_000, 60, 60, 0, entries=(NIGHT,), version=1)]
    assert hash(facts[0])


async def test_a_version_is_lost_or_altered(database: AsyncEngine) -> None:
    await _stock(database)
    async with writing_session(database, NOW_MS + 1) as session:
        rate = await session.get_one(Rate, 1)
        rate.name = "Renamed"
        rate.per_minute_micro = 1
        await session.flush()
        rate.entries = []
    async with reading(database) as connection:
        versions = [await read_version(connection, 1, version) for version in (1, 2, 3, 4)]
        times = (await connection.scalars(select(RateVersion.created_at_ms).order_by(RateVersion.version))).all()
        _, facts, _ = await read_changes(connection, 0)
    first = RateFacts(1, 120_000, 60, 60, 0, entries=(NIGHT,), version=1)
    second = RateFacts(1, 1, 60, 60, 0, entries=(NIGHT,), version=2)
    third = RateFacts(1, 1, 60, 60, 0, version=3)
    assert versions == [first, second, third, None]
    assert times == [NOW_MS, NOW_MS + 1, NOW_MS + 1]
    assert facts == [third], "engines are told of the newest"


async def test_a_plan_that_is_written_as_it_was_makes_a_version(database: AsyncEngine) -> None:
    await _stock(database)
    async with writing_session(database, NOW_MS) as session:
        (await session.get_one(Rate, 1)).per_minute_micro = 120_000
    async with reading(database) as connection:
        assert (await connection.scalars(select(RateVersion.version))).all() == [1]
