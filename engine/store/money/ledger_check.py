"""Compares what is kept beside the ledger with the ledger, and puts it right."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.change_feed import lock_feed, record_change
from engine.store.money.ledger_store import PlatformAccount
from engine.store.money.minutes_store import uneven_buckets
from engine.store.tables import Account, Cdr, CreditLease, LedgerEntry, LedgerTransaction

DIFFERENCES_TOLD_MAX = 1000

_SUM_OF_ENTRIES = (
    select(func.coalesce(func.sum(LedgerEntry.amount_micro), 0))
    .where(LedgerEntry.account_id == Account.tenant_id)
    .scalar_subquery()
)


async def differences(connection: AsyncConnection) -> list[str]:
    """What does not fit, a sentence each; empty when all fits. At most DIFFERENCES_TOLD_MAX of each kind.

    Give it a connection of ``database.reading``: all must be of one state of the database.
    """
    found: list[str] = []
    for row in await connection.execute(
        select(Account.tenant_id, Account.balance_micro, _SUM_OF_ENTRIES.label("entries"))
        .where(Account.balance_micro != _SUM_OF_ENTRIES)
        .order_by(Account.tenant_id)
        .limit(DIFFERENCES_TOLD_MAX)
    ):
        found.append(f"tenant {row.tenant_id}: the balance is {row.balance_micro}, its entries add up to {row.entries}")
    leased = (
        select(func.coalesce(func.sum(CreditLease.amount_micro), 0))
        .where(CreditLease.tenant_id == Account.tenant_id)
        .scalar_subquery()
    )
    for row in await connection.execute(
        select(Account.tenant_id, Account.leased_micro, leased.label("leases"))
        .where(Account.leased_micro != leased)
        .order_by(Account.tenant_id)
        .limit(DIFFERENCES_TOLD_MAX)
    ):
        found.append(
            f"tenant {row.tenant_id}: {row.leased_micro} is leased, the engines' leases add up to {row.leases}"
        )
    for row in await connection.execute(
        select(
            LedgerTransaction.id,
            func.count(LedgerEntry.account_id).label("entries"),
            func.coalesce(func.sum(LedgerEntry.amount_micro), 0).label("sum"),
        )
        .outerjoin(LedgerEntry, LedgerEntry.transaction_id == LedgerTransaction.id)
        .group_by(LedgerTransaction.id)
        .having((func.count(LedgerEntry.account_id) < 2) | (func.sum(LedgerEntry.amount_micro) != 0))
        .order_by(LedgerTransaction.id)
        .limit(DIFFERENCES_TOLD_MAX)
    ):
        found.append(f"transaction {row.id}: its {row.entries} entries add up to {row.sum}")
    for row in await connection.execute(
        select(LedgerEntry.transaction_id, LedgerEntry.account_id)
        .outerjoin(Account, Account.tenant_id == LedgerEntry.account_id)
        .where(Account.tenant_id.is_(None), LedgerEntry.account_id.not_in([int(each) for each in PlatformAccount]))
        .order_by(LedgerEntry.transaction_id)
        .limit(DIFFERENCES_TOLD_MAX)
    ):
        found.append(f"transaction {row.transaction_id}: account {row.account_id} is nobody's")
    # What rerating changed later is in one correction for all the tenant's calls.
    charge = func.coalesce(Cdr.corrected_micro, 0) - func.coalesce(LedgerEntry.amount_micro, 0)
    for row in await connection.execute(
        select(Cdr.id, Cdr.charge_micro, charge.label("posted"))
        .outerjoin(
            LedgerTransaction,
            (LedgerTransaction.tenant_id == Cdr.tenant_id)
            & (LedgerTransaction.kind == "call_charge")
            & (LedgerTransaction.cause_id == Cdr.id),
        )
        .outerjoin(
            LedgerEntry,
            (LedgerEntry.transaction_id == LedgerTransaction.id) & (LedgerEntry.account_id == Cdr.tenant_id),
        )
        .where(Cdr.state == "ended", Cdr.tenant_id.is_not(None), charge != Cdr.charge_micro)
        .order_by(Cdr.id)
        .limit(DIFFERENCES_TOLD_MAX)
    ):
        found.append(f"CDR {row.id}: it says {row.charge_micro}, the ledger {row.posted}")
    for row in (await uneven_buckets(connection))[:DIFFERENCES_TOLD_MAX]:
        found.append(f"package minutes {row[0]}: {row[1]} s bought, {row[2]} left, {row[3]} leased, {row[4]} used")
    return found


async def rebuild_balances(connection: AsyncConnection, now_ms: int) -> int:
    """Makes each balance the sum of its entries; the count of those that were not. Engines are told."""
    await lock_feed(connection)
    # Rows that are locked change no more, so the sums that are then read are those of the balances.
    await connection.execute(select(Account.tenant_id).order_by(Account.tenant_id).with_for_update())
    wrong = await connection.scalars(
        update(Account)
        .where(Account.balance_micro != _SUM_OF_ENTRIES)
        .values(balance_micro=_SUM_OF_ENTRIES)
        .returning(Account.tenant_id)
        .execution_options(synchronize_session=False)
    )
    tenants = wrong.all()
    for tenant_id in tenants:
        await record_change(connection, "accounts", tenant_id, now_ms)
    return len(tenants)
