"""Packages with lines and numbers: in the buyer's hands from the approval on, in nobody else's, and gone at the end."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.money.order import OrderAction, OrderKind, OrderState
from engine.domain.refusal import Refusal
from engine.services.lines.bindings import create_binding
from engine.services.lines.carriers import permit
from engine.services.lines.number_allocation import TooFewNumbers
from engine.services.lines.number_replacement import replace
from engine.services.sales.orders import Wanted, act, create_order, fulfil_waiting, renew
from engine.services.sales.package_holdings import By, end_expired_packages
from engine.services.sales.packages import NUMBERS_MAX, Terms, change_terms, create_package
from engine.store.database import reading, writing, writing_session
from engine.store.money.ledger_check import differences
from engine.store.money.ledger_store import recharge
from engine.store.money.minutes_store import lease_minutes, release_minutes
from engine.store.scope import AgentScope, TenantScope
from engine.store.tables import Account, Agent, Binding, Carrier, Line, MinutesBucket, Rate, Tenant, Trunk, XNumber
from engine.store.tables.numbers import LinePermission, NumberMove
from engine.store.tables.orders import Order, Package

NOW_MS = 1_800_000_000_000
MONTH_MS = 32 * 24 * 3600 * 1000
Buyer = TenantScope | AgentScope
A1, A2, OTHER = AgentScope(1, 1), AgentScope(1, 2), AgentScope(2, 3)


@pytest.fixture
async def shop(database: AsyncEngine) -> AsyncEngine:
    """Tenants 1 (agents 1, 2) and 2 (agent 3), who may use no line; five numbers of line 1, three of line 2.

    Package 1 has two numbers of line 1 and one of line 2, for minutes on these.
    """
    async with writing_session(database, NOW_MS) as session:
        session.add_all(Tenant(code=f"t{n}", name="T", created_at_ms=NOW_MS) for n in (1, 2))
        session.add_all([Carrier(code="c", name="C"), Rate(code="r", name="R", per_minute_micro=1)])
        await session.flush()
        session.add_all(Account(tenant_id=n) for n in (1, 2))
        session.add(Trunk(carrier_id=1, code="k", name="K", host="127.0.0.1", source_addresses=[]))
        for number, tenant_id in enumerate((1, 1, 2), start=1):
            session.add(Agent(tenant_id=tenant_id, code=f"a{number}", name="A", phone=f"+861380013800{number}"))
            await session.flush()
        for n in (1, 2):
            session.add(Line(carrier_id=1, trunk_id=1, rate_id=1, code=f"l{n}", name="L"))
            await session.flush()
        for n, line_id in enumerate((1, 1, 1, 1, 1, 2, 2, 2)):
            session.add(XNumber(number=f"+86108888000{n}", line_id=line_id))
            await session.flush()
        for tenant_id in (1, 2):
            await recharge(session, tenant_id, 100_000_000, "opening", NOW_MS)
        numbers = ({"line_id": 1, "count": 2}, {"line_id": 2, "count": 1})
        terms = Terms(minutes=100, price_micro=10_000_000, line_ids=(1, 2), numbers=numbers)
        await create_package(session, code="p", name="P", terms=terms, tenant_id=None, now_ms=NOW_MS)
    return database


async def _order(shop: AsyncEngine, scope: Buyer, kind: OrderKind = OrderKind.PURCHASE, **wanted: Any) -> int:
    async with writing_session(shop, NOW_MS) as session:
        if kind is OrderKind.PURCHASE:
            wanted["package_id"] = 1
        key = wanted.pop("key", kind.value)
        return (await create_order(session, scope, Wanted(kind, key, **wanted), "who", NOW_MS)).id


async def _approve(shop: AsyncEngine, order_id: int, now_ms: int = NOW_MS) -> OrderState:
    async with writing_session(shop, now_ms) as session:
        order = await session.get_one(Order, order_id)
        await act(session, order, OrderAction.APPROVE, "boss", now_ms)
        return OrderState(order.state)


async def _bought(shop: AsyncEngine, scope: Buyer = A1, key: str = "buy") -> int:
    order_id = await _order(shop, scope, key=key)
    assert await _approve(shop, order_id) is OrderState.FULFILLED
    async with reading(shop) as connection:
        return await connection.scalar(select(Order.bucket_id).where(Order.id == order_id)) or 0


async def _hands(shop: AsyncEngine) -> dict[int, tuple[int | None, int | None, int | None]]:
    """Of the numbers that somebody has: tenant, agent, package's minutes."""
    async with reading(shop) as connection:
        assert await differences(connection) == []
        columns = XNumber.id, XNumber.tenant_id, XNumber.agent_id, XNumber.bucket_id
        rows = await connection.execute(select(*columns).where(XNumber.tenant_id.is_not(None)).order_by(XNumber.id))
        return {row[0]: (row[1], row[2], row[3]) for row in rows}


async def _lines(shop: AsyncEngine, tenant_id: int = 1) -> list[tuple[int, bool]]:
    async with reading(shop) as connection:
        statement = select(LinePermission.line_id, LinePermission.by_package).where(
            LinePermission.tenant_id == tenant_id
        )
        return [(row[0], row[1]) for row in await connection.execute(statement.order_by(LinePermission.line_id))]


async def _moves(shop: AsyncEngine) -> list[tuple[str, str, int]]:
    async with reading(shop) as connection:
        rows = await connection.execute(select(NumberMove.kind, NumberMove.reason).order_by(NumberMove.id))
        moves = [(row[0], row[1]) for row in rows]
        return [(*move, moves.count(move)) for move in dict.fromkeys(moves)]


async def _expire(shop: AsyncEngine, now_ms: int) -> int:
    async with writing_session(shop, now_ms) as session:
        return await end_expired_packages(session, now_ms)


async def test_numbers_are_had_before_the_approval_or_by_nobody_after_it(shop: AsyncEngine) -> None:
    order_id = await _order(shop, A1)
    assert (await _hands(shop), await _lines(shop)) == ({}, [])
    await _approve(shop, order_id)
    assert await _hands(shop) == {1: (1, 1, 1), 2: (1, 1, 1), 6: (1, 1, 1)}
    assert await _lines(shop) == [(1, True), (2, True)]
    assert await _lines(shop, 2) == []
    assert await _moves(shop) == [("allocated", "order 1", 3), ("assigned", "order 1", 3)]


async def test_two_approvals_hand_out_one_number_twice(shop: AsyncEngine) -> None:
    """Five numbers of line 1: of four packages with two each, two can be had; whoever gets none keeps his money."""
    buyers: list[tuple[Buyer, str]] = [(A1, "a"), (A2, "b"), (OTHER, "c"), (TenantScope(1), "d")]
    orders = [await _order(shop, scope, key=key) for scope, key in buyers]
    outcomes = await asyncio.gather(*(_approve(shop, order_id) for order_id in orders), return_exceptions=True)
    assert sum(outcome is OrderState.FULFILLED for outcome in outcomes) == 2
    assert sum(isinstance(outcome, TooFewNumbers) for outcome in outcomes) == 2
    assert len(await _hands(shop)) == 6
    async with reading(shop) as connection:
        balances = await connection.scalars(select(Account.balance_micro))
        assert sum(balances) == 180_000_000
        states = (await connection.scalars(select(Order.state))).all()
        assert sorted(states) == ["fulfilled", "fulfilled", "submitted", "submitted"]
        assert len((await connection.scalars(select(MinutesBucket.id))).all()) == 2


async def test_what_was_returned_stays_or_a_binding_on_it_lives(shop: AsyncEngine) -> None:
    bucket_id = await _bought(shop)
    async with writing_session(shop, NOW_MS) as session:
        binding = {"binding_id": "b", "x_number": "+861088880000", "b_number": "+8613900139001", "agent_id": 1}
        await create_binding(session, TenantScope(1), now_ms=NOW_MS, **binding)
    async with writing(shop) as connection:
        await lease_minutes(connection, "e", bucket_id, 60)
    order_id = await _order(shop, A1, OrderKind.RETURN, bucket_id=bucket_id)
    assert await _approve(shop, order_id) is OrderState.APPROVED, "a call holds minutes yet"
    assert (await _hands(shop), await _lines(shop)) == ({}, [])
    async with reading(shop) as connection:
        assert (await connection.scalars(select(Binding.ended_at_ms))).one() == NOW_MS
    async with writing(shop) as connection:
        await release_minutes(connection, "e", bucket_id, 60)
    async with writing_session(shop, NOW_MS) as session:
        assert await fulfil_waiting(session, order_id, NOW_MS)
    assert (await _moves(shop))[-1] == ("returned", f"order {order_id}", 3)
    await _bought(shop, OTHER)
    assert 3 in await _hands(shop), "those go first that have rested longest"


async def test_a_transfer_leaves_the_numbers_behind(shop: AsyncEngine) -> None:
    bucket_id = await _bought(shop)
    assert await _approve(shop, await _order(shop, A1, OrderKind.TRANSFER, bucket_id=bucket_id, to_agent_id=2))
    assert await _hands(shop) == {1: (1, 2, 1), 2: (1, 2, 1), 6: (1, 2, 1)}
    to_all = await _order(shop, A2, OrderKind.TRANSFER, key="to all", bucket_id=bucket_id, to_agent_id=None)
    await _approve(shop, to_all)
    assert await _hands(shop) == {1: (1, None, 1), 2: (1, None, 1), 6: (1, None, 1)}


async def test_an_expired_package_keeps_its_numbers_or_takes_another_s_line(shop: AsyncEngine) -> None:
    await _bought(shop)
    await _bought(shop, A2, "second")
    async with writing_session(shop, NOW_MS) as session:
        await permit(session, 1, Line, 2, NOW_MS)
        (await session.get_one(MinutesBucket, 2)).expires_at_ms += MONTH_MS
    assert await _expire(shop, NOW_MS + MONTH_MS) == 1
    assert set(await _hands(shop)) == {3, 4, 7}
    assert await _lines(shop) == [(1, True), (2, False)]
    assert await _expire(shop, NOW_MS + MONTH_MS) == 0
    assert await _expire(shop, NOW_MS + 3 * MONTH_MS) == 1
    assert (await _hands(shop), await _lines(shop)) == ({}, [(2, False)]), "what was permitted by hand stays"
    assert (await _moves(shop))[-1] == ("returned", "package expired", 6)


async def test_a_renewal_gives_other_numbers_or_more_of_them(shop: AsyncEngine) -> None:
    await _bought(shop)
    async with writing_session(shop, NOW_MS) as session:
        order_id = (await renew(session, 1, NOW_MS)).id
    assert await _approve(shop, order_id) is OrderState.FULFILLED
    assert await _hands(shop) == {1: (1, 1, 2), 2: (1, 1, 2), 6: (1, 1, 2)}
    assert await _expire(shop, NOW_MS + MONTH_MS) == 1
    assert set(await _hands(shop)) == {1, 2, 6}
    assert await _lines(shop) == [(1, True), (2, True)]


async def test_a_returned_renewal_takes_the_numbers_of_the_period_that_runs(shop: AsyncEngine) -> None:
    await _bought(shop)
    async with writing_session(shop, NOW_MS) as session:
        order_id = (await renew(session, 1, NOW_MS)).id
    await _approve(shop, order_id)
    assert await _approve(shop, await _order(shop, A1, OrderKind.RETURN, bucket_id=2)) is OrderState.FULFILLED
    assert await _hands(shop) == {1: (1, 1, 1), 2: (1, 1, 1), 6: (1, 1, 1)}
    assert await _lines(shop) == [(1, True), (2, True)]
    assert await _expire(shop, NOW_MS + MONTH_MS) == 1
    assert (await _hands(shop), await _lines(shop)) == ({}, [])


async def test_a_number_s_replacement_is_kept_for_ever(shop: AsyncEngine) -> None:
    await _bought(shop)
    async with writing_session(shop, NOW_MS) as session:
        await replace(session, await session.get_one(XNumber, 1), By(NOW_MS), quarantine_days=1)
    assert await _hands(shop) == {2: (1, 1, 1), 3: (1, 1, 1), 6: (1, 1, 1)}
    await _expire(shop, NOW_MS + MONTH_MS)
    assert await _hands(shop) == {}


@pytest.mark.parametrize(
    "numbers",
    [
        [{"line_id": 1, "count": 1}, {"line_id": 1, "count": 1}],
        [{"line_id": 1, "count": 0}],
        [{"line_id": 1, "count": NUMBERS_MAX + 1}],
        [{"line_id": 9, "count": 1}],
    ],
)
async def test_a_package_has_numbers_that_cannot_be(shop: AsyncEngine, numbers: list[dict[str, int]]) -> None:
    async with writing_session(shop, NOW_MS) as session:
        package = await session.get_one(Package, 1)
        with pytest.raises(Refusal):
            await change_terms(session, package, Terms(minutes=1, price_micro=1, numbers=numbers), NOW_MS)
        with pytest.raises(Refusal):
            await change_terms(
                session,
                package,
                Terms(minutes=1, price_micro=1, line_ids=(2,), numbers=[{"line_id": 1, "count": 1}]),
                NOW_MS,
            )
