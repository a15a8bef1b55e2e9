"""A tenant's statement of a month: every movement of his money, equal to ledger and CDRs to the micro-unit.

A closed month does not change: what is posted late, of a call that ended in it, stands in the next one and is marked.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import NotNow, Refusal
from engine.services.money.spending import midnight_ms, zone_of_tenant
from engine.store.money.lease_store import lock_accounts
from engine.store.scope import Scope, within
from engine.store.tables import Cdr, LedgerEntry, LedgerTransaction
from engine.store.tables.orders import ClosedMonth

LINES_MAX = 200_000
ID_MAX = 2**62


class StatementMismatch(Exception):
    """Our fault: statement, ledger and CDRs do not say the same. No such statement is given out."""


@dataclass(frozen=True, slots=True)
class Line:
    transaction_id: int
    at_ms: int
    kind: str
    cause_id: str
    amount_micro: int
    billed_seconds: int | None  # of a call
    package_seconds: int | None
    note: str
    is_late: bool
    """Of an earlier month that was closed before it was posted."""


@dataclass(frozen=True, slots=True)
class Statement:
    tenant_id: int
    month: str
    zone: str
    opening_micro: int
    closing_micro: int
    lines: Sequence[Line]
    is_closed: bool

    def totals(self) -> dict[str, int]:
        """Micro-units by kind, in the kinds' order."""
        sums: dict[str, int] = {}
        for line in self.lines:
            sums[line.kind] = sums.get(line.kind, 0) + line.amount_micro
        return dict(sorted(sums.items()))


@dataclass(frozen=True, slots=True)
class _Cut:
    """Transactions before ``ends_at_ms`` with ids up to ``last_id``: a month's and all before it."""

    ends_at_ms: int
    last_id: int


async def read_statement(session: AsyncSession, scope: Scope, tenant_id: int, month: str) -> Statement:
    """The month's statement, closed or not. Raises StatementMismatch, and Refusal for a month that is none."""
    starts, ends = _bounds(month)
    zone = await zone_of_tenant(session, tenant_id)
    mine = within(scope, tenant=ClosedMonth.tenant_id, agent=None)
    closed = await session.scalar(
        select(ClosedMonth).where(mine, ClosedMonth.tenant_id == tenant_id, ClosedMonth.month == month)
    )
    before = await session.scalar(
        select(ClosedMonth)
        .where(mine, ClosedMonth.tenant_id == tenant_id, ClosedMonth.month < month)
        .order_by(ClosedMonth.month.desc())
        .limit(1)
    )
    cut = _Cut(midnight_ms(zone, ends), ID_MAX)
    if closed is not None:
        cut = _Cut(closed.ends_at_ms, closed.last_transaction_id)
    if before is not None:
        last, opening_micro = _Cut(before.ends_at_ms, before.last_transaction_id), before.closing_micro
    else:
        last = _Cut(midnight_ms(zone, starts), cut.last_id)
        opening_micro = await _in_ledger(session, tenant_id, last)
    lines = await _lines(session, scope, tenant_id, last, cut)
    statement = Statement(
        tenant_id, month, zone.key, opening_micro, opening_micro + _sum(lines), lines, closed is not None
    )
    await _check(session, statement, cut)
    if closed is not None and statement.closing_micro != closed.closing_micro:
        raise StatementMismatch(f"{month} was closed at {closed.closing_micro}, and is {statement.closing_micro} now")
    return statement


async def close_month(session: AsyncSession, scope: Scope, tenant_id: int, month: str, now_ms: int) -> Statement:
    """Closes a month for good, after all before it. Raises as ``read_statement``, and NotNow while it runs."""
    starts, ends = _bounds(month)
    zone = await zone_of_tenant(session, tenant_id)
    if midnight_ms(zone, ends) > now_ms:
        raise NotNow("month_runs", "month", "is not over")
    # Who posts to the tenant waits for this lock before he draws a transaction's id: no lower one comes in later.
    await lock_accounts(await session.connection(), [tenant_id])
    later = select(ClosedMonth.month).where(ClosedMonth.tenant_id == tenant_id, ClosedMonth.month >= month)
    if await session.scalar(later.limit(1)) is not None:
        raise NotNow("month_closed", "month", "is closed, or one after it is")
    earlier = select(func.max(ClosedMonth.ends_at_ms)).where(ClosedMonth.tenant_id == tenant_id)
    if (last_end_ms := await session.scalar(earlier)) is not None and last_end_ms != midnight_ms(zone, starts):
        raise NotNow("month_before_open", "month", "is after one that is not closed yet")
    last_id = await session.scalar(
        select(func.max(LedgerEntry.transaction_id)).where(LedgerEntry.account_id == tenant_id)
    )
    statement = await read_statement(session, scope, tenant_id, month)
    row = ClosedMonth(tenant_id=tenant_id, month=month, ends_at_ms=midnight_ms(zone, ends), closed_at_ms=now_ms)
    row.last_transaction_id, row.closing_micro = last_id or 0, statement.closing_micro
    session.add(row)
    await session.flush()
    return await read_statement(session, scope, tenant_id, month)


def _bounds(month: str) -> tuple[date, date]:
    try:
        starts = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise Refusal("no_month", "month", "is none such as 2026-11") from error
    if len(month) != 7 or not 2000 <= starts.year <= 2200:
        raise Refusal("no_month", "month", "is none such as 2026-11")
    return starts, starts.replace(year=starts.year + starts.month // 12, month=starts.month % 12 + 1)


def _sum(lines: Sequence[Line]) -> int:
    return sum(line.amount_micro for line in lines)


async def _lines(session: AsyncSession, scope: Scope, tenant_id: int, last: _Cut, cut: _Cut) -> Sequence[Line]:
    at, number = LedgerTransaction.created_at_ms, LedgerTransaction.id
    of_call = (
        (LedgerTransaction.kind == "call_charge")
        & (Cdr.id == LedgerTransaction.cause_id)
        & (Cdr.tenant_id == LedgerEntry.account_id)
    )
    rows = await session.execute(
        select(
            number,
            at,
            LedgerTransaction.kind,
            LedgerTransaction.cause_id,
            LedgerEntry.amount_micro,
            Cdr.billed_seconds,
            Cdr.package_seconds,
            LedgerTransaction.note,
        )
        .join(LedgerTransaction, number == LedgerEntry.transaction_id)
        .outerjoin(Cdr, of_call)
        .where(
            within(scope, tenant=LedgerEntry.account_id, agent=None),
            LedgerEntry.account_id == tenant_id,
            at < cut.ends_at_ms,
            number <= cut.last_id,
            ~((at < last.ends_at_ms) & (number <= last.last_id)),
        )
        .order_by(at, number)
        .limit(LINES_MAX + 1)
    )
    lines = [Line(*row, is_late=row[1] < last.ends_at_ms) for row in rows]
    if len(lines) > LINES_MAX:
        raise NotNow("too_many_lines", "month", f"has more than {LINES_MAX} movements")
    return lines


async def _in_ledger(session: AsyncSession, tenant_id: int, cut: _Cut) -> int:
    amount_micro = await session.scalar(
        select(func.coalesce(func.sum(LedgerEntry.amount_micro), 0))
        .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
        .where(
            LedgerEntry.account_id == tenant_id,
            LedgerTransaction.created_at_ms < cut.ends_at_ms,
            LedgerTransaction.id <= cut.last_id,
        )
    )
    return int(amount_micro or 0)


async def _check(session: AsyncSession, statement: Statement, cut: _Cut) -> None:
    """The closing balance is the sum of the ledger's entries; each call costs what its CDR says."""
    in_ledger = await _in_ledger(session, statement.tenant_id, cut)
    if in_ledger != statement.closing_micro:
        raise StatementMismatch(f"the ledger says {in_ledger}, the statement {statement.closing_micro}")
    charge = Cdr.charge_micro - func.coalesce(Cdr.corrected_micro, 0)
    wrong = (
        select(LedgerTransaction.id)
        .join(LedgerEntry, LedgerEntry.transaction_id == LedgerTransaction.id)
        .outerjoin(Cdr, (Cdr.id == LedgerTransaction.cause_id) & (Cdr.tenant_id == LedgerEntry.account_id))
        .where(
            LedgerEntry.account_id == statement.tenant_id,
            LedgerTransaction.kind == "call_charge",
            LedgerTransaction.created_at_ms < cut.ends_at_ms,
            LedgerTransaction.id <= cut.last_id,
            func.coalesce(charge, -1) != -LedgerEntry.amount_micro,
        )
    )
    if (found := await session.scalar(wrong.limit(1))) is not None:
        raise StatementMismatch(f"transaction {found} is not what its CDR says")


def yuan(amount_micro: int) -> str:
    """Exact: six places, never a float."""
    return f"{Decimal(amount_micro).scaleb(-6):.6f}"


def statement_csv(statement: Statement) -> bytes:
    """RFC 4180, in UTF-8; first the opening balance, last the closing one."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(
        ["transaction_id", "at", "kind", "cause_id", "amount_yuan", "billed_seconds", "package_seconds", "late", "note"]
    )
    writer.writerow(["", "", "opening_balance", "", yuan(statement.opening_micro), "", "", "", ""])
    for line in statement.lines:
        at = datetime.fromtimestamp(line.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
        # A note that begins as a formula does would be one in a spreadsheet.
        note = "'" + line.note if line.note[:1] in ("=", "+", "-", "@") else line.note
        seconds = ["" if each is None else str(each) for each in (line.billed_seconds, line.package_seconds)]
        late = "late" if line.is_late else ""
        writer.writerow(
            [line.transaction_id, at, line.kind, line.cause_id, yuan(line.amount_micro), *seconds, late, note]
        )
    for kind, amount_micro in statement.totals().items():
        writer.writerow(["", "", f"total_{kind}", "", yuan(amount_micro), "", "", "", ""])
    writer.writerow(["", "", "closing_balance", "", yuan(statement.closing_micro), "", "", "", ""])
    return text.getvalue().encode()
