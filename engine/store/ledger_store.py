"""Money in the database: recharges, the engines' leases of credit, and what calls cost.

Balances change only by atomic UPDATEs: read-then-write lost half of 50 concurrent debits on SQLite and PostgreSQL,
without an error. A lease is a hold (RFC 8506 §5.1.1's quota): what engines hold is never more than
balance + overdraft limit, so a balance never falls below −overdraft limit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from engine.store.change_feed import record_change
from engine.store.scope import Scope, within
from engine.store.tables import Account, CreditLease, LedgerEntry, Table

AMOUNT_MICRO_MAX = 10**15
"""¥1,000,000,000 in one entry; keeps sums far from 64 bits."""
CHARGES_SETTLED_MAX = 1000
"""Charges in one batch; a longer one is our fault."""
LEASE_TRIES_MAX = 3
"""Where others lease at the same time and little is left; then nothing is granted, and the engine asks again."""


class UnknownTenant(Exception):
    """There is no account of this tenant."""


class KeyReused(Exception):
    """The key of a recharge was used before, for another amount."""


class LeaseUnknown(Exception):
    """Our fault: an engine gives back, or charges, more than it has leased."""


@dataclass(frozen=True, slots=True)
class CallCharge:
    """What a call cost, ``charge_micro`` ≥ 0, by the CDR that says why."""

    tenant_id: int
    cdr_id: str
    charge_micro: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Settlement:
    posted: int
    """Charges that were posted now; the others had been before."""
    beyond_lease_micro: int
    """Money that was charged without a lease for it: 0, or something is wrong."""


def _upsert(connection: AsyncConnection, table: type[Table]) -> Any:
    """An INSERT that knows ON CONFLICT: both databases have it, under one name each."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


# The statements of a settlement are built once: building them anew for each batch was a tenth of a busy engine's time.


@lru_cache(maxsize=2)
def _post_charges(dialect_name: str) -> Any:
    new = sqlite.insert(LedgerEntry) if dialect_name == "sqlite" else postgresql.insert(LedgerEntry)
    return new.on_conflict_do_nothing().returning(LedgerEntry.tenant_id, LedgerEntry.amount_micro)


_LEASES = select(CreditLease.tenant_id, CreditLease.amount_micro).where(
    CreditLease.engine_id == bindparam("engine"), CreditLease.amount_micro > 0
)
_TAKE_FROM_ACCOUNT = (
    update(Account)
    .where(Account.tenant_id == bindparam("tenant"))
    .values(
        balance_micro=Account.balance_micro - bindparam("used"),
        leased_micro=Account.leased_micro - bindparam("covered"),
    )
)
_TAKE_FROM_LEASE = (
    update(CreditLease)
    .where(CreditLease.engine_id == bindparam("engine"), CreditLease.tenant_id == bindparam("tenant"))
    .values(amount_micro=CreditLease.amount_micro - bindparam("covered"))
)


async def recharge(
    session: AsyncSession, tenant_id: int, amount_micro: int, key: str, now_ms: int, note: str = ""
) -> bool:
    """Adds to a tenant's balance, once for each ``key``; False where the key was used for the same amount before.

    ``amount_micro`` is 1 to AMOUNT_MICRO_MAX, or ValueError. Raises UnknownTenant, and KeyReused where the amount was
    another one. Engines are told. Committed, or not, with the session's transaction.
    """
    if not 0 < amount_micro <= AMOUNT_MICRO_MAX:
        raise ValueError("a recharge is above 0 and within bounds")
    connection = await session.connection()
    if await connection.scalar(select(Account.tenant_id).where(Account.tenant_id == tenant_id)) is None:
        raise UnknownTenant(str(tenant_id))
    entry = (
        _upsert(connection, LedgerEntry)
        .values(
            tenant_id=tenant_id,
            kind="recharge",
            cause_id=key,
            amount_micro=amount_micro,
            created_at_ms=now_ms,
            note=note,
        )
        .on_conflict_do_nothing()
    )
    if await connection.scalar(entry.returning(LedgerEntry.id)) is None:
        earlier_micro = await connection.scalar(
            select(LedgerEntry.amount_micro).where(
                LedgerEntry.tenant_id == tenant_id, LedgerEntry.kind == "recharge", LedgerEntry.cause_id == key
            )
        )
        if earlier_micro != amount_micro:
            raise KeyReused(key)
        return False
    await connection.execute(
        update(Account).where(Account.tenant_id == tenant_id).values(balance_micro=Account.balance_micro + amount_micro)
    )
    await record_change(connection, "accounts", tenant_id, now_ms)
    # The session may hold the account as it was before.
    account = await session.get(Account, tenant_id)
    if account is not None:
        await session.refresh(account)
    return True


async def lease(connection: AsyncConnection, engine_id: str, tenant_id: int, want_micro: int) -> int:
    """Lets an engine hold up to ``want_micro`` more of a tenant's credit; what was granted, 0 where none is free.

    One atomic UPDATE decides; concurrent leases never exceed balance + overdraft limit. Not fed to engines: the balance
    that others know is a display, what they may spend is their own lease. An unknown tenant has nothing to grant.
    """
    if want_micro <= 0:
        raise ValueError("a lease is above 0")
    free = Account.balance_micro + Account.overdraft_limit_micro - Account.leased_micro
    for _ in range(LEASE_TRIES_MAX):
        taken = await connection.scalar(
            update(Account)
            .where(Account.tenant_id == tenant_id, free >= want_micro)
            .values(leased_micro=Account.leased_micro + want_micro)
            .returning(Account.tenant_id)
        )
        if taken is not None:
            await _add_to_lease(connection, engine_id, tenant_id, want_micro)
            return want_micro
        left_micro = await connection.scalar(select(free).where(Account.tenant_id == tenant_id))
        if left_micro is None or left_micro <= 0:
            return 0
        want_micro = min(want_micro, left_micro)
    return 0


async def _add_to_lease(connection: AsyncConnection, engine_id: str, tenant_id: int, amount_micro: int) -> None:
    new = _upsert(connection, CreditLease).values(engine_id=engine_id, tenant_id=tenant_id, amount_micro=amount_micro)
    await connection.execute(
        new.on_conflict_do_update(
            index_elements=["engine_id", "tenant_id"],
            set_={"amount_micro": CreditLease.amount_micro + new.excluded.amount_micro},
        )
    )


async def leases(connection: AsyncConnection, engine_id: str) -> dict[int, int]:
    """What an engine has leased, micro by tenant: after a restart it goes on with these."""
    rows = await connection.execute(_LEASES, {"engine": engine_id})
    return {row.tenant_id: row.amount_micro for row in rows}


async def release(connection: AsyncConnection, engine_id: str, tenant_id: int, amount_micro: int) -> None:
    """Gives ``amount_micro`` of a lease back. Raises LeaseUnknown where the engine has not that much."""
    if amount_micro <= 0:
        raise ValueError("what is released is above 0")
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
    await connection.execute(
        update(Account).where(Account.tenant_id == tenant_id).values(leased_micro=Account.leased_micro - amount_micro)
    )


async def settle(connection: AsyncConnection, engine_id: str, charges: Sequence[CallCharge]) -> Settlement:
    """Posts what calls cost, each CDR once however often it comes; balance and lease fall by it.

    A charge above the engine's lease is posted all the same, since the call was had: the balance pays, the lease falls
    to 0, and the Settlement says how much it was. Charges of 0 leave no entry. At most CHARGES_SETTLED_MAX at once.
    """
    if len(charges) > CHARGES_SETTLED_MAX:
        raise ValueError("too many charges for one batch")
    rows = [
        {
            "tenant_id": charge.tenant_id,
            "kind": "call_charge",
            "cause_id": charge.cdr_id,
            "amount_micro": -charge.charge_micro,
            "created_at_ms": charge.at_ms,
            "note": "",
        }
        for charge in charges
        if charge.charge_micro > 0
    ]
    if not rows:
        return Settlement(posted=0, beyond_lease_micro=0)
    posted = (await connection.execute(_post_charges(connection.dialect.name), rows)).all()
    used_micro: defaultdict[int, int] = defaultdict(int)
    for tenant_id, amount_micro in posted:
        used_micro[tenant_id] -= amount_micro
    if not used_micro:
        return Settlement(posted=0, beyond_lease_micro=0)
    leased_micro = await leases(connection, engine_id)
    takings: list[dict[str, Any]] = [
        {
            "engine": engine_id,
            "tenant": tenant_id,
            "used": used,
            "covered": min(used, leased_micro.get(tenant_id, 0)),
        }
        for tenant_id, used in sorted(used_micro.items())  # one order for all, or two engines could deadlock
    ]
    await connection.execute(
        _TAKE_FROM_ACCOUNT, [{name: taking[name] for name in ("tenant", "used", "covered")} for taking in takings]
    )
    await connection.execute(
        _TAKE_FROM_LEASE, [{name: taking[name] for name in ("engine", "tenant", "covered")} for taking in takings]
    )
    return Settlement(
        posted=len(posted), beyond_lease_micro=sum(taking["used"] - taking["covered"] for taking in takings)
    )


async def read_account(
    connection: AsyncConnection | AsyncSession, scope: Scope, tenant_id: int
) -> Row[*tuple[Any, ...]] | None:
    """(tenant_id, balance_micro, overdraft_limit_micro, leased_micro) of a tenant, None outside ``scope``."""
    statement = select(
        Account.tenant_id, Account.balance_micro, Account.overdraft_limit_micro, Account.leased_micro
    ).where(Account.tenant_id == tenant_id, within(scope, tenant=Account.tenant_id, agent=None))
    return (await connection.execute(statement)).one_or_none()


async def read_ledger(
    connection: AsyncConnection | AsyncSession, scope: Scope, tenant_id: int, *, below_id: int | None, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """A page of a tenant's entries, newest first, those with an id below ``below_id``."""
    statement = select(
        LedgerEntry.id,
        LedgerEntry.tenant_id,
        LedgerEntry.kind,
        LedgerEntry.cause_id,
        LedgerEntry.amount_micro,
        LedgerEntry.created_at_ms,
        LedgerEntry.note,
    ).where(LedgerEntry.tenant_id == tenant_id, within(scope, tenant=LedgerEntry.tenant_id, agent=None))
    if below_id is not None:
        statement = statement.where(LedgerEntry.id < below_id)
    return (await connection.execute(statement.order_by(LedgerEntry.id.desc()).limit(limit))).all()
