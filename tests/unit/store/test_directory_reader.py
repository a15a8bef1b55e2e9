import asyncio
import dataclasses

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.facts import BindingFacts, RateFacts, TenantFacts, TrunkFacts, XNumberFacts
from engine.store.change_feed import (
    CHANGES_KEPT_MS,
    ChangeFeedBypassed,
    prune_changes,
    record_change,
)
from engine.store.database import reading, writing, writing_session
from engine.store.directory_reader import ChangesPruned, read_all, read_changes
from engine.store.tables import Account, Binding, Carrier, Change, Line, Rate, Tenant, Trunk, XNumber

NOW_MS = 1_800_000_000_000


async def _stock(database: AsyncEngine) -> None:
    """One row of most kinds, with ids of 1."""
    async with writing_session(database, NOW_MS) as session:
        session.add_all([Tenant(code="t1", name="T1", created_at_ms=NOW_MS), Carrier(code="c1", name="C1")])
        session.add(Rate(code="r1", name="R1", per_minute_micro=120_000))
        await session.flush()
        session.add(Account(tenant_id=1))
        session.add(Trunk(carrier_id=1, code="k1", name="K1", host="127.0.0.1", source_addresses=["127.0.0.1:5090"]))
        await session.flush()
        session.add(Line(carrier_id=1, trunk_id=1, rate_id=1, code="l1", name="L1"))
        await session.flush()
        session.add(XNumber(number="+861088880001", line_id=1, tenant_id=1))
        await session.flush()
        session.add(
            Binding(
                id="b1",
                tenant_id=1,
                x_number_id=1,
                a_number="+8613800138000",
                b_number="+8613900139000",
                created_at_ms=NOW_MS,
            )
        )


async def _changes_since(database: AsyncEngine, since: int) -> tuple[int, list[object], list[tuple[str, str]]]:
    async with reading(database) as connection:
        newest, facts, removed = await read_changes(connection, since)
    return newest, list(facts), removed


async def test_a_fact_is_missing_at_the_start(database: AsyncEngine) -> None:
    await _stock(database)
    async with reading(database) as connection:
        newest, facts = await read_all(connection)
    assert sorted(type(record).__name__ for record in facts) == [
        "AccountFacts",
        "BindingFacts",
        "LineFacts",
        "RateFacts",
        "TenantFacts",
        "TrunkFacts",
        "XNumberFacts",
    ]
    trunk = next(record for record in facts if isinstance(record, TrunkFacts))
    assert trunk == TrunkFacts(1, "k1", "127.0.0.1", 5060, ("127.0.0.1:5090",), "e164", 1000, "active")
    assert all(hash(record) is not None and dataclasses.is_dataclass(record) for record in facts)
    assert newest == 7


async def test_a_reader_from_nothing_sees_less_than_the_snapshot(database: AsyncEngine) -> None:
    await _stock(database)
    async with reading(database) as connection:
        newest, facts = await read_all(connection)
    assert await _changes_since(database, 0) == (newest, facts, [])


async def test_an_update_is_not_fed(database: AsyncEngine) -> None:
    await _stock(database)
    since, _, _ = await _changes_since(database, 0)
    async with writing_session(database, NOW_MS) as session:
        (await session.get_one(Tenant, 1)).status = "suspended"
    assert await _changes_since(database, since) == (since + 1, [TenantFacts(1, "t1", "suspended")], [])


async def test_a_row_written_as_it_was_wakes_engines(database: AsyncEngine) -> None:
    await _stock(database)
    since, _, _ = await _changes_since(database, 0)
    async with writing_session(database, NOW_MS) as session:
        (await session.get_one(Tenant, 1)).status = "active"
    assert await _changes_since(database, since) == (since, [], [])


async def test_an_undone_transaction_is_fed(database: AsyncEngine) -> None:
    await _stock(database)
    since, _, _ = await _changes_since(database, 0)
    async with writing_session(database, NOW_MS) as session:
        (await session.get_one(Tenant, 1)).status = "suspended"
        await session.flush()
        await session.rollback()
    assert await _changes_since(database, since) == (since, [], [])
    # PostgreSQL does not give its id out again, and the hole is not taken for changes that were pruned.
    async with writing_session(database, NOW_MS) as session:
        (await session.get_one(Tenant, 1)).status = "suspended"
    newest, facts, _ = await _changes_since(database, since)
    assert (newest > since, facts) == (True, [TenantFacts(1, "t1", "suspended")])


@pytest.mark.parametrize("by_hand", [False, True])
async def test_a_change_is_skipped_that_was_written_before_but_committed_after(
    database: AsyncEngine, by_hand: bool
) -> None:
    await _stock(database)
    since, _, _ = await _changes_since(database, 0)
    seen: list[object] = []

    async def change_rate() -> None:
        if by_hand:
            async with writing(database) as connection:
                await record_change(connection, "rates", 1, NOW_MS)
            return
        async with writing_session(database, NOW_MS) as session:
            (await session.get_one(Rate, 1)).per_minute_micro = 7

    async with writing_session(database, NOW_MS) as session:
        (await session.get_one(Tenant, 1)).status = "suspended"
        await session.flush()
        later = asyncio.create_task(change_rate())
        await asyncio.wait([later], timeout=0.2)
        since, facts, _ = await _changes_since(database, since)
        seen += facts
    await later
    _, facts, _ = await _changes_since(database, since)
    assert {type(fact) for fact in (*seen, *facts)} == {TenantFacts, RateFacts}


async def test_an_ended_binding_stays_in_force(database: AsyncEngine) -> None:
    await _stock(database)
    since, _, _ = await _changes_since(database, 0)
    async with writing_session(database, NOW_MS) as session:
        (await session.get_one(Binding, "b1")).ended_at_ms = NOW_MS
    assert await _changes_since(database, since) == (since + 1, [], [("bindings", "b1")])
    async with reading(database) as connection:
        _, facts = await read_all(connection)
    assert not any(isinstance(record, BindingFacts) for record in facts)


async def test_a_deleted_row_stays_known(database: AsyncEngine) -> None:
    await _stock(database)
    async with writing_session(database, NOW_MS) as session:
        session.add(XNumber(number="+861088880002", line_id=1))
    since, facts, _ = await _changes_since(database, 0)
    assert XNumberFacts(2, "+861088880002", 1, None, None, "refuse", "active") in facts
    async with writing_session(database, NOW_MS) as session:
        await session.delete(await session.get_one(XNumber, 2))
    assert await _changes_since(database, since) == (since + 1, [], [("x_numbers", "2")])


async def test_a_row_changed_twice_is_read_twice(database: AsyncEngine) -> None:
    await _stock(database)
    since, _, _ = await _changes_since(database, 0)
    for status in ("suspended", "active", "suspended"):
        async with writing_session(database, NOW_MS) as session:
            (await session.get_one(Tenant, 1)).status = status
    assert await _changes_since(database, since) == (since + 3, [TenantFacts(1, "t1", "suspended")], [])


async def test_a_bulk_update_passes_the_feed_by(database: AsyncEngine) -> None:
    await _stock(database)
    with pytest.raises(ChangeFeedBypassed):
        async with writing_session(database, NOW_MS) as session:
            await session.execute(update(Tenant).values(status="suspended"))


async def test_a_core_update_is_fed_by_hand(database: AsyncEngine) -> None:
    await _stock(database)
    since, _, _ = await _changes_since(database, 0)
    async with writing(database) as connection:
        await connection.execute(update(Account).where(Account.tenant_id == 1).values(balance_micro=5))
        await record_change(connection, "accounts", 1, NOW_MS)
        with pytest.raises(ValueError, match="no entity"):
            await record_change(connection, "cdrs", 1, NOW_MS)
    newest, facts, _ = await _changes_since(database, since)
    assert newest == since + 1
    assert [getattr(record, "balance_micro", None) for record in facts] == [5]


async def test_changes_are_pruned_that_an_engine_has_not_seen(database: AsyncEngine) -> None:
    await _stock(database)
    late_ms = NOW_MS + CHANGES_KEPT_MS + 1
    async with writing(database) as connection:
        assert await prune_changes(connection, NOW_MS + CHANGES_KEPT_MS) == 0
        assert await prune_changes(connection, late_ms) == 6  # the newest stays
        assert (await connection.scalars(select(Change.id))).all() == [7]
    with pytest.raises(ChangesPruned):
        await _changes_since(database, 5)
    assert (await _changes_since(database, 6))[0] == 7
    assert await _changes_since(database, 7) == (7, [], [])


async def test_ids_of_pruned_changes_are_given_out_again(database: AsyncEngine) -> None:
    await _stock(database)
    async with writing(database) as connection:
        await connection.exec_driver_sql("DELETE FROM changes")
        await record_change(connection, "tenants", 1, NOW_MS)
        assert (await connection.scalars(select(Change.id))).all() == [8]
