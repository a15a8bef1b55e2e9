"""Recharges: ordered, paid, credited; once, for the amount that was ordered, whatever a provider tells how often."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import NotNow, Refusal
from engine.payments.notice import CURRENCY, Payment
from engine.store.money.ledger_store import recharge
from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables import Account
from engine.store.tables.orders import Recharge

BY_HAND = "by_hand"
OPEN_MAX = 100
"""Recharges of one tenant that wait for their money."""


class RechargeState(StrEnum):
    CREATED = "created"
    CREDITED = "credited"  # paid, and in the ledger: one transaction
    CLOSED = "closed"  # given up; money that comes all the same is credited


class Dispute(StrEnum):
    """What does not fit."""

    UNKNOWN_REFERENCE = "unknown_reference"
    OTHER_PROVIDER = "other_provider"
    OTHER_CURRENCY = "other_currency"
    OTHER_AMOUNT = "other_amount"
    PAID_TWICE = "paid_twice"


class PaymentDisputed(Exception):
    """A genuine notice that does not fit its recharge, or fits none: people must look."""

    def __init__(self, dispute: Dispute, recharge: Recharge | None) -> None:
        super().__init__(dispute.value)
        self.dispute = dispute
        self.recharge = recharge


async def create_recharge(
    session: AsyncSession,
    tenant_id: int,
    *,
    key: str,
    reference: str,
    provider: str,
    amount_micro: int,
    by: str,
    now_ms: int,
    note: str = "",
) -> Recharge:
    """The recharge, or the earlier one of this key. Raises Refusal and NotNow; ``reference`` is new and ours."""
    earlier = await session.scalar(select(Recharge).where(Recharge.tenant_id == tenant_id, Recharge.key == key))
    if earlier is not None:
        if (earlier.amount_micro, earlier.provider) != (amount_micro, provider):
            raise NotNow("key_reused", "key", "was used for another recharge")
        return earlier
    if await session.get(Account, tenant_id) is None:
        raise Refusal("tenant_unknown", "tenant_id", "is not known")
    waiting = select(func.count()).where(Recharge.tenant_id == tenant_id, Recharge.state == RechargeState.CREATED)
    if (await session.scalar(waiting) or 0) >= OPEN_MAX:
        raise NotNow("too_many_open", "key", f"{OPEN_MAX} recharges wait for their money already")
    row = Recharge(tenant_id=tenant_id, key=key, reference=reference, provider=provider, amount_micro=amount_micro)
    row.state, row.created_by, row.created_at_ms, row.note = RechargeState.CREATED, by, now_ms, note
    session.add(row)
    await session.flush()
    return row


async def take_payment(session: AsyncSession, payment: Payment, now_ms: int) -> bool:
    """Credits what a provider says was paid; False where it was told before.

    The amount is the order's, and the notice must say the same. Raises PaymentDisputed, with nothing written.
    """
    row = await session.scalar(select(Recharge).where(Recharge.reference == payment.reference))
    if row is None:
        raise PaymentDisputed(Dispute.UNKNOWN_REFERENCE, None)
    if (dispute := await _dispute(session, row, payment)) is not None:
        raise PaymentDisputed(dispute, row)
    if row.state == RechargeState.CREDITED:
        return False
    row.provider_trade = payment.trade
    await _credit(session, row, now_ms)
    return True


async def _dispute(session: AsyncSession, row: Recharge, payment: Payment) -> Dispute | None:
    if row.provider != payment.provider:
        return Dispute.OTHER_PROVIDER
    if payment.currency != CURRENCY:
        return Dispute.OTHER_CURRENCY
    if row.amount_micro != payment.amount_micro:
        return Dispute.OTHER_AMOUNT
    if row.state == RechargeState.CREDITED:
        return None if row.provider_trade == payment.trade else Dispute.PAID_TWICE
    # One payment that is told of two recharges: the first has had it.
    same_trade = select(Recharge.id).where(
        Recharge.provider == payment.provider, Recharge.provider_trade == payment.trade
    )
    return None if await session.scalar(same_trade) is None else Dispute.PAID_TWICE


async def confirm_by_hand(session: AsyncSession, row: Recharge, by: str, now_ms: int) -> None:
    """Somebody of the platform has seen the money. Raises NotNow where it is credited or closed."""
    if row.state != RechargeState.CREATED or row.provider != BY_HAND:
        reason = f"a recharge that is {row.state}, by {row.provider}, is not confirmed by hand"
        raise NotNow("wrong_state", "state", reason)
    row.confirmed_by = by
    await _credit(session, row, now_ms)


async def close_recharge(session: AsyncSession, row: Recharge) -> None:
    """Raises NotNow where it is credited."""
    if row.state == RechargeState.CREDITED:
        raise NotNow("wrong_state", "state", "a recharge that is credited cannot be closed")
    row.state = RechargeState.CLOSED
    await session.flush()


async def read_recharges(
    session: AsyncSession, scope: Scope, *conditions: ColumnElement[bool], wanted: PageWanted
) -> Sequence[Recharge]:
    mine = within(scope, tenant=Recharge.tenant_id, agent=None)
    return (await session.scalars(wanted.of(select(Recharge).where(mine, *conditions)))).all()


async def _credit(session: AsyncSession, row: Recharge, now_ms: int) -> None:
    await recharge(session, row.tenant_id, row.amount_micro, f"recharge:{row.id}", now_ms, row.note)
    row.state, row.paid_at_ms, row.credited_at_ms = RechargeState.CREDITED, now_ms, now_ms
    await session.flush()
