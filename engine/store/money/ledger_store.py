"""The ledger: double entry, append-only, each transaction tied to its cause and posted once for it.

A tenant's balance is the sum of his entries. It is kept in his account as well, and changes only by atomic UPDATEs in
the transaction that posts: read-then-write lost half of 50 concurrent debits on SQLite and PostgreSQL, without an
error. ``ledger_check`` compares the two.

Rows are locked in one order by all (the feed's lock, accounts by tenant, leases), or transactions could deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Row, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from engine.store.change_feed import lock_feed, record_change
from engine.store.money.lease_store import LEASES, lock_accounts
from engine.store.money.notice_store import notice_low
from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables import Account, CreditLease, LedgerEntry, LedgerTransaction

AMOUNT_MICRO_MAX = 10**15
"""¥1,000,000,000 in one entry; keeps sums far from 64 bits."""
CHARGES_SETTLED_MAX = 1000
"""Charges in one batch; a longer one is our fault."""


class PlatformAccount(IntEnum):
    """The platform's own accounts in ``ledger_entries.account_id``, where a tenant's account is his id."""

    REVENUE = -1  # what tenants' calls and packages earned
    PAYMENTS = -2  # money that came from tenants: below zero by what they have paid in
    CORRECTIONS = -3  # what was corrected by hand or by rerating


class Kind(StrEnum):
    RECHARGE = "recharge"
    CALL_CHARGE = "call_charge"
    CORRECTION = "correction"
    REFUND = "refund"
    TRANSFER = "transfer"
    PACKAGE = "package"  # an order bought one
    PACKAGE_REFUND = "package_refund"  # an order returned what was unused of one


class UnknownTenant(Exception):
    """There is no account of this tenant."""


class KeyReused(Exception):
    """The key of a movement was used before, for another amount."""


class Unbalanced(Exception):
    """Our fault: entries that do not add up to zero."""


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


# The statements of a settlement are built once: building them anew for each batch was a tenth of a busy engine's time.


@lru_cache(maxsize=2)
def _new_transactions(dialect_name: str) -> Any:
    new = sqlite.insert(LedgerTransaction) if dialect_name == "sqlite" else postgresql.insert(LedgerTransaction)
    return new.on_conflict_do_nothing().returning(LedgerTransaction.id, LedgerTransaction.cause_id)


@lru_cache(maxsize=2)
def _new_entries(dialect: Dialect) -> str:
    """In the driver's own words: a third of a settlement was SQLAlchemy's handling of these rows."""
    return str(insert(LedgerEntry).compile(dialect=dialect))


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


async def post(
    connection: AsyncConnection,
    kind: Kind,
    tenant_id: int,
    cause_id: str,
    amounts_micro: Mapping[int, int],
    now_ms: int,
    note: str = "",
) -> bool:
    """Posts one transaction, ``amounts_micro`` by account, and brings the tenants' balances along; engines are told.

    Once for each (tenant, kind, cause): False where it was posted before with the same amounts. Raises KeyReused where
    it was posted with others, UnknownTenant, and Unbalanced where the amounts do not add up to zero.
    Does not look at credit: who takes money from a tenant asks ``claim_store``.
    """
    if sum(amounts_micro.values()) != 0 or len(amounts_micro) < 2:
        raise Unbalanced(f"{kind} {cause_id}")
    await lock_feed(connection)
    tenants = sorted(account_id for account_id in amounts_micro if account_id > 0)
    known = await lock_accounts(connection, [*tenants, tenant_id])
    if missing := {*tenants, tenant_id} - known:
        raise UnknownTenant(", ".join(map(str, sorted(missing))))
    row = {"tenant_id": tenant_id, "kind": kind, "cause_id": cause_id, "created_at_ms": now_ms, "note": note}
    new = (await connection.execute(_new_transactions(connection.dialect.name), row)).one_or_none()
    if new is None:
        if await _posted(connection, kind, tenant_id, cause_id) != dict(amounts_micro):
            raise KeyReused(cause_id)
        return False
    entries = [(new.id, int(account_id), amount) for account_id, amount in amounts_micro.items()]
    await connection.exec_driver_sql(_new_entries(connection.dialect), entries)
    for account_id in tenants:
        await connection.execute(
            update(Account)
            .where(Account.tenant_id == account_id)
            .values(balance_micro=Account.balance_micro + amounts_micro[account_id])
        )
        await record_change(connection, "accounts", account_id, now_ms)
    await notice_low(connection, tenants, now_ms)
    return True


async def _posted(connection: AsyncConnection, kind: Kind, tenant_id: int, cause_id: str) -> dict[int, int]:
    rows = await connection.execute(
        select(LedgerEntry.account_id, LedgerEntry.amount_micro)
        .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
        .where(
            LedgerTransaction.tenant_id == tenant_id,
            LedgerTransaction.kind == kind,
            LedgerTransaction.cause_id == cause_id,
        )
    )
    return {row.account_id: row.amount_micro for row in rows}


async def recharge(
    session: AsyncSession, tenant_id: int, amount_micro: int, key: str, now_ms: int, note: str = ""
) -> bool:
    """Adds to a tenant's balance, once for each ``key``; False where the key was used for the same amount before.

    ``amount_micro`` is 1 to AMOUNT_MICRO_MAX, or ValueError. Raises UnknownTenant, and KeyReused where the amount was
    another one. Engines are told. Committed, or not, with the session's transaction.
    """
    if not 0 < amount_micro <= AMOUNT_MICRO_MAX:
        raise ValueError("a recharge is above 0 and within bounds")
    amounts_micro = {tenant_id: amount_micro, PlatformAccount.PAYMENTS: -amount_micro}
    return await _post_in(session, Kind.RECHARGE, tenant_id, key, amounts_micro, now_ms, note)


async def correct(
    session: AsyncSession, tenant_id: int, amount_micro: int, key: str, now_ms: int, note: str = ""
) -> bool:
    """Puts a balance right, up or down, as ``recharge`` does; a rerated call's key is best made of its CDR's id.

    Posted whatever the credit: what was charged wrongly is owed. It may therefore leave less than engines have leased,
    and they are asked for it.
    """
    if amount_micro == 0 or abs(amount_micro) > AMOUNT_MICRO_MAX:
        raise ValueError("a correction is not 0, and within bounds")
    amounts_micro = {tenant_id: amount_micro, PlatformAccount.CORRECTIONS: -amount_micro}
    return await _post_in(session, Kind.CORRECTION, tenant_id, key, amounts_micro, now_ms, note)


async def _post_in(
    session: AsyncSession,
    kind: Kind,
    tenant_id: int,
    key: str,
    amounts_micro: Mapping[int, int],
    now_ms: int,
    note: str,
) -> bool:
    posted = await post(await session.connection(), kind, tenant_id, key, amounts_micro, now_ms, note)
    # The session may hold the account as it was before.
    account = await session.get(Account, tenant_id)
    if account is not None:
        await session.refresh(account)
    return posted


async def settle(connection: AsyncConnection, engine_id: str, charges: Sequence[CallCharge]) -> Settlement:
    """Posts what calls cost, each CDR once however often it comes; balance and lease fall by it.

    A charge above the engine's lease is posted all the same, since the call was had: the balance pays, the lease falls
    to 0, and the Settlement says how much it was. Charges of 0 leave no entry. At most CHARGES_SETTLED_MAX at once.
    """
    if len(charges) > CHARGES_SETTLED_MAX:
        raise ValueError("too many charges for one batch")
    by_cause: dict[str, CallCharge] = {}
    for charge in charges:
        if charge.charge_micro > 0:
            by_cause.setdefault(charge.cdr_id, charge)
    if not by_cause:
        return Settlement(posted=0, beyond_lease_micro=0)
    await lock_accounts(connection, {charge.tenant_id for charge in by_cause.values()})
    rows = [
        {
            "tenant_id": charge.tenant_id,
            "kind": Kind.CALL_CHARGE,
            "cause_id": charge.cdr_id,
            "created_at_ms": charge.at_ms,
            "note": "",
        }
        for charge in by_cause.values()
    ]
    posted = (await connection.execute(_new_transactions(connection.dialect.name), rows)).all()
    if not posted:
        return Settlement(posted=0, beyond_lease_micro=0)
    used_micro: defaultdict[int, int] = defaultdict(int)
    entries: list[tuple[int, int, int]] = []
    for transaction_id, cause_id in posted:
        charge = by_cause[cause_id]
        used_micro[charge.tenant_id] += charge.charge_micro
        entries.append((transaction_id, charge.tenant_id, -charge.charge_micro))
        entries.append((transaction_id, int(PlatformAccount.REVENUE), charge.charge_micro))
    await connection.exec_driver_sql(_new_entries(connection.dialect), entries)
    leased_micro = {row.tenant_id: row.amount_micro for row in await connection.execute(LEASES, {"engine": engine_id})}
    covered_micro = {tenant: min(used, leased_micro.get(tenant, 0)) for tenant, used in used_micro.items()}
    await connection.execute(
        _TAKE_FROM_ACCOUNT,
        [{"tenant": tenant, "used": used_micro[tenant], "covered": covered_micro[tenant]} for tenant in used_micro],
    )
    await connection.execute(
        _TAKE_FROM_LEASE,
        [{"engine": engine_id, "tenant": tenant, "covered": covered} for tenant, covered in covered_micro.items()],
    )
    return Settlement(posted=len(posted), beyond_lease_micro=sum(used_micro.values()) - sum(covered_micro.values()))


async def read_account(
    connection: AsyncConnection | AsyncSession, scope: Scope, tenant_id: int
) -> Row[*tuple[Any, ...]] | None:
    """(tenant_id, balance_micro, overdraft_limit_micro, leased_micro) of a tenant, None outside ``scope``."""
    statement = select(
        Account.tenant_id, Account.balance_micro, Account.overdraft_limit_micro, Account.leased_micro
    ).where(Account.tenant_id == tenant_id, within(scope, tenant=Account.tenant_id, agent=None))
    return (await connection.execute(statement)).one_or_none()


async def read_ledger(
    connection: AsyncConnection | AsyncSession,
    scope: Scope,
    tenant_id: int,
    *conditions: ColumnElement[bool],
    wanted: PageWanted,
) -> Sequence[Row[*tuple[Any, ...]]]:
    """A page of a tenant's entries, each with the id of its transaction."""
    statement = (
        select(
            LedgerTransaction.id,
            LedgerEntry.account_id.label("tenant_id"),
            LedgerTransaction.kind,
            LedgerTransaction.cause_id,
            LedgerEntry.amount_micro,
            LedgerTransaction.created_at_ms,
            LedgerTransaction.note,
        )
        .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
        .where(
            LedgerEntry.account_id == tenant_id,
            within(scope, tenant=LedgerEntry.account_id, agent=None),
            *conditions,
        )
    )
    return (await connection.execute(wanted.of(statement))).all()
