"""What an approved order moves: money in the ledger, minutes in a bucket, lines and numbers, in its own transaction."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.money.order import OrderKind, OrderState
from engine.domain.money.package import Period, PeriodUnit, refund_micro
from engine.domain.refusal import NotNow, Refusal
from engine.services.sales.package_holdings import give_back, hand_out, hand_over
from engine.store.change_feed import record_change
from engine.store.money.lease_store import FREE, lock_accounts
from engine.store.money.ledger_store import Kind, PlatformAccount, post
from engine.store.money.minutes_store import buy_minutes
from engine.store.tables import Account, Agent, MinutesBucket, MinutesLease, MinutesUse
from engine.store.tables.orders import Order, PackageVersion

_BUYING = (OrderKind.PURCHASE, OrderKind.RENEWAL)
_DEAD = (OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED)


class CreditShort(NotNow):
    """``short_micro`` is missing of what is free, by overdraft too; engines may yet give back what they lease of it."""

    def __init__(self, short_micro: int) -> None:
        super().__init__("credit_short", "amount_micro", "is more than is free")
        self.short_micro = short_micro


def cause_of(order: Order) -> str:
    """The order's name in the ledger and among the minutes: by it nothing moves twice."""
    return f"order:{order.id}"


async def last_period(session: AsyncSession, first: Order) -> int:
    """The last period of a purchase that was bought or is asked for, counted from 0."""
    return (
        await session.scalar(
            select(func.max(Order.period_number)).where(
                (Order.first_order_id == first.id) | (Order.id == first.id), Order.state.not_in(_DEAD)
            )
        )
        or 0
    )


async def holder_of(session: AsyncSession, first: Order) -> int | None:
    """Who has the minutes of a purchase's last period: a transfer may have moved them."""
    agent_id: int | None = await session.scalar(
        select(MinutesBucket.agent_id)
        .join(Order, (Order.bucket_id == MinutesBucket.id) & Order.kind.in_(_BUYING))
        .where((Order.first_order_id == first.id) | (Order.id == first.id))
        .order_by(Order.period_number.desc())
        .limit(1)
    )
    return agent_id


async def fulfil(session: AsyncSession, order: Order, now_ms: int) -> bool:
    """True where money and minutes have moved; False where a return waits for calls. Raises Refusal and NotNow."""
    match OrderKind(order.kind):
        case OrderKind.PURCHASE:
            order.anchor_ms = now_ms
            await _buy(session, order, now_ms)
            return True
        case OrderKind.RENEWAL:
            await _buy(session, order, now_ms)
            return True
        case OrderKind.TRANSFER:
            await _transfer(session, order, now_ms)
            return True
        case OrderKind.RETURN:
            return await _take_back(session, order, now_ms)


async def _buy(session: AsyncSession, order: Order, now_ms: int) -> None:
    terms = await session.get_one(PackageVersion, (order.package_id, order.package_version))
    period = Period(PeriodUnit(terms.period_unit), terms.period_count, terms.zone)
    assert order.anchor_ms is not None, "a purchase has its anchor from its approval, a renewal from its purchase"
    starts_at_ms = period.boundary_ms(order.anchor_ms, order.period_number)
    expires_at_ms = period.boundary_ms(order.anchor_ms, order.period_number + 1)
    if expires_at_ms <= now_ms:
        raise NotNow("period_over", "order", "its period is over")
    if order.agent_id is not None and (await session.get_one(Agent, order.agent_id)).status == "left":
        raise Refusal("agent_unknown", "agent_id", "has left")
    connection = await session.connection()
    await lock_accounts(connection, [order.tenant_id])
    free_micro = await session.scalar(select(FREE).where(Account.tenant_id == order.tenant_id)) or 0
    if free_micro < order.amount_micro:
        raise CreditShort(order.amount_micro - free_micro)
    if order.amount_micro:
        amounts_micro = {order.tenant_id: -order.amount_micro, PlatformAccount.REVENUE: order.amount_micro}
        await post(connection, Kind.PACKAGE, order.tenant_id, cause_of(order), amounts_micro, now_ms)
    await buy_minutes(
        session,
        order.tenant_id,
        cause_of(order),
        terms.minutes * 60,
        starts_at_ms=starts_at_ms,
        expires_at_ms=expires_at_ms,
        agent_id=order.agent_id,
        line_ids=terms.line_ids,
    )
    bucket = (await session.scalars(select(MinutesBucket).where(MinutesBucket.cause_id == cause_of(order)))).one()
    order.bucket_id = bucket.id
    await session.flush()
    await hand_out(session, order, bucket, terms, now_ms)


async def _locked_bucket(session: AsyncSession, order: Order) -> MinutesBucket:
    """Ours until the transaction ends: no engine leases of it, or gives back to it, meanwhile."""
    statement = select(MinutesBucket).where(MinutesBucket.id == order.bucket_id).with_for_update()
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one()


async def _transfer(session: AsyncSession, order: Order, now_ms: int) -> None:
    """Calls that run go on with the minutes that they hold; calls from now on are the new agent's."""
    bucket = await _locked_bucket(session, order)
    if bucket.expires_at_ms <= now_ms:
        raise NotNow("package_expired", "bucket_id", "has expired")
    if order.to_agent_id is not None and (await session.get_one(Agent, order.to_agent_id)).status != "active":
        raise Refusal("agent_unknown", "to_agent_id", "is no active agent")
    bucket.agent_id = order.to_agent_id
    await session.flush()
    await hand_over(session, order, bucket, now_ms)


async def _take_back(session: AsyncSession, order: Order, now_ms: int) -> bool:
    """Ends the bucket at once; once no engine has any of it leased, what is left is paid back.

    Only then is it known what calls have used: what one of them holds is neither kept from it nor paid back.
    """
    bucket = await _locked_bucket(session, order)
    if order.refunded_seconds is None:  # the first time
        if bucket.expires_at_ms <= now_ms:
            raise NotNow("package_expired", "bucket_id", "has expired")
        bucket.starts_at_ms = min(bucket.starts_at_ms, now_ms)  # one that has not begun yet never does
        bucket.expires_at_ms = now_ms
        order.refunded_seconds = 0
        await session.flush()
        await give_back(session, bucket, now_ms, f"order {order.id}")
    leased = select(func.coalesce(func.sum(MinutesLease.seconds), 0)).where(MinutesLease.bucket_id == bucket.id)
    if await session.scalar(leased):
        # An engine that was started meanwhile, or whose clock is behind, hears of it again.
        await record_change(await session.connection(), MinutesBucket.__tablename__, bucket.id, now_ms)
        return False
    bought_by = await session.scalar(select(Order).where(Order.bucket_id == bucket.id, Order.kind.in_(_BUYING)))
    assert bought_by is not None, "only what an order bought can be returned"
    order.refunded_seconds = bucket.seconds_left
    order.amount_micro = refund_micro(bought_by.amount_micro, bucket.seconds_bought, bucket.seconds_left)
    if bucket.seconds_left:
        use = MinutesUse(cdr_id=cause_of(order), bucket_id=bucket.id, seconds=bucket.seconds_left)
        use.created_at_ms = now_ms
        session.add(use)
        bucket.seconds_left = 0
    if order.amount_micro:
        amounts_micro = {order.tenant_id: order.amount_micro, PlatformAccount.REVENUE: -order.amount_micro}
        connection = await session.connection()
        await post(connection, Kind.PACKAGE_REFUND, order.tenant_id, cause_of(order), amounts_micro, now_ms)
    return True
