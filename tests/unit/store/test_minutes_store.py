"""Package minutes in the database: no second is sold twice, lost, or used twice."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.money.package_minutes import MinutesBucket as MinutesBucketFacts
from engine.store.database import reading, writing, writing_session
from engine.store.directory_reader import read_all
from engine.store.money.ledger_check import differences
from engine.store.money.minutes_store import (
    MinutesKeyReused,
    MinutesLeaseUnknown,
    MinutesUsed,
    buy_minutes,
    lease_minutes,
    minutes_leases,
    release_minutes,
    settle_minutes,
    uneven_buckets,
)
from engine.store.tables import Agent, MinutesBucket, Tenant

NOW_MS = 1_800_000_000_000
LATER_MS = NOW_MS + 86_400_000


async def _buy(database: AsyncEngine, seconds: int, cause_id: str = "order-1", agent_id: int | None = None) -> bool:
    async with writing_session(database, NOW_MS) as session:
        if await session.get(Tenant, 1) is None:
            session.add(Tenant(code="t", name="T", created_at_ms=NOW_MS))
            await session.flush()
            session.add(Agent(tenant_id=1, code="a", name="A"))
            await session.flush()
        return await buy_minutes(
            session, 1, cause_id, seconds, starts_at_ms=NOW_MS, expires_at_ms=LATER_MS, agent_id=agent_id, line_ids=[3]
        )


async def _left(database: AsyncEngine) -> int:
    async with reading(database) as connection:
        assert await uneven_buckets(connection) == []
        return (await connection.execute(MinutesBucket.__table__.select())).one().seconds_left  # type: ignore[no-any-return]  # an integer column


async def _lease(database: AsyncEngine, engine_id: str, seconds: int) -> int:
    async with writing(database) as connection:
        return await lease_minutes(connection, engine_id, 1, seconds)


async def _settle(database: AsyncEngine, *uses: MinutesUsed, engine_id: str = "e1") -> int:
    async with writing(database) as connection:
        return await settle_minutes(connection, engine_id, uses)


async def test_an_order_that_is_sent_twice_buys_twice(database: AsyncEngine) -> None:
    assert await _buy(database, 600) is True
    assert await _buy(database, 600) is False
    with pytest.raises(MinutesKeyReused):
        await _buy(database, 601)
    with pytest.raises(ValueError, match="above 0"):
        await _buy(database, 0, "order-2")
    async with reading(database) as connection:
        _, facts = await read_all(connection)
    buckets = [fact for fact in facts if isinstance(fact, MinutesBucketFacts)]
    assert buckets == [MinutesBucketFacts(1, 1, None, (3,), NOW_MS, LATER_MS)]


async def test_engines_together_lease_more_than_was_bought(database: AsyncEngine) -> None:
    await _buy(database, 100)
    granted = await asyncio.gather(*(_lease(database, f"e{engine}", 30) for engine in range(5)))
    assert sorted(granted) == [0, 10, 30, 30, 30]
    assert await _left(database) == 0
    assert await _lease(database, "e1", 1) == 0


async def test_a_lease_is_given_back_that_the_engine_has_not(database: AsyncEngine) -> None:
    await _buy(database, 100)
    assert await _lease(database, "e1", 60) == 60
    async with writing(database) as connection:
        await release_minutes(connection, "e1", 1, 25)
        with pytest.raises(MinutesLeaseUnknown):
            await release_minutes(connection, "e1", 1, 36)
        with pytest.raises(MinutesLeaseUnknown):
            await release_minutes(connection, "e2", 1, 1)
    async with reading(database) as connection:
        assert await minutes_leases(connection, "e1") == {1: 35}
    assert await _left(database) == 65


async def test_a_call_that_is_stored_twice_uses_its_minutes_twice(database: AsyncEngine) -> None:
    await _buy(database, 100)
    await _lease(database, "e1", 60)
    use = MinutesUsed("cdr-1", 1, 13, NOW_MS)
    assert await _settle(database, use, MinutesUsed("cdr-2", 1, 7, NOW_MS)) == 0
    assert await _settle(database, use) == 0
    async with reading(database) as connection:
        assert await minutes_leases(connection, "e1") == {1: 40}
    assert await _left(database) == 40


async def test_minutes_used_without_a_lease_are_free(database: AsyncEngine) -> None:
    await _buy(database, 100)
    await _lease(database, "e1", 10)
    assert await _settle(database, MinutesUsed("cdr-1", 1, 25, NOW_MS)) == 15
    assert await _left(database) == 75


async def test_minutes_that_do_not_add_up_go_unseen(database: AsyncEngine) -> None:
    await _buy(database, 100)
    async with writing(database) as connection:
        await connection.exec_driver_sql("UPDATE minutes_buckets SET seconds_left = 99")
    async with reading(database) as connection:
        found = await differences(connection)
    assert found == ["package minutes 1: 100 s bought, 99 left, 0 leased, 0 used"]
