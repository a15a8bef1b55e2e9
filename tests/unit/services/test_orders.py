"""Orders of packages: money and minutes move together, once, and only when the platform says so."""

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.money.order import OrderAction, OrderKind, OrderState, WrongState
from engine.domain.refusal import Refusal
from engine.services.sales.order_fulfilment import CreditShort
from engine.services.sales.orders import (
    DECIDED_WITHIN_MS,
    Wanted,
    act,
    approve_renewal,
    create_order,
    due_renewals,
    expire_orders,
    fulfil_waiting,
    renew,
)
from engine.services.sales.packages import Terms, change_terms, create_package
from engine.store.database import reading, writing, writing_session
from engine.store.money.lease_store import lease
from engine.store.money.ledger_check import differences
from engine.store.money.ledger_store import recharge
from engine.store.money.minutes_store import MinutesUsed, lease_minutes, release_minutes, settle_minutes
from engine.store.scope import AgentScope, TenantScope
from engine.store.tables import Account, Agent, LedgerTransaction, MinutesBucket, Tenant
from engine.store.tables.orders import Order, OrderEvent, Package

SHANGHAI = ZoneInfo("Asia/Shanghai")


def at_ms(year: int, month: int, day: int) -> int:
    return round(datetime(year, month, day, 9, tzinfo=SHANGHAI).timestamp()) * 1000


NOW_MS = at_ms(2027, 1, 31)
PRICE = 90_000_001  # not a multiple of anything that is returned
T1 = TenantScope(1)
A1 = AgentScope(1, 1)


@pytest.fixture
async def shop(database: AsyncEngine) -> AsyncEngine:
    """Tenants 1 (agents 1, 2) and 2 (agent 3) with ¥100 each; package 1 of 100 minutes a month for all."""
    async with writing_session(database, NOW_MS) as session:
        session.add_all(Tenant(code=f"t{n}", name="T", created_at_ms=NOW_MS) for n in (1, 2))
        await session.flush()
        session.add_all(Account(tenant_id=n) for n in (1, 2))
        for number, tenant_id in enumerate((1, 1, 2), start=1):
            session.add(Agent(tenant_id=tenant_id, code=f"a{number}", name="A"))
            await session.flush()
        for tenant_id in (1, 2):
            await recharge(session, tenant_id, 100_000_000, "opening", NOW_MS)
        terms = Terms(minutes=100, price_micro=PRICE)
        await create_package(session, code="p", name="P", terms=terms, tenant_id=None, now_ms=NOW_MS)
    return database


async def _order(shop: AsyncEngine, scope: TenantScope | AgentScope, wanted: Wanted, now_ms: int = NOW_MS) -> int:
    async with writing_session(shop, now_ms) as session:
        return (await create_order(session, scope, wanted, "who", now_ms)).id


async def _act(shop: AsyncEngine, order_id: int, action: OrderAction, now_ms: int = NOW_MS) -> OrderState:
    async with writing_session(shop, now_ms) as session:
        order = await session.get_one(Order, order_id)
        await act(session, order, action, "boss", now_ms)
        return OrderState(order.state)


async def _bought(shop: AsyncEngine, scope: TenantScope | AgentScope = A1, *, auto_renew: bool = False) -> int:
    order_id = await _order(shop, scope, Wanted(OrderKind.PURCHASE, "buy", package_id=1, auto_renew=auto_renew))
    assert await _act(shop, order_id, OrderAction.APPROVE) is OrderState.FULFILLED
    return order_id


async def _balance(shop: AsyncEngine, tenant_id: int = 1) -> int:
    async with reading(shop) as connection:
        assert await differences(connection) == []
        return await connection.scalar(select(Account.balance_micro).where(Account.tenant_id == tenant_id)) or 0


async def _buckets(shop: AsyncEngine) -> list[tuple[int | None, int, int, int]]:
    async with reading(shop) as connection:
        rows = await connection.execute(
            select(
                MinutesBucket.agent_id,
                MinutesBucket.seconds_left,
                MinutesBucket.starts_at_ms,
                MinutesBucket.expires_at_ms,
            ).order_by(MinutesBucket.id)
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]


async def test_money_moves_before_the_platform_approves(shop: AsyncEngine) -> None:
    order_id = await _order(shop, A1, Wanted(OrderKind.PURCHASE, "buy", package_id=1))
    assert (await _balance(shop), await _buckets(shop)) == (100_000_000, [])
    assert await _act(shop, order_id, OrderAction.APPROVE) is OrderState.FULFILLED
    assert await _balance(shop) == 100_000_000 - PRICE
    assert await _buckets(shop) == [(1, 6000, NOW_MS, at_ms(2027, 2, 28))]
    async with reading(shop) as connection:
        states = await connection.scalars(select(OrderEvent.state).order_by(OrderEvent.position))
        assert states.all() == ["drafted", "submitted", "approved", "fulfilled"]


async def test_ten_approve_at_once(shop: AsyncEngine) -> None:
    order_id = await _order(shop, A1, Wanted(OrderKind.PURCHASE, "buy", package_id=1))
    tries = (_act(shop, order_id, OrderAction.APPROVE) for _ in range(10))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert [outcome for outcome in outcomes if not isinstance(outcome, WrongState)] == [OrderState.FULFILLED]
    assert await _balance(shop) == 100_000_000 - PRICE
    assert len(await _buckets(shop)) == 1


async def test_ten_clicks_make_ten_orders(shop: AsyncEngine) -> None:
    wanted = Wanted(OrderKind.PURCHASE, "buy", package_id=1)
    assert len(set(await asyncio.gather(*(_order(shop, A1, wanted) for _ in range(10))))) == 1
    with pytest.raises(Refusal) as refusal:
        await _order(shop, AgentScope(1, 2), wanted)
    assert refusal.value.code == "key_reused"


async def test_two_approvals_share_credit_for_one(shop: AsyncEngine) -> None:
    orders = [await _order(shop, T1, Wanted(OrderKind.PURCHASE, key, package_id=1)) for key in ("x", "y")]
    outcomes = await asyncio.gather(*(_act(shop, each, OrderAction.APPROVE) for each in orders), return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, CreditShort)]
    assert [(each.code, each.short_micro) for each in refusals] == [("credit_short", 2 * PRICE - 100_000_000)]
    assert await _balance(shop) == 100_000_000 - PRICE
    async with reading(shop) as connection:
        assert sorted(await connection.scalars(select(Order.state))) == ["fulfilled", "submitted"]


async def test_a_package_is_bought_with_money_that_calls_may_cost(shop: AsyncEngine) -> None:
    async with writing(shop) as connection:
        assert await lease(connection, "e", 1, 20_000_000) == 20_000_000
    order_id = await _order(shop, A1, Wanted(OrderKind.PURCHASE, "buy", package_id=1))
    with pytest.raises(Refusal):
        await _act(shop, order_id, OrderAction.APPROVE)
    assert await _balance(shop) == 100_000_000


async def test_a_sold_package_changes_its_terms(shop: AsyncEngine) -> None:
    order_id = await _order(shop, A1, Wanted(OrderKind.PURCHASE, "buy", package_id=1))
    async with writing_session(shop, NOW_MS) as session:
        await change_terms(session, await session.get_one(Package, 1), Terms(minutes=1, price_micro=1), NOW_MS)
    await _act(shop, order_id, OrderAction.APPROVE)
    assert await _balance(shop) == 100_000_000 - PRICE
    assert (await _buckets(shop))[0][1] == 6000


async def test_a_return_pays_for_minutes_that_were_used(shop: AsyncEngine) -> None:
    await _bought(shop)
    async with writing(shop) as connection:
        await lease_minutes(connection, "e", 1, 100)
        await settle_minutes(connection, "e", [MinutesUsed("c1", 1, 61, NOW_MS)])
        await release_minutes(connection, "e", 1, 39)
    order_id = await _order(shop, A1, Wanted(OrderKind.RETURN, "back", bucket_id=1))
    assert await _act(shop, order_id, OrderAction.APPROVE, NOW_MS + 1) is OrderState.FULFILLED
    assert await _balance(shop) == 100_000_000 - PRICE + PRICE * (6000 - 61) // 6000
    assert await _buckets(shop) == [(1, 0, NOW_MS, NOW_MS + 1)]
    with pytest.raises(Refusal):
        await _order(shop, A1, Wanted(OrderKind.RETURN, "again", bucket_id=1), NOW_MS + 2)


async def test_minutes_that_a_call_holds_are_paid_back(shop: AsyncEngine) -> None:
    await _bought(shop)
    async with writing(shop) as connection:
        await lease_minutes(connection, "e", 1, 3600)
    order_id = await _order(shop, A1, Wanted(OrderKind.RETURN, "back", bucket_id=1))
    assert await _act(shop, order_id, OrderAction.APPROVE, NOW_MS + 1) is OrderState.APPROVED
    assert await _balance(shop) == 100_000_000 - PRICE
    async with writing_session(shop, NOW_MS) as session:
        assert not await fulfil_waiting(session, order_id, NOW_MS + 2)
    async with writing(shop) as connection:
        await settle_minutes(connection, "e", [MinutesUsed("c1", 1, 600, NOW_MS)])
        await release_minutes(connection, "e", 1, 3000)

    async def fulfil() -> bool:
        async with writing_session(shop, NOW_MS) as session:
            return await fulfil_waiting(session, order_id, NOW_MS + 3)

    assert sorted(await asyncio.gather(*(fulfil() for _ in range(5)))) == [False] * 4 + [True]
    assert await _balance(shop) == 100_000_000 - PRICE + PRICE * 5400 // 6000


async def test_two_returns_of_one_package(shop: AsyncEngine) -> None:
    await _bought(shop)
    wanted = [Wanted(OrderKind.RETURN, key, bucket_id=1) for key in ("x", "y")]
    outcomes = await asyncio.gather(*(_order(shop, A1, each) for each in wanted), return_exceptions=True)
    assert [each.code for each in outcomes if isinstance(each, Refusal)] == ["order_waits"]


async def test_an_agent_orders_with_another_s_package(shop: AsyncEngine) -> None:
    await _bought(shop)
    for scope in (AgentScope(1, 2), AgentScope(2, 3), TenantScope(2)):
        for kind in (OrderKind.RETURN, OrderKind.TRANSFER, OrderKind.RENEWAL):
            with pytest.raises(Refusal) as refusal:
                await _order(shop, scope, Wanted(kind, f"{kind}", bucket_id=1))
            assert refusal.value.code == "bucket_unknown"
    with pytest.raises(Refusal) as refusal:
        await _order(shop, A1, Wanted(OrderKind.TRANSFER, "t", bucket_id=1, to_agent_id=3))
    assert refusal.value.code == "agent_unknown"


async def test_a_transfer_leaves_the_minutes_behind(shop: AsyncEngine) -> None:
    await _bought(shop)
    order_id = await _order(shop, A1, Wanted(OrderKind.TRANSFER, "t", bucket_id=1, to_agent_id=2))
    await _act(shop, order_id, OrderAction.APPROVE)
    assert (await _buckets(shop))[0][:2] == (2, 6000)
    assert await _balance(shop) == 100_000_000 - PRICE
    renewal = await _order(shop, AgentScope(1, 2), Wanted(OrderKind.RENEWAL, "r", bucket_id=1))
    async with writing_session(shop, NOW_MS) as session:
        await recharge(session, 1, 100_000_000, "more", NOW_MS)
    await _act(shop, renewal, OrderAction.APPROVE)
    # The 31st is the anchor: the second month ends on 31 March, though the first ended on the 28th.
    assert (await _buckets(shop))[1] == (2, 6000, at_ms(2027, 2, 28), at_ms(2027, 3, 31))


async def test_a_rejected_order_is_approved(shop: AsyncEngine) -> None:
    order_id = await _order(shop, A1, Wanted(OrderKind.PURCHASE, "buy", package_id=1))
    await _act(shop, order_id, OrderAction.REJECT)
    with pytest.raises(WrongState) as refusal:
        await _act(shop, order_id, OrderAction.APPROVE)
    assert refusal.value.allowed == ()
    assert await _balance(shop) == 100_000_000


async def test_an_old_order_is_approved(shop: AsyncEngine) -> None:
    order_id = await _order(shop, A1, Wanted(OrderKind.PURCHASE, "buy", package_id=1))
    for late_ms, count in ((DECIDED_WITHIN_MS - 1, 0), (DECIDED_WITHIN_MS, 1), (DECIDED_WITHIN_MS, 0)):
        async with writing_session(shop, NOW_MS) as session:
            assert await expire_orders(session, NOW_MS + late_ms) == count
    with pytest.raises(WrongState):
        await _act(shop, order_id, OrderAction.APPROVE)


async def _renewals(shop: AsyncEngine, now_ms: int) -> list[int]:
    made = []
    async with writing_session(shop, now_ms) as session:
        for first_id in await due_renewals(session, now_ms, 0):
            order = await renew(session, first_id, now_ms)
            await approve_renewal(session, order.id, now_ms)
            made.append(order.id)
    return made


async def test_a_package_is_renewed_twice_or_without_approval(shop: AsyncEngine) -> None:
    first = await _bought(shop, auto_renew=True)
    assert await _renewals(shop, at_ms(2027, 2, 20)) == []
    soon_ms = at_ms(2027, 2, 27)
    outcomes = await asyncio.gather(*(_renewals(shop, soon_ms) for _ in range(3)))
    assert sorted(map(len, outcomes)) == [0, 0, 1]
    assert await _balance(shop) == 100_000_000 - PRICE, "no standing approval: the platform is asked"
    async with writing_session(shop, soon_ms) as session:
        (await session.get_one(Package, 1)).renewals_approved = True
        await recharge(session, 1, 100_000_000, "more", soon_ms)
        renewal = await session.scalar(select(Order.id).where(Order.first_order_id == first))
        assert renewal is not None
    async with writing_session(shop, soon_ms) as session:
        assert await approve_renewal(session, renewal, soon_ms)
        assert not await approve_renewal(session, renewal, soon_ms)
    assert await _renewals(shop, soon_ms) == []
    assert await _balance(shop) == 200_000_000 - 2 * PRICE


async def test_a_returned_package_is_renewed(shop: AsyncEngine) -> None:
    await _bought(shop, auto_renew=True)
    order_id = await _order(shop, A1, Wanted(OrderKind.RETURN, "back", bucket_id=1))
    await _act(shop, order_id, OrderAction.APPROVE, NOW_MS + 1)
    for day in (1, 25, 28):
        assert await _renewals(shop, at_ms(2027, 2, day)) == []


async def test_an_approval_is_half_done(shop: AsyncEngine) -> None:
    """The ledger refuses: neither state nor minutes are there."""
    order_id = await _order(shop, A1, Wanted(OrderKind.PURCHASE, "buy", package_id=1))
    async with writing(shop) as connection:
        await connection.execute(update(Account).where(Account.tenant_id == 1).values(claimed_micro=50_000_000))
    with pytest.raises(Refusal):
        await _act(shop, order_id, OrderAction.APPROVE)
    async with reading(shop) as connection:
        assert await connection.scalar(select(Order.state)) == "submitted"
        kinds = await connection.scalars(select(LedgerTransaction.kind))
        assert set(kinds) == {"recharge"}
    assert await _buckets(shop) == []
