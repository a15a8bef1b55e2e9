"""A statement to print: balances, totals by kind, days, and what was no call; each call is in the CSV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from engine.services.money.statements import Line, Statement, StatementMismatch, yuan

MOVEMENTS_MAX = 2000
"""Movements other than calls that are listed one by one; the rest is one line with their sum."""
FONT = "STSong-Light"
"""One of the CID fonts of the PDF standard's Chinese collection: every reader has it, so none is embedded."""

_KINDS = {
    "call_charge": "通话 Calls",
    "recharge": "充值 Recharges",
    "correction": "调整 Corrections",
    "refund": "退款 Refunds",
    "transfer": "转账 Transfers",
    "package": "套餐 Packages",
}


@dataclass(slots=True)
class _Day:
    calls: int = 0
    billed_seconds: int = 0
    package_seconds: int = 0
    calls_micro: int = 0
    others_micro: int = 0


def statement_pdf(statement: Statement, tenant_name: str) -> bytes:
    """Raises StatementMismatch where what it would show does not add up to the statement's balances."""
    days = _days(statement)
    shown_micro = sum(day.calls_micro + day.others_micro for day in days.values())
    if statement.opening_micro + shown_micro != statement.closing_micro:
        raise StatementMismatch("the days do not add up to the closing balance")
    pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    state = "已关账 Closed" if statement.is_closed else "未关账 Not closed"
    story: list[Flowable] = [
        _paragraph("对账单 Statement", 16),
        _paragraph(f"{tenant_name}　{statement.month}　{statement.zone}　{state}", 10),
        Spacer(0, 4 * mm),
        _table([["", "金额（元）Amount (CNY)"], *_balances(statement)]),
        Spacer(0, 6 * mm),
        _table([_DAY_HEAD, *([name, *_cells(day)] for name, day in sorted(days.items()))]),
    ]
    movements = [line for line in statement.lines if line.kind != "call_charge"]
    if movements:
        story += [Spacer(0, 6 * mm), _table([_MOVEMENT_HEAD, *_movements(movements, ZoneInfo(statement.zone))])]
    output = io.BytesIO()
    title = f"{statement.month} {tenant_name}"
    # Invariant: the same statement is the same file.
    SimpleDocTemplate(output, pagesize=A4, title=title, invariant=1, topMargin=15 * mm).build(story)
    return output.getvalue()


_DAY_HEAD = ["日期 Day", "通话 Calls", "计费秒 Seconds", "套餐秒 Package", "通话费 Charges", "其他 Others"]
_MOVEMENT_HEAD = ["时间 Time", "类型 Kind", "金额（元）CNY", "备注 Note"]


def _balances(statement: Statement) -> list[list[str]]:
    return [
        ["期初余额 Opening balance", yuan(statement.opening_micro)],
        *([_KINDS.get(kind, kind), yuan(micro)] for kind, micro in statement.totals().items()),
        ["期末余额 Closing balance", yuan(statement.closing_micro)],
    ]


def _days(statement: Statement) -> dict[str, _Day]:
    zone = ZoneInfo(statement.zone)
    days: dict[str, _Day] = {}
    for line in statement.lines:
        day = days.setdefault(_local(line, zone)[:10], _Day())
        if line.kind == "call_charge":
            day.calls += 1
            day.billed_seconds += line.billed_seconds or 0
            day.package_seconds += line.package_seconds or 0
            day.calls_micro += line.amount_micro
        else:
            day.others_micro += line.amount_micro
    return days


def _cells(day: _Day) -> list[str]:
    return [
        str(day.calls),
        str(day.billed_seconds),
        str(day.package_seconds),
        yuan(day.calls_micro),
        yuan(day.others_micro),
    ]


def _movements(lines: Sequence[Line], zone: ZoneInfo) -> list[list[str | Paragraph]]:
    rows: list[list[str | Paragraph]] = [
        [_local(line, zone), _KINDS.get(line.kind, line.kind), yuan(line.amount_micro), _paragraph(line.note, 8)]
        for line in lines[:MOVEMENTS_MAX]
    ]
    if rest := lines[MOVEMENTS_MAX:]:
        rows.append(["", f"其余 {len(rest)} others", yuan(sum(line.amount_micro for line in rest)), ""])
    return rows


def _local(line: Line, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(line.at_ms / 1000, UTC).astimezone(zone):%Y-%m-%d %H:%M:%S}"


def _paragraph(text: str, size: int) -> Paragraph:
    return Paragraph(escape(text), ParagraphStyle("plain", fontName=FONT, fontSize=size, leading=size * 1.4))


def _table(rows: Sequence[Sequence[str | Paragraph]]) -> Table:
    style = TableStyle(
        [
            ("FONT", (0, 0), (-1, -1), FONT, 8),
            ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
            ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.lightgrey),
            ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
        ]
    )
    return Table([list(row) for row in rows], repeatRows=1, style=style, hAlign="LEFT")
