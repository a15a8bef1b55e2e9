"""Orders of packages: made by tenants and agents, decided by the platform; money and minutes move together or not.

Everything here runs in a ``writing_session``. Those are one at a time on both databases, so that what is read of an
order still holds when it is written; the ledger's and the bucket's key (``order:<id>``) is the second line of defence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from engine.domain.money.order import OPEN_STATES, OrderAction, OrderKind, OrderState, next_state
from engine.domain.refusal import NotNow, Refusal
from engine.services.sales.order_fulfilment import fulfil, holder_of, last_period
from engine.store.listing import read_one
from engine.store.money.order_store import read_package
from engine.store.scope import AgentScope, Scope, TenantScope, within
from engine.store.tables import Agent, MinutesBucket
from engine.store.tables.orders import Order, OrderEvent, Package

DECIDED_WITHIN_MS = 30 * 24 * 3600 * 1000
"""Then an order that nobody has decided expires."""
OPEN_ORDERS_MAX = 1000
"""Of one tenant."""
EXPIRED_MAX = 500
RENEWED_MAX = 100
FULFILLED_MAX = 100
"""Orders that one run of a job takes; the rest waits for the next."""
RENEWED_AHEAD_MS = 3 * 24 * 3600 * 1000
"""So long before a period's end its renewal is ordered: the platform has that time to approve it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an order asks for. ``agent_id`` is for whom; None: for all of the tenant's agents."""

    kind: OrderKind
    key: str
    package_id: int | None = None  # of a purchase
    bucket_id: int | None = None  # of everything else
    agent_id: int | None = None
    to_agent_id: int | None = None  # of a transfer
    auto_renew: bool = False
    note: str = ""


async def create_order(
    session: AsyncSession, scope: TenantScope | AgentScope, wanted: Wanted, by: str, now_ms: int, *, draft: bool = False
) -> Order:
    """The order, submitted or drafted; the earlier one where the key is known. Raises Refusal and NotNow."""
    earlier = await session.scalar(select(Order).where(Order.tenant_id == scope.tenant_id, Order.key == wanted.key))
    if earlier is not None:
        same = (wanted.kind, wanted.to_agent_id) == (earlier.kind, earlier.to_agent_id)
        asked = earlier.package_id == wanted.package_id if wanted.package_id else earlier.bucket_id == wanted.bucket_id
        mine = not isinstance(scope, AgentScope) or earlier.agent_id == scope.agent_id
        if not (same and asked and mine):
            raise NotNow("key_reused", "key", "was used for another order")
        return earlier
    open_orders = select(func.count()).where(Order.tenant_id == scope.tenant_id, Order.state.in_(OPEN_STATES))
    if (await session.scalar(open_orders) or 0) >= OPEN_ORDERS_MAX:
        raise NotNow("too_many_open", "key", f"{OPEN_ORDERS_MAX} orders are open already")
    order = Order(tenant_id=scope.tenant_id, kind=wanted.kind, key=wanted.key, note=wanted.note, period_number=0)
    order.state, order.created_at_ms, order.decide_by_ms = OrderState.DRAFTED, now_ms, now_ms + DECIDED_WITHIN_MS
    order.auto_renew, order.amount_micro = wanted.auto_renew, 0
    await _make(session, scope, order, wanted, now_ms)
    session.add(order)
    await session.flush()
    await record_event(session, order, by, wanted.note, now_ms)
    if not draft:
        await act(session, order, OrderAction.SUBMIT, by, now_ms)
    await session.flush()
    return order


async def _make(
    session: AsyncSession, scope: TenantScope | AgentScope, order: Order, wanted: Wanted, now_ms: int
) -> None:
    if wanted.kind is OrderKind.PURCHASE:
        await _make_purchase(session, scope, order, wanted)
        return
    bucket, bought_by = await _bought(session, scope, wanted.bucket_id)
    if wanted.kind is OrderKind.RENEWAL:
        await _renew(session, order, bought_by)
        return
    if bucket.expires_at_ms <= now_ms:
        raise NotNow("package_expired", "bucket_id", "has expired")
    order.package_id, order.package_version = bought_by.package_id, bought_by.package_version
    order.bucket_id, order.agent_id = bucket.id, bucket.agent_id
    if wanted.kind is OrderKind.TRANSFER:
        order.to_agent_id = wanted.to_agent_id
        if order.to_agent_id == order.agent_id:
            raise Refusal("same_agent", "to_agent_id", "has the package already")
        await _check_agent(session, TenantScope(scope.tenant_id), order.to_agent_id, "to_agent_id")
    waiting = select(Order.id).where(
        Order.bucket_id == order.bucket_id,
        Order.kind.in_([OrderKind.RETURN, OrderKind.TRANSFER]),
        Order.state.in_(OPEN_STATES),
    )
    if await session.scalar(waiting.limit(1)) is not None:
        raise NotNow("order_waits", "bucket_id", "has an order already that waits")


async def _make_purchase(session: AsyncSession, scope: TenantScope | AgentScope, order: Order, wanted: Wanted) -> None:
    found = await read_package(session, scope, wanted.package_id or 0)
    if found is None:
        raise Refusal("package_unknown", "package_id", "is not on sale")
    package, terms = found
    order.package_id, order.package_version, order.amount_micro = package.id, terms.version, terms.price_micro
    order.agent_id = scope.agent_id if isinstance(scope, AgentScope) else wanted.agent_id
    await _check_agent(session, scope, order.agent_id, "agent_id")


async def _renew(session: AsyncSession, order: Order, first: Order) -> None:
    """The period after the last that was bought or asked for, at the terms that were bought, for who has it now."""
    order.package_id, order.package_version = first.package_id, first.package_version
    order.amount_micro, order.anchor_ms = first.amount_micro, first.anchor_ms
    order.first_order_id, order.period_number = first.id, await last_period(session, first) + 1
    order.agent_id = await holder_of(session, first)


async def _bought(
    session: AsyncSession, scope: TenantScope | AgentScope, bucket_id: int | None
) -> tuple[MinutesBucket, Order]:
    """A bucket of who has it now, and the purchase that it comes of."""
    bucket = await session.scalar(
        select(MinutesBucket).where(
            MinutesBucket.id == (bucket_id or 0),
            within(scope, tenant=MinutesBucket.tenant_id, agent=MinutesBucket.agent_id),
        )
    )
    if bucket is not None:
        buying = [OrderKind.PURCHASE, OrderKind.RENEWAL]
        order = await session.scalar(select(Order).where(Order.bucket_id == bucket.id, Order.kind.in_(buying)))
        if order is not None:
            return bucket, await session.get_one(Order, order.first_order_id or order.id)
    raise Refusal("bucket_unknown", "bucket_id", "are no package minutes of yours")


async def _check_agent(session: AsyncSession, scope: Scope, agent_id: int | None, field: str) -> None:
    if agent_id is None:
        return
    agent = await read_one(session, scope, Agent, agent_id)
    if agent is None or agent.status != "active":
        raise Refusal("agent_unknown", field, "is no active agent")


async def act(session: AsyncSession, order: Order, action: OrderAction, by: str, now_ms: int, note: str = "") -> None:
    """Takes an order on, and carries out what an approval allows. Raises WrongState, Refusal and NotNow; then undo all.

    A return whose minutes running calls hold stays approved; ``fulfil_waiting`` ends it.
    """
    await _enter(session, order, next_state(OrderState(order.state), action), by, note, now_ms)
    if action is OrderAction.APPROVE and await fulfil(session, order, now_ms):
        await _enter(session, order, next_state(OrderState(order.state), OrderAction.FULFIL), "", "", now_ms)
    await session.flush()


async def _enter(session: AsyncSession, order: Order, state: OrderState, by: str, note: str, now_ms: int) -> None:
    order.state = state
    await record_event(session, order, by, note, now_ms)


async def record_event(session: AsyncSession, order: Order, by: str, note: str, now_ms: int) -> None:
    await session.flush()
    position = await session.scalar(select(func.count()).where(OrderEvent.order_id == order.id)) or 0
    session.add(OrderEvent(order_id=order.id, position=position, state=order.state, at_ms=now_ms, by=by, note=note))
    await session.flush()


async def expire_orders(session: AsyncSession, now_ms: int) -> int:
    """Ends orders that nobody decided in time; how many, at most EXPIRED_MAX."""
    undecided = [OrderState.DRAFTED, OrderState.SUBMITTED]
    late = select(Order).where(Order.state.in_(undecided), Order.decide_by_ms <= now_ms).order_by(Order.id)
    orders = (await session.scalars(late.limit(EXPIRED_MAX))).all()
    for order in orders:
        await act(session, order, OrderAction.EXPIRE, "", now_ms)
    return len(orders)


async def waiting_orders(session: AsyncSession, after_id: int) -> Sequence[int]:
    """Approved orders that wait for calls to give up minutes, those after ``after_id``; at most FULFILLED_MAX."""
    waiting = select(Order.id).where(Order.state == OrderState.APPROVED, Order.id > after_id).order_by(Order.id)
    return (await session.scalars(waiting.limit(FULFILLED_MAX))).all()


async def fulfil_waiting(session: AsyncSession, order_id: int, now_ms: int) -> bool:
    """Carries out one approved order, if it can be by now."""
    order = await session.get(Order, order_id, populate_existing=True)
    if order is None or order.state != OrderState.APPROVED or not await fulfil(session, order, now_ms):
        return False
    await _enter(session, order, next_state(OrderState(order.state), OrderAction.FULFIL), "", "", now_ms)
    return True


async def due_renewals(session: AsyncSession, now_ms: int, after_id: int) -> Sequence[int]:
    """Purchases that renew themselves and whose last minutes end soon, those after ``after_id``; RENEWED_MAX at most.

    By the last bucket of each: a package that was returned ends at once, and is not renewed.
    """
    member = aliased(Order)
    last_end = (
        select(func.max(MinutesBucket.expires_at_ms))
        .join(member, (member.bucket_id == MinutesBucket.id) & member.kind.in_(["purchase", "renewal"]))
        .where((member.id == Order.id) | (member.first_order_id == Order.id))
        .scalar_subquery()
    )
    open_renewal = select(member.id).where(
        member.first_order_id == Order.id, member.state.in_([OrderState.SUBMITTED, OrderState.APPROVED])
    )
    due = select(Order.id).where(
        Order.kind == OrderKind.PURCHASE,
        Order.state == OrderState.FULFILLED,
        Order.auto_renew,
        Order.id > after_id,
        last_end <= now_ms + RENEWED_AHEAD_MS,
        last_end > now_ms,
        ~open_renewal.exists(),
    )
    return (await session.scalars(due.order_by(Order.id).limit(RENEWED_MAX))).all()


async def renew(session: AsyncSession, first_id: int, now_ms: int) -> Order:
    """Orders the next period of a purchase.

    Once for each period: what was rejected is not asked for again. ``approve_renewal`` goes on with it.
    """
    first = await session.get_one(Order, first_id, populate_existing=True)
    key = f"renewal:{first.id}:{await last_period(session, first) + 1}"
    earlier = await session.scalar(select(Order).where(Order.tenant_id == first.tenant_id, Order.key == key))
    if earlier is not None:
        return earlier
    order = Order(tenant_id=first.tenant_id, kind=OrderKind.RENEWAL, key=key, note="", auto_renew=False)
    order.state, order.created_at_ms, order.decide_by_ms = OrderState.DRAFTED, now_ms, now_ms + DECIDED_WITHIN_MS
    await _renew(session, order, first)
    session.add(order)
    await record_event(session, order, "", "", now_ms)
    await act(session, order, OrderAction.SUBMIT, "", now_ms)
    return order


async def approve_renewal(session: AsyncSession, order_id: int, now_ms: int) -> bool:
    """Approves a submitted renewal by the package's standing approval; False where it has none, or it was decided."""
    order = await session.get_one(Order, order_id, populate_existing=True)
    package = await session.get_one(Package, order.package_id)
    if order.state != OrderState.SUBMITTED or not package.renewals_approved:
        return False
    await act(session, order, OrderAction.APPROVE, "", now_ms, "standing approval")
    return True
