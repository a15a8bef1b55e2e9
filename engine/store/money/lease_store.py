"""The engines' leases of credit in the database.

A lease is a hold (RFC 8506 §5.1.1's quota): what engines hold is never more than balance + overdraft limit, so a
balance never falls below −overdraft limit.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import bindparam, case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.change_feed import lock_feed, record_change
from engine.store.tables import Account, CreditLease

LEASE_TRIES_MAX = 3
"""Where others lease at the same time and little is left; then nothing is granted, and the engine asks again."""
LEASE_MS = 60_000
"""How long an engine may be silent before its leases may be voided."""


class LeaseUnknown(Exception):
    """Our fault: an engine gives back, or charges, more than it has leased."""


class LeaseAlive(Exception):
    """The engine has renewed its leases lately: it would go on spending what was voided."""


FREE = Account.balance_micro + Account.overdraft_limit_micro - Account.leased_micro - Account.claimed_micro
LEASES = select(CreditLease.tenant_id, CreditLease.amount_micro).where(
    CreditLease.engine_id == bindparam("engine"), CreditLease.amount_micro > 0
)
_LOCK_ACCOUNTS = (
    select(Account.tenant_id)
    .where(Account.tenant_id.in_(bindparam("tenants", expanding=True)))
    .order_by(Account.tenant_id)
    .with_for_update()
)


async def lock_accounts(connection: AsyncConnection, tenant_ids: Collection[int]) -> set[int]:
    """Which of them there are, their rows ours until the transaction ends (on SQLite everything is)."""
    return set((await connection.scalars(_LOCK_ACCOUNTS, {"tenants": list(set(tenant_ids))})).all())


async def lease(connection: AsyncConnection, engine_id: str, tenant_id: int, want_micro: int, now_ms: int = 0) -> int:
    """Lets an engine hold up to ``want_micro`` more of a tenant's credit; what was granted, 0 where none is free.

    One atomic UPDATE decides; concurrent leases never exceed balance + overdraft limit. Not fed to engines: the balance
    that others know is a display, what they may spend is their own lease. An unknown tenant has nothing to grant.
    """
    if want_micro <= 0:
        raise ValueError("a lease is above 0")
    for _ in range(LEASE_TRIES_MAX):
        taken = await connection.scalar(
            update(Account)
            .where(Account.tenant_id == tenant_id, want_micro <= FREE)
            .values(leased_micro=Account.leased_micro + want_micro)
            .returning(Account.tenant_id)
        )
        if taken is not None:
            await _add_to_lease(connection, engine_id, tenant_id, want_micro, now_ms + LEASE_MS)
            return want_micro
        left_micro = await connection.scalar(select(FREE).where(Account.tenant_id == tenant_id))
        if left_micro is None or left_micro <= 0:
            return 0
        want_micro = min(want_micro, left_micro)
    return 0


async def _add_to_lease(
    connection: AsyncConnection, engine_id: str, tenant_id: int, amount_micro: int, expires_at_ms: int
) -> None:
    insert: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert
    new = insert(CreditLease).values(
        engine_id=engine_id, tenant_id=tenant_id, amount_micro=amount_micro, expires_at_ms=expires_at_ms
    )
    await connection.execute(
        new.on_conflict_do_update(
            index_elements=["engine_id", "tenant_id"],
            set_={
                "amount_micro": CreditLease.amount_micro + new.excluded.amount_micro,
                "expires_at_ms": new.excluded.expires_at_ms,
            },
        )
    )


async def leases(connection: AsyncConnection, engine_id: str) -> dict[int, int]:
    """What an engine has leased, micro by tenant: after a restart it goes on with these."""
    return {row.tenant_id: row.amount_micro for row in await connection.execute(LEASES, {"engine": engine_id})}


async def release(
    connection: AsyncConnection, engine_id: str, tenant_id: int, amount_micro: int, now_ms: int = 0
) -> None:
    """Gives ``amount_micro`` of a lease back. Raises LeaseUnknown where the engine has not that much.

    Engines are told: one of them may wait for it.
    """
    if amount_micro <= 0:
        raise ValueError("what is released is above 0")
    await lock_feed(connection)
    await lock_accounts(connection, [tenant_id])
    kept = await connection.scalar(
        update(CreditLease)
        .where(
            CreditLease.engine_id == engine_id,
            CreditLease.tenant_id == tenant_id,
            CreditLease.amount_micro >= amount_micro,
        )
        .values(amount_micro=CreditLease.amount_micro - amount_micro)
        .returning(CreditLease.amount_micro)
    )
    if kept is None:
        raise LeaseUnknown(f"{engine_id} has not leased {amount_micro} of tenant {tenant_id}")
    still_wanted = Account.wanted_micro - amount_micro
    await connection.execute(
        update(Account)
        .where(Account.tenant_id == tenant_id)
        .values(
            leased_micro=Account.leased_micro - amount_micro,
            wanted_micro=case((still_wanted > 0, still_wanted), else_=0),
        )
    )
    await record_change(connection, "accounts", tenant_id, now_ms)


async def want(connection: AsyncConnection, engine_id: str, tenant_id: int, short_micro: int, now_ms: int) -> bool:
    """Asks the other engines for what they can do without, by the change feed; False where none has any lease."""
    others_micro = await connection.scalar(
        select(func.coalesce(func.sum(CreditLease.amount_micro), 0)).where(
            CreditLease.tenant_id == tenant_id, CreditLease.engine_id != engine_id
        )
    )
    if not others_micro:
        return False
    is_asked = select(Account.tenant_id).where(Account.tenant_id == tenant_id, Account.wanted_micro >= short_micro)
    if await connection.scalar(is_asked) is None:
        await lock_feed(connection)
        await connection.execute(update(Account).where(Account.tenant_id == tenant_id).values(wanted_micro=short_micro))
        await record_change(connection, "accounts", tenant_id, now_ms)
    return True


async def want_no_more(connection: AsyncConnection, tenant_id: int, short_micro: int) -> None:
    """Takes ``want`` back; who is short of more goes on wanting."""
    await connection.execute(
        update(Account)
        .where(Account.tenant_id == tenant_id, Account.wanted_micro <= short_micro)
        .values(wanted_micro=0)
    )


async def renew(connection: AsyncConnection, engine_id: str, now_ms: int) -> dict[int, int]:
    """Puts the end of an engine's leases off; micro by tenant. What the engine has beyond it was voided."""
    rows = await connection.execute(
        update(CreditLease)
        .where(CreditLease.engine_id == engine_id)
        .values(expires_at_ms=now_ms + LEASE_MS)
        .returning(CreditLease.tenant_id, CreditLease.amount_micro)
    )
    return {row.tenant_id: row.amount_micro for row in rows}


async def void_leases(connection: AsyncConnection, engine_id: str, now_ms: int) -> dict[int, int]:
    """Frees what an engine that is lost for good has leased, micro by tenant. Raises LeaseAlive while it renews.

    By an operator alone (docs/adr): what the lost engine's calls cost and it could not post is given away; should it
    come back, it is posted beyond the lease, and a balance may fall below −overdraft limit by that.
    """
    await lock_feed(connection)
    tenants = await connection.scalars(select(CreditLease.tenant_id).where(CreditLease.engine_id == engine_id))
    await lock_accounts(connection, tenants.all())
    rows = (
        await connection.execute(
            delete(CreditLease)
            .where(CreditLease.engine_id == engine_id, CreditLease.expires_at_ms <= now_ms)
            .returning(CreditLease.tenant_id, CreditLease.amount_micro)
        )
    ).all()
    if not rows and await leases(connection, engine_id):
        raise LeaseAlive(engine_id)
    for tenant_id, amount_micro in rows:
        await connection.execute(
            update(Account)
            .where(Account.tenant_id == tenant_id)
            .values(leased_micro=Account.leased_micro - amount_micro)
        )
        await record_change(connection, "accounts", tenant_id, now_ms)
    return {row.tenant_id: row.amount_micro for row in rows if row.amount_micro}
