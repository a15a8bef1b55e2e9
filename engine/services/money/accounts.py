"""Tenants and their money: use cases that ``axbridge load`` and the API share."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.change_feed import lock_feed, record_change
from engine.store.money.claim_store import ClaimKind, drop_pending, lower_overdraft_limit, pending_limit
from engine.store.money.lease_store import lock_accounts
from engine.store.money.ledger_store import AMOUNT_MICRO_MAX, UnknownTenant
from engine.store.tables import Account, Tenant


class OverdraftInUse(Exception):
    """The limit cannot be that low: more than it allows is owed."""


async def create_tenant(session: AsyncSession, *, code: str, name: str, status: str = "active", now_ms: int) -> Tenant:
    """A tenant with its account, at ¥0. IntegrityError where the code is taken."""
    tenant = Tenant(code=code, name=name, status=status, created_at_ms=now_ms)
    session.add(tenant)
    await session.flush()
    session.add(Account(tenant_id=tenant.id))
    await session.flush()
    return tenant


async def set_overdraft_limit(session: AsyncSession, tenant_id: int, limit_micro: int, now_ms: int) -> bool:
    """Sets how far below zero a tenant may go, 0 to AMOUNT_MICRO_MAX; False where it was that already.

    A lower limit is in force as soon as calls have given up what they hold of it (``claim_store``). Raises
    UnknownTenant, and OverdraftInUse where more is owed already.
    """
    if not 0 <= limit_micro <= AMOUNT_MICRO_MAX:
        raise ValueError("an overdraft limit is 0 or above, and within bounds")
    connection = await session.connection()
    await lock_feed(connection)
    await lock_accounts(connection, [tenant_id])
    account = await session.get(Account, tenant_id, populate_existing=True)
    if account is None:
        raise UnknownTenant(str(tenant_id))
    pending_micro = await pending_limit(connection, tenant_id)
    if limit_micro == (account.overdraft_limit_micro if pending_micro is None else pending_micro):
        return False
    if account.balance_micro + limit_micro < 0 and limit_micro < account.overdraft_limit_micro:
        raise OverdraftInUse
    if limit_micro < account.overdraft_limit_micro:
        await lower_overdraft_limit(connection, tenant_id, limit_micro, now_ms)
    else:
        await drop_pending(connection, tenant_id, ClaimKind.OVERDRAFT_LIMIT)
        await connection.execute(
            update(Account).where(Account.tenant_id == tenant_id).values(overdraft_limit_micro=limit_micro)
        )
        await record_change(connection, "accounts", tenant_id, now_ms)
    await session.refresh(account)
    return True
