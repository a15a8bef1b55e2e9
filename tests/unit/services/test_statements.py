"""Statements: equal to ledger and CDRs, in the tenant's months, and closed for good."""

import io
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pypdf import PdfReader
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.refusal import NotNow, Refusal
from engine.services.money.statement_pdf import statement_pdf
from engine.services.money.statements import StatementMismatch, close_month, read_statement, statement_csv
from engine.store.database import reading_session, writing, writing_session
from engine.store.money.ledger_store import CallCharge, recharge, settle
from engine.store.records.cdr_store import CDR_COLUMNS, write_cdrs
from engine.store.scope import Platform, TenantScope
from engine.store.tables import Account, Cdr, Tenant


def at_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai")).timestamp()) * 1000


async def _call(database: AsyncEngine, cdr_id: str, ended_at_ms: int, charge_micro: int = 120_000) -> None:
    row: dict[str, Any] = dict.fromkeys(CDR_COLUMNS)
    row |= {
        "id": cdr_id,
        "state": "ended",
        "tenant_id": 1,
        "started_at_ms": ended_at_ms - 1,
        "ended_at_ms": ended_at_ms,
    }
    row |= {"billed_seconds": 60, "charge_micro": charge_micro, "package_seconds": 0}
    async with writing(database) as connection:
        await write_cdrs(connection, [row])
        await settle(connection, "e", [CallCharge(1, cdr_id, charge_micro, ended_at_ms)])


async def _lines(database: AsyncEngine, month: str) -> list[tuple[str, bool]]:
    async with reading_session(database) as session:
        statement = await read_statement(session, TenantScope(1), 1, month)
    return [(line.cause_id, line.is_late) for line in statement.lines]


async def _close(database: AsyncEngine, month: str, now_ms: int) -> bytes:
    async with writing_session(database, now_ms) as session:
        return statement_csv(await close_month(session, Platform(), 1, month, now_ms))


@pytest.fixture
async def months(database: AsyncEngine) -> AsyncEngine:
    async with writing_session(database, 0) as session:
        session.add(Tenant(code="t", name="T", created_at_ms=0))
        await session.flush()
        session.add(Account(tenant_id=1))
        await session.flush()
        await recharge(session, 1, 1_000_000, "k", at_ms("2026-11-01T00:00"), "=1+1")
    await _call(database, "october", at_ms("2026-10-31T23:59"))
    await _call(database, "november", at_ms("2026-11-30T23:59"))
    await _call(database, "december", at_ms("2026-12-01T00:00"))
    return database


async def test_a_month_is_another_zone_s(months: AsyncEngine) -> None:
    assert [cause for cause, _ in await _lines(months, "2026-10")] == ["october"]
    assert await _close(months, "2026-10", at_ms("2026-11-01T00:00"))
    assert await _lines(months, "2026-11") == [("k", False), ("november", False)]


async def test_a_closed_month_changes_or_a_late_charge_is_lost(months: AsyncEngine) -> None:
    await _close(months, "2026-10", at_ms("2026-12-05T00:00"))
    closed = await _close(months, "2026-11", at_ms("2026-12-05T00:00"))
    await _call(months, "late", at_ms("2026-11-15T12:00"))
    async with reading_session(months) as session:
        again = await read_statement(session, Platform(), 1, "2026-11")
        assert statement_csv(again) == closed
        december = await read_statement(session, Platform(), 1, "2026-12")
    assert [(line.cause_id, line.is_late) for line in december.lines] == [("late", True), ("december", False)]
    assert december.opening_micro == again.closing_micro == 1_000_000 - 240_000
    async with reading_session(months) as session:
        assert december.closing_micro == await session.scalar(select(Account.balance_micro))
    text = closed.decode()
    assert "'=1+1" in text
    assert "total_call_charge,,-0.120000" in text
    assert text.splitlines()[-1].startswith(",,closing_balance,,0.760000")


async def test_a_statement_says_what_no_cdr_says(months: AsyncEngine) -> None:
    async with writing(months) as connection:
        await connection.execute(update(Cdr).where(Cdr.id == "november").values(charge_micro=1))
    with pytest.raises(StatementMismatch):
        await _lines(months, "2026-11")


async def test_a_month_is_closed_before_its_end_or_twice_or_for_a_stranger(months: AsyncEngine) -> None:
    with pytest.raises(NotNow):
        await _close(months, "2026-11", at_ms("2026-11-30T23:59"))
    await _close(months, "2026-11", at_ms("2026-12-01T00:00"))
    assert [cause for cause, _ in await _lines(months, "2026-11")] == ["k", "november"], "nothing of October's"
    for month in ("2026-11", "2026-10", "2027-01"):
        with pytest.raises(NotNow):
            await _close(months, month, at_ms("2027-03-01T00:00"))
    for month in ("2026-13", "2026-1", "x", "1999-01"):
        with pytest.raises(Refusal):
            await _lines(months, month)
    async with reading_session(months) as session:
        # Another tenant's scope sees no line, and the check refuses to call that a statement.
        with pytest.raises(StatementMismatch):
            await read_statement(session, TenantScope(2), 1, "2026-12")


async def test_the_printed_statement_says_what_the_ledger_says(months: AsyncEngine) -> None:
    async with reading_session(months) as session:
        statement = await read_statement(session, TenantScope(1), 1, "2026-11")
    document = statement_pdf(statement, "测试公司 <&>")
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(document)).pages)
    for words in ("测试公司 <&>", "2026-11-30", "1.000000", "-0.120000", "0.760000", "=1+1"):
        assert words in text, f"{words} is not in it"
    assert document == statement_pdf(statement, "测试公司 <&>"), "the same statement is another file"
    with pytest.raises(StatementMismatch):
        statement_pdf(replace(statement, closing_micro=1), "T")
