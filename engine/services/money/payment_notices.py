"""A provider's notice, carried out: credited once, and on record whatever becomes of it."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.payments.notice import Payment
from engine.services.money.recharges import PaymentDisputed, take_payment
from engine.store.access.audit import audit
from engine.store.tables.identity import AuditEntry
from engine.store.tables.orders import Recharge

ENTITY = "payment_notices"
"""In the audit log: what a provider said, by ``provider:trade``."""


class Outcome(StrEnum):
    CREDITED = "credited"
    REPEATED = "repeated"
    DISPUTED = "disputed"


async def settle(session: AsyncSession, payment: Payment, now_ms: int) -> Outcome:
    """Credits the recharge, once; the audit log says what came of the notice, once for each outcome.

    A dispute is on record and moves nothing: the caller refuses the notice, and the provider tells it again, so that it
    is credited if what was in its way has been put right meanwhile.
    """
    try:
        credited = await take_payment(session, payment, now_ms)
    except PaymentDisputed as disputed:
        await _record(session, payment, f"payment.{disputed.dispute}", disputed.recharge)
        return Outcome.DISPUTED
    row = await session.scalar(select(Recharge).where(Recharge.reference == payment.reference))
    outcome = Outcome.CREDITED if credited else Outcome.REPEATED
    await _record(session, payment, f"payment.{outcome}", row)
    return outcome


async def is_settled(session: AsyncSession, payment: Payment) -> bool:
    """Whether this very notice was credited, and told again, before: there is nothing left to write.

    So whoever sends a genuine notice again and again costs a look and no turn of the database's one writer.
    """
    told_again = select(AuditEntry.id).where(
        AuditEntry.entity == ENTITY, AuditEntry.entity_id == _name(payment), AuditEntry.action == "payment.repeated"
    )
    same = select(Recharge.id).where(
        Recharge.reference == payment.reference,
        Recharge.provider == payment.provider,
        Recharge.provider_trade == payment.trade,
        Recharge.amount_micro == payment.amount_micro,
    )
    return await session.scalar(told_again) is not None and await session.scalar(same) is not None


def _name(payment: Payment) -> str:
    return f"{payment.provider}:{payment.trade}"


async def _record(session: AsyncSession, payment: Payment, action: str, row: Recharge | None) -> None:
    earlier = select(AuditEntry.id).where(
        AuditEntry.entity == ENTITY, AuditEntry.entity_id == _name(payment), AuditEntry.action == action
    )
    if await session.scalar(earlier.limit(1)) is not None:
        return
    after = {"reference": payment.reference, "amount_micro": payment.amount_micro, "currency": payment.currency}
    if row is not None:
        after |= {"recharge_id": row.id, "ordered_micro": row.amount_micro}
    tenant_id = None if row is None else row.tenant_id
    audit(session, action, ENTITY, _name(payment), tenant_id=tenant_id, after=after)
