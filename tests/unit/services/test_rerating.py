"""Rerating: who gains and loses is known before, and afterwards records and ledger still say the same."""

from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.cause import Cause
from engine.domain.lines.routing import Direction
from engine.domain.money.charging import Charge, LegsCharged, Rate
from engine.domain.money.rate_plan import RateEntry, RatePlan
from engine.services.rating.rating import FinishedCall, rate_call
from engine.services.rating.rerating import Difference, Period, apply_rerating, preview_rerating
from engine.store import tables
from engine.store.database import reading, writing, writing_session
from engine.store.money.ledger_check import differences
from engine.store.money.ledger_store import CallCharge, KeyReused, settle
from engine.store.records.cdr_store import CDR_COLUMNS, write_cdrs

START_MS = 1_800_000_000_000
ALL = Period(START_MS, START_MS + 1000)
B = "+8613900000002"


def cdr(cdr_id: str, tenant_id: int, talk_ms: int, charge_micro: int, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(CDR_COLUMNS)
    row |= {"id": cdr_id, "state": "ended", "tenant_id": tenant_id, "trunk_id": 1, "rate_id": 1, "rate_version": 1}
    row |= {"direction": "a_to_b", "a_number": "+8613800000001", "b_number": B, "started_at_ms": START_MS}
    row |= {"answered_at_ms": START_MS + 5_000, "ended_at_ms": START_MS + 5_000 + talk_ms, "package_seconds": 0}
    return row | {"billed_seconds": 60, "charge_micro": charge_micro} | values


@pytest.fixture
async def stocked(database: AsyncEngine) -> AsyncEngine:
    """Two tenants; a plan that cost 0.12 a minute and now 0.10 by the second, and 0.50 to numbers in +1."""
    async with writing_session(database, START_MS) as session:
        session.add_all([tables.Tenant(code=n, name=n, created_at_ms=0) for n in ("t1", "t2")])
        session.add(tables.Carrier(code="c", name="C"))
        session.add(tables.Rate(code="sell", name="Sell", per_minute_micro=120_000))
        session.add(tables.Rate(code="buy", name="Buy", per_minute_micro=60_000))
        await session.flush()
        session.add_all([tables.Account(tenant_id=n, balance_micro=0, overdraft_limit_micro=10**9) for n in (1, 2)])
        session.add(tables.Trunk(carrier_id=1, code="k", name="K", host="h", source_addresses=[], buy_rate_id=2))
    rows = [
        cdr("short", 1, 13_000, 120_000),
        cdr("abroad", 2, 60_000, 120_000, b_number="+14155550100"),
        cdr("packaged", 2, 60_000, 0, package_seconds=60),
        cdr("unanswered", 1, 0, 0, answered_at_ms=None, billed_seconds=0),
        cdr("earlier", 1, 60_000, 120_000, started_at_ms=START_MS - 1),
        cdr("later", 1, 60_000, 120_000, started_at_ms=START_MS + 1000),
    ]
    async with writing(database) as connection:
        await write_cdrs(connection, rows)
        charges = [CallCharge(row["tenant_id"], row["id"], row["charge_micro"], START_MS) for row in rows]
        await settle(connection, "e1", charges)
    async with writing_session(database, START_MS + 1) as session:
        plan = await session.get_one(tables.Rate, 1)
        plan.per_minute_micro, plan.first_increment_seconds, plan.next_increment_seconds = 100_000, 1, 1
        plan.entries = [{"prefix": "1", "rate": {"per_minute_micro": 500_000}}]
    return database


async def _balances(database: AsyncEngine) -> list[int]:
    async with reading(database) as connection:
        return list(await connection.scalars(select(tables.Account.balance_micro).order_by(tables.Account.tenant_id)))


async def _preview(database: AsyncEngine, period: Period = ALL) -> dict[int, Difference]:
    async with reading(database) as connection:
        return await preview_rerating(connection, period)


async def test_a_preview_is_wrong_or_writes(stocked: AsyncEngine) -> None:
    before = await _balances(stocked)
    found = await _preview(stocked)
    assert found == {1: Difference(1, 0, 120_000, 21_667), 2: Difference(2, 0, 120_000, 500_000)}
    assert [found[tenant].difference_micro for tenant in (1, 2)] == [-98_333, 380_000]
    assert (await _preview(stocked, Period(START_MS, START_MS + 1000, tenant_id=1))).keys() == {1}
    assert await _balances(stocked) == before


async def test_what_is_applied_is_not_what_was_shown(stocked: AsyncEngine) -> None:
    before, shown = await _balances(stocked), await _preview(stocked)
    async with writing_session(stocked, START_MS) as session:
        assert await apply_rerating(session, ALL, "may", START_MS) == shown
    after = await _balances(stocked)
    assert [now - then for now, then in zip(after, before, strict=True)] == [98_333, -380_000]
    async with reading(stocked) as connection:
        cdrs = {row.id: row for row in await connection.execute(select(*tables.Cdr.__table__.columns))}
    short = cdrs["short"]
    assert (short.billed_seconds, short.charge_micro, short.cost_micro, short.rate_version) == (13, 21_667, 60_000, 2)
    assert cdrs["earlier"].charge_micro == 120_000
    assert (short.corrected_micro, cdrs["earlier"].corrected_micro) == (-98_333, None)
    async with reading(stocked) as connection:
        assert await differences(connection) == []
    assert [-sum(row.charge_micro for row in cdrs.values() if row.tenant_id == n) for n in (1, 2)] == after


async def test_rerating_again_charges_again(stocked: AsyncEngine) -> None:
    for key in ("may", "may", "june"):
        async with writing_session(stocked, START_MS) as session:
            await apply_rerating(session, ALL, key, START_MS)
    assert (await _preview(stocked))[2].difference_micro == 0
    async with reading(stocked) as connection:
        corrections = select(tables.LedgerTransaction.id).where(tables.LedgerTransaction.kind == "correction")
        assert len((await connection.execute(corrections)).all()) == 2


async def test_a_key_of_another_rerating_changes_records_without_money(stocked: AsyncEngine) -> None:
    async with writing_session(stocked, START_MS) as session:
        await apply_rerating(session, ALL, "may", START_MS)
    async with writing_session(stocked, START_MS) as session:
        (await session.get_one(tables.Rate, 1)).entries = []
    shown = await _preview(stocked)
    with pytest.raises(KeyReused):
        async with writing_session(stocked, START_MS) as session:
            await apply_rerating(session, ALL, "may", START_MS)
    assert await _preview(stocked) == shown


async def test_a_key_of_another_rerating_of_the_same_amount_is_taken_for_it(stocked: AsyncEngine) -> None:
    for per_minute_micro in (200_000, 300_000, 400_000):
        async with writing_session(stocked, START_MS) as session:
            plan = await session.get_one(tables.Rate, 1)
            plan.entries, plan.per_minute_micro = [], per_minute_micro
            plan.first_increment_seconds = plan.next_increment_seconds = 60
            await session.flush()
            if per_minute_micro == 400_000:
                with pytest.raises(KeyReused):
                    await apply_rerating(session, Period(START_MS, START_MS + 1000, tenant_id=1), "same", START_MS)
                await session.rollback()
            else:
                key = "first" if per_minute_micro == 200_000 else "same"
                await apply_rerating(session, Period(START_MS, START_MS + 1000, tenant_id=1), key, START_MS)


async def test_a_call_that_has_no_price_any_more_becomes_free(stocked: AsyncEngine) -> None:
    async with writing_session(stocked, START_MS) as session:
        (await session.get_one(tables.Rate, 1)).others_refused = True
    found = await _preview(stocked)
    assert found[1] == Difference(1, 1, 120_000, 120_000)


def test_a_carriers_call_costs_other_than_ours() -> None:
    rate = Rate(60_000, 6, 6, connect_fee_micro=1_000)
    plan = RatePlan([RateEntry(rate, "86")], UTC)
    call = FinishedCall(Direction.A_TO_B, B, START_MS, 13_001)
    assert rate_call(plan, None, call) == Charge(18, 0, rate.charge_micro(13_001), None)
    abroad = FinishedCall(Direction.A_TO_B, "+14155550100", START_MS, 13_001)
    assert rate_call(plan, None, abroad) is Cause.NO_RATE


def test_a_callback_s_legs_have_one_price_or_half_a_cost() -> None:
    entries = [
        RateEntry(Rate(60_000, 1, 1), direction="a_to_b"),
        RateEntry(Rate(6_000, 1, 1), "86138", direction="b_to_a"),
    ]
    plan = RatePlan(entries, UTC)
    call = FinishedCall(Direction.A_TO_B, B, START_MS, 60_000, first_leg_ms=70_000, agent_number="+8613800000001")
    assert rate_call(plan, plan, call) == Charge(130, 0, 67_000, 67_000)
    callee_alone = RatePlan(entries, UTC, callback_legs=LegsCharged.CALLEE)
    assert rate_call(callee_alone, plan, call) == Charge(60, 0, 60_000, 67_000)
    assert rate_call(plan, callee_alone, call) == Charge(130, 0, 67_000, 60_000)
    unknown = replace(call, agent_number="+14155550100")
    assert rate_call(plan, None, unknown) is Cause.NO_RATE
    assert rate_call(callee_alone, plan, unknown) == Charge(60, 0, 60_000, None)


async def test_what_the_carrier_takes_by_now_is_what_it_took(stocked: AsyncEngine) -> None:
    for at_ms, per_minute_micro in ((START_MS + 500, 70_000), (START_MS + 2_000, 990_000)):
        async with writing_session(stocked, at_ms) as session:
            (await session.get_one(tables.Rate, 2)).per_minute_micro = per_minute_micro
    async with writing(stocked) as connection:
        await write_cdrs(connection, [cdr("second", 1, 13_000, 0, started_at_ms=START_MS + 600)])
    async with writing_session(stocked, START_MS + 3_000) as session:
        await apply_rerating(session, ALL, "may", START_MS + 3_000)
    async with reading(stocked) as connection:
        rows = await connection.execute(select(tables.Cdr.id, tables.Cdr.cost_micro))
        costs = {row.id: row.cost_micro for row in rows}
    assert (costs["short"], costs["second"]) == (60_000, 70_000)


def test_minutes_that_were_used_stay_used() -> None:
    plan = RatePlan([RateEntry(Rate(60_000, 1, 1))], UTC)
    call = FinishedCall(Direction.A_TO_B, B, START_MS, 13_000, package_seconds=60)
    assert rate_call(plan, None, call) == Charge(60, 60, 0, None)
