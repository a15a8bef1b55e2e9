"""Tenants and their money: use cases that ``axbridge load`` and the API share."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.change_feed import record_change
from engine.store.ledger_store import AMOUNT_MICRO_MAX, UnknownTenant
from engine.store.tables import Account, Tenant


class OverdraftInUse(Exception):
    """The limit cannot be that low: more than it allows is owed, or held for running calls."""


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

    Raises UnknownTenant, and OverdraftInUse where less would be free than engines have leased.
    """
    if not 0 <= limit_micro <= AMOUNT_MICRO_MAX:
        raise ValueError("an overdraft limit is 0 or above, and within bounds")
    account = await session.get(Account, tenant_id, populate_existing=True)
    if account is None:
        raise UnknownTenant(str(tenant_id))
    if account.overdraft_limit_micro == limit_micro:
        return False
    # Engines lease at the same time, so the condition is judged where the value is written.
    connection = await session.connection()
    allowed = (Account.overdraft_limit_micro <= limit_micro) | (
        Account.balance_micro + limit_micro >= Account.leased_micro
    )
    written = await connection.execute(
        update(Account).where(Account.tenant_id == tenant_id, allowed).values(overdraft_limit_micro=limit_micro)
    )
    if written.rowcount == 0:
        raise OverdraftInUse
    await record_change(connection, "accounts", tenant_id, now_ms)
    await session.refresh(account)
    return True
