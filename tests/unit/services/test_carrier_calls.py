"""Carriers' own CDRs: late, doubled, out of order, in another clock; each is one CDR of ours, and charged once."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.cause import Cause, ReleaseSide
from engine.domain.refusal import Refusal
from engine.services.lines.bindings import create_binding, end_bindings
from engine.services.lines.carriers import permit
from engine.services.lines.number_allocation import By, allocate, assign, take_back
from engine.services.rating.rerating import Period, preview_rerating
from engine.services.records.carrier_calls import CarrierCall, Outcome, Taken, cdr_id_of, take_carrier_call
from engine.store.database import reading, writing, writing_session
from engine.store.money.lease_store import lease
from engine.store.money.ledger_check import differences
from engine.store.money.minutes_store import buy_minutes, uneven_buckets
from engine.store.scope import TenantScope
from engine.store.tables import (
    Account,
    Agent,
    Binding,
    Carrier,
    Cdr,
    LedgerTransaction,
    Line,
    MinutesBucket,
    Rate,
    Reconciliation,
    Tenant,
    Trunk,
    Webhook,
    WebhookDelivery,
    XNumber,
)

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
A, A2, B, X = "+8613800138001", "+8613800138002", "+8613900139001", "+861088880001"
CALL = CarrierCall(
    carrier_id=1,
    reference="abc-1",
    x_number=X,
    caller=A,
    callee=B,
    started_at_ms=NOW_MS + 1_000,
    answered_at_ms=NOW_MS + 9_000,
    ended_at_ms=NOW_MS + 9_000 + 61_000,
    cause=Cause.NORMAL,
    release_side=ReleaseSide.CALLEE,
)
AFTER_MS = NOW_MS + DAY_MS


@pytest.fixture
async def told(database: AsyncEngine) -> AsyncEngine:
    """Tenants 1 and 2, an agent each. X is tenant 1's, with a binding of A and B; ¥0.12 a minute, bought for 0.06."""
    async with writing_session(database, NOW_MS - DAY_MS) as session:
        session.add_all(Tenant(code=f"t{n}", name="T", created_at_ms=NOW_MS) for n in (1, 2))
        session.add_all(Carrier(code=f"c{n}", name="C") for n in (1, 2))
        session.add(Rate(code="sell", name="Sell", per_minute_micro=120_000))
        session.add(Rate(code="buy", name="Buy", per_minute_micro=60_000))
        await session.flush()
        session.add_all(Account(tenant_id=n) for n in (1, 2))
        session.add(Trunk(carrier_id=1, code="k", name="K", host="h", source_addresses=[], buy_rate_id=2))
        for n, phone in ((1, A), (2, A2)):
            session.add(Agent(tenant_id=n, code="a", name="A", phone=phone))
            await session.flush()
        session.add(Line(carrier_id=1, trunk_id=1, rate_id=1, code="l", name="L"))
        await session.flush()
        session.add(XNumber(number=X, line_id=1))
        hook = Webhook(tenant_id=1, url="https://example.com", kinds=["cdr.ended"], sealed_secret="")
        hook.created_at_ms = NOW_MS
        session.add(hook)
        await session.flush()
        for tenant_id in (1, 2):
            await permit(session, tenant_id, Line, 1, NOW_MS)
        x_number = await session.get_one(XNumber, 1)
        await allocate(session, [x_number], 1, By(NOW_MS - DAY_MS))
        await assign(session, [x_number], department_id=None, agent_id=1, by=By(NOW_MS - DAY_MS))
        await create_binding(
            session, TenantScope(1), binding_id="b1", x_number=X, b_number=B, agent_id=1, now_ms=NOW_MS
        )
    return database


async def _take(told: AsyncEngine, call: CarrierCall = CALL, now_ms: int = AFTER_MS) -> Outcome:
    async with writing_session(told, now_ms) as session:
        return await take_carrier_call(session, call, now_ms)


async def _cdrs(told: AsyncEngine) -> list[Any]:
    async with reading(told) as connection:
        assert await differences(connection) == []
        assert await uneven_buckets(connection) == []
        return list(await connection.execute(select(*Cdr.__table__.columns).order_by(Cdr.started_at_ms, Cdr.id)))


async def _balances(told: AsyncEngine) -> list[int]:
    async with reading(told) as connection:
        return list(await connection.scalars(select(Account.balance_micro).order_by(Account.tenant_id)))


async def test_a_carrier_s_call_is_free_or_nobody_s(told: AsyncEngine) -> None:
    assert await _take(told) == Outcome(cdr_id_of(1, "abc-1"), Taken.STORED, 240_000)
    (cdr,) = await _cdrs(told)
    assert (cdr.tenant_id, cdr.agent_id, cdr.binding_id, cdr.line_id, cdr.trunk_id) == (1, 1, "b1", 1, 1)
    assert (cdr.direction, cdr.a_number, cdr.x_number, cdr.b_number) == ("a_to_b", A, X, B)
    assert (cdr.billed_seconds, cdr.charge_micro, cdr.cost_micro) == (120, 240_000, 120_000)
    assert (cdr.state, cdr.cause, cdr.release_side, cdr.rate_version) == ("ended", "normal", "callee", 1)
    assert await _balances(told) == [-240_000, 0]
    async with reading(told) as connection:
        assert await preview_rerating(connection, Period(0, AFTER_MS)) != {}
        entry = (await connection.execute(select(LedgerTransaction.kind, LedgerTransaction.cause_id))).one()
        told_of = (await connection.scalars(select(WebhookDelivery.subject_id))).all()
    assert (entry.kind, entry.cause_id) == ("call_charge", cdr.id)
    assert told_of == [cdr.id]


async def test_what_comes_ten_times_at_once_or_out_of_order_is_charged_again(told: AsyncEngine) -> None:
    calls = [replace(CALL, reference=f"abc-{n}", started_at_ms=CALL.started_at_ms - n) for n in range(3)]
    outcomes = await asyncio.gather(*(_take(told, call) for call in [*calls, *reversed(calls)] * 2))
    assert sorted(outcome.taken for outcome in outcomes) == [Taken.REPEATED] * 9 + [Taken.STORED] * 3
    assert {outcome.charge_micro for outcome in outcomes} == {240_000}
    assert (len(await _cdrs(told)), await _balances(told)) == (3, [-720_000, 0])


async def test_a_carrier_that_changes_its_mind_moves_money(told: AsyncEngine) -> None:
    await _take(told)
    for change in ({"ended_at_ms": CALL.ended_at_ms + 60_000}, {"callee": A2}, {"answered_at_ms": None}):
        outcome = await _take(told, replace(CALL, **change))
        assert (outcome.taken, outcome.charge_micro) == (Taken.DIFFERS, 240_000)
    offset = {name: getattr(CALL, name) + 500 for name in ("started_at_ms", "answered_at_ms", "ended_at_ms")}
    assert (await _take(told, replace(CALL, **offset))).taken is Taken.REPEATED, "its clock is known better by now"
    assert (len(await _cdrs(told)), await _balances(told)) == (1, [-240_000, 0])


@pytest.mark.parametrize("given", [True, False])
async def test_a_carrier_s_clock_is_taken_for_ours(told: AsyncEngine, given: bool) -> None:
    offset_ms = 8 * 3600 * 1000 + 700  # it writes Shanghai's time as if it were UTC, and is a little fast
    times = ("started_at_ms", "answered_at_ms", "ended_at_ms")
    call = replace(CALL, **{name: getattr(CALL, name) + offset_ms for name in times})
    with pytest.raises(Refusal, match="future"):
        await _take(told, call, NOW_MS + 70_000)
    if not given:
        async with writing(told) as connection:
            for n, found_ms in enumerate((5, offset_ms)):
                values = {"id": str(n), "trunk_id": 1, "from_ms": 0, "to_ms": 1, "created_at_ms": n, "summary": {}}
                await connection.execute(
                    Reconciliation.__table__.insert().values(clock_offset_ms=found_ms, **values)  # type: ignore[attr-defined]  # a mapped class's table is a Table, its stub says less
                )
    await _take(told, replace(call, clock_offset_ms=offset_ms if given else None), NOW_MS + 70_000)
    (cdr,) = await _cdrs(told)
    assert (cdr.started_at_ms, cdr.answered_at_ms, cdr.ended_at_ms) == tuple(getattr(CALL, name) for name in times)


async def test_a_late_call_is_charged_to_who_has_the_number_now(told: AsyncEngine) -> None:
    async with writing_session(told, NOW_MS + 2 * DAY_MS) as session:
        binding = await session.get_one(Binding, "b1")
        await end_bindings(session, [binding], NOW_MS + DAY_MS)
        x_number = await session.get_one(XNumber, 1)
        await take_back(session, [x_number], By(NOW_MS + DAY_MS))
        await allocate(session, [x_number], 2, By(NOW_MS + 2 * DAY_MS))
        bound = {"binding_id": "b2", "x_number": X, "b_number": B, "a_number": A2}
        await create_binding(session, TenantScope(2), now_ms=NOW_MS + 2 * DAY_MS, **bound)
        await permit(session, 2, Line, 1, NOW_MS)
    late = NOW_MS + 3 * DAY_MS
    for day, reference in enumerate(("before", "between", "after")):
        shift = {
            name: getattr(CALL, name) + day * (DAY_MS + 60_000)
            for name in ("started_at_ms", "answered_at_ms", "ended_at_ms")
        }
        await _take(told, replace(CALL, reference=reference, **shift), late)
    # A stranger's call to X, which no binding knows: whoever had the number as he called.
    stranger = replace(CALL, reference="stranger", caller="+8613700137000", callee=A)
    await _take(told, stranger, late)
    cdrs = {cdr.id: cdr for cdr in await _cdrs(told)}
    found = [cdrs[cdr_id_of(1, reference)] for reference in ("before", "between", "after", "stranger")]
    assert [(cdr.tenant_id, cdr.agent_id, cdr.binding_id) for cdr in found] == [
        (1, 1, "b1"),
        (None, None, None),
        (2, None, "b2"),
        (1, 1, None),
    ]
    assert found[1].charge_micro == 0
    assert (found[3].direction, found[3].a_number, found[3].b_number) == ("b_to_a", A, "+8613700137000")
    assert await _balances(told) == [-480_000, -240_000]


async def test_a_late_call_has_the_price_of_today(told: AsyncEngine) -> None:
    async with writing_session(told, NOW_MS + DAY_MS) as session:
        (await session.get_one(Rate, 1)).per_minute_micro = 990_000
        (await session.get_one(Rate, 2)).per_minute_micro = 880_000
    await _take(told)
    (cdr,) = await _cdrs(told)
    assert (cdr.charge_micro, cdr.cost_micro, cdr.rate_version) == (240_000, 120_000, 1)


async def test_money_goes_before_minutes_or_minutes_are_used_twice(told: AsyncEngine) -> None:
    async with writing_session(told, NOW_MS) as session:
        for cause, seconds, days, agent_id in (("long", 6000, 30, None), ("short", 60, 2, 1), ("other", 600, 1, 2)):
            period = {"starts_at_ms": NOW_MS, "expires_at_ms": NOW_MS + days * DAY_MS}
            tenant_id = 2 if cause == "other" else 1
            await buy_minutes(session, tenant_id, cause, seconds, agent_id=agent_id, **period)
    late = NOW_MS + 5 * DAY_MS  # "short" has expired by now, but not when the call began
    for _ in range(2):
        await _take(told, CALL, late)
    (cdr,) = await _cdrs(told)
    assert (cdr.package_seconds, cdr.charge_micro, cdr.cost_micro) == (120, 0, 120_000)
    async with reading(told) as connection:
        left = select(MinutesBucket.cause_id, MinutesBucket.seconds_left)
        assert {row[0]: row[1] for row in await connection.execute(left)} == {"long": 5940, "short": 0, "other": 600}


async def test_a_callback_s_first_leg_is_not_charged(told: AsyncEngine) -> None:
    call = replace(CALL, first_leg_ms=80_000)
    unanswered = replace(call, reference="abc-2", answered_at_ms=None, first_leg_ms=10_000)
    await _take(told, call)
    await _take(told, unanswered)
    both = {cdr.id: cdr for cdr in await _cdrs(told)}
    answered = both[cdr_id_of(1, "abc-1")]
    assert (answered.billed_seconds, answered.charge_micro, answered.cost_micro) == (240, 480_000, 240_000)
    assert both[cdr_id_of(1, "abc-2")].charge_micro == 120_000
    async with writing_session(told, NOW_MS - 1) as session:
        (await session.get_one(Rate, 1)).callback_legs = "callee"
    await _take(told, replace(call, reference="abc-3"))
    alone = next(cdr for cdr in await _cdrs(told) if cdr.id == cdr_id_of(1, "abc-3"))
    assert (alone.billed_seconds, alone.charge_micro, alone.cost_micro) == (120, 240_000, 240_000)
    async with reading(told) as connection:
        shown = (await preview_rerating(connection, Period(0, AFTER_MS)))[1]
    assert (shown.old_micro, shown.new_micro) == (840_000, 480_000), "as the plan is now, the customer's leg alone"


async def test_a_call_without_a_price_is_lost_or_invents_one(told: AsyncEngine) -> None:
    async with writing_session(told, NOW_MS - 1) as session:
        rate = await session.get_one(Rate, 1)
        rate.others_refused, rate.entries = True, []
    assert (await _take(told)).charge_micro == 0
    (cdr,) = await _cdrs(told)
    assert (cdr.rate_id, cdr.charge_micro, cdr.billed_seconds) == (1, 0, 0)
    assert await _balances(told) == [0, 0]


async def test_an_engine_s_lease_is_spent_by_a_carrier_s_call(told: AsyncEngine) -> None:
    async with writing_session(told, NOW_MS) as session:
        (await session.get_one(Account, 1)).overdraft_limit_micro = 1_000_000
    async with writing(told) as connection:
        assert await lease(connection, "e", 1, 900_000) == 900_000
    await _take(told)
    async with reading(told) as connection:
        columns = select(Account.balance_micro, Account.leased_micro).where(Account.tenant_id == 1)
        assert tuple((await connection.execute(columns)).one()) == (-240_000, 900_000)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"carrier_id": 2}, "x_number"),
        ({"x_number": "+861088889999"}, "x_number"),
        ({"x_number": "x"}, "x_number"),
        ({"caller": ""}, "caller"),
        ({"callee": "12345678901234567890"}, "callee"),
        ({"reference": ""}, "reference"),
        ({"reference": "a b"}, "reference"),
        ({"reference": "x" * 129}, "reference"),
        ({"answered_at_ms": CALL.started_at_ms - 1}, "answered_at_ms"),
        ({"ended_at_ms": NOW_MS + 8_999}, "answered_at_ms"),
        ({"started_at_ms": -5}, "answered_at_ms"),
        ({"ended_at_ms": CALL.started_at_ms + DAY_MS + 1}, "ended_at_ms"),
        ({"first_leg_ms": -1}, "first_leg_ms"),
        ({"clock_offset_ms": 27 * 3600 * 1000}, "clock_offset_ms"),
    ],
)
async def test_what_cannot_be_a_call_leaves_something(told: AsyncEngine, change: dict[str, Any], field: str) -> None:
    with pytest.raises(Refusal) as refusal:
        await _take(told, replace(CALL, **change), NOW_MS + 2 * DAY_MS)
    assert refusal.value.field == field
    assert await _cdrs(told) == []
    async with reading(told) as connection:
        assert await connection.scalar(select(func.count()).select_from(LedgerTransaction)) == 0
