"""Money that the platform moves by hand, as the API asks for it: the ledger's and the claims' errors as refusals."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import NotNow
from engine.services.money.accounts import set_overdraft_limit
from engine.store.access.audit import audit
from engine.store.money.claim_store import BalanceTooLow, ClaimKind, ClaimState, TooManyClaims, refund, transfer
from engine.store.money.ledger_store import correct
from engine.store.money.notice_store import notice_low
from engine.store.scope import Scope, within
from engine.store.tables import Account
from engine.store.tables.orders import OverdraftChange

CHANGES_READ_MAX = 500


async def pay_out(
    session: AsyncSession, tenant_id: int, payee_id: int | None, amount_micro: int, key: str, note: str, now_ms: int
) -> ClaimState:
    """Money back to a tenant, or with ``payee_id`` to another tenant; pending while calls hold some of it.

    Raises UnknownTenant, KeyReused, and NotNow where there is not so much.
    """
    connection = await session.connection()
    kind = ClaimKind.REFUND if payee_id is None else ClaimKind.TRANSFER
    try:
        if payee_id is None:
            state = await refund(connection, tenant_id, amount_micro, key, now_ms, note)
        elif payee_id == tenant_id:
            raise NotNow("same_tenant", "payee_id", "is the payer himself")
        else:
            state = await transfer(connection, tenant_id, payee_id, amount_micro, key, now_ms, note)
    except BalanceTooLow as error:
        raise NotNow("balance_too_low", "amount_micro", "is more than there is to pay out") from error
    except TooManyClaims as error:
        raise NotNow("too_many_claims", "key", "too many claims wait for running calls") from error
    after = {"amount_micro": amount_micro, "payee_id": payee_id, "key": key, "state": state, "note": note}
    audit(session, "create", f"{kind}s", key, tenant_id=tenant_id, after=after)
    return state


async def correct_balance(
    session: AsyncSession, tenant_id: int, amount_micro: int, key: str, note: str, now_ms: int
) -> bool:
    """Up or down by hand; False where it was done before. Raises UnknownTenant and KeyReused."""
    applied = await correct(session, tenant_id, amount_micro, f"by_hand:{key}", now_ms, note)
    if applied:
        after = {"amount_micro": amount_micro, "key": key, "note": note}
        audit(session, "create", "corrections", key, tenant_id=tenant_id, after=after)
    return applied


async def change_overdraft(
    session: AsyncSession, tenant_id: int, limit_micro: int, reason: str, by: str, now_ms: int
) -> bool:
    """Raises UnknownTenant and OverdraftInUse; False where it was that already."""
    before = await session.scalar(select(Account.overdraft_limit_micro).where(Account.tenant_id == tenant_id))
    if not await set_overdraft_limit(session, tenant_id, limit_micro, now_ms):
        return False
    change = OverdraftChange(tenant_id=tenant_id, from_micro=before or 0, to_micro=limit_micro, reason=reason, by=by)
    change.at_ms = now_ms
    session.add(change)
    await session.flush()
    await notice_low(await session.connection(), [tenant_id], now_ms)
    return True


async def read_overdraft_changes(session: AsyncSession, scope: Scope, tenant_id: int) -> Sequence[OverdraftChange]:
    """Newest first; CHANGES_READ_MAX at most."""
    mine = within(scope, tenant=OverdraftChange.tenant_id, agent=None)
    statement = select(OverdraftChange).where(mine, OverdraftChange.tenant_id == tenant_id)
    return (await session.scalars(statement.order_by(OverdraftChange.id.desc()).limit(CHANGES_READ_MAX))).all()
