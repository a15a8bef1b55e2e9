"""Reconciles a carrier's CDR file with ours for a trunk or a line and a period, and keeps what came of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.lines.number import NumberFormat
from engine.domain.lines.routing import Direction
from engine.domain.reconciliation import Comparison, Difference, DifferenceKind, OurCall, TheirCall, compare
from engine.services.records.carrier_records import CarrierRecords, FormatWrong, RecordFormat, read_records
from engine.store.database import reading_session, writing
from engine.store.records.cdr_store import AnyRow
from engine.store.records.reconciliation_store import answered_calls, keep_reconciliation, read_record_format
from engine.store.tables import Line, Trunk

CALLS_MAX = 200_000
"""Of ours in one period, edges included."""
DIFFERENCES_KEPT_MAX = 100_000
"""Those after them are only counted: the files are of different things."""

_RING_MS = 10 * 60_000
"""How long before its answer a call may have begun: longer than the longest ringing that settings allow."""


class ReconciliationRefused(ValueError):
    """It cannot be done; ``field`` says by reason of what."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


@dataclass(frozen=True, slots=True)
class Reconciled:
    id: str
    is_new: bool
    """False where the same file had been compared with the same calls before."""


async def reconcile(
    database: AsyncEngine,
    *,
    content: bytes,
    trunk_id: int,
    line_id: int | None,
    from_ms: int,
    to_ms: int,
    record_format: RecordFormat | None,
    now_ms: int,
) -> Reconciled:
    """Compares and stores; ``record_format`` None is that of the trunk's carrier.

    The result's id is the hash of all that went in, so the same again changes nothing, while a CDR of ours that has
    come since makes another. Raises ReconciliationRefused.
    """
    if from_ms >= to_ms:
        raise ReconciliationRefused("to_ms", "must be after from_ms")
    number_format, record_format = await _formats(database, trunk_id, line_id, record_format)
    try:
        records = await asyncio.to_thread(read_records, content, record_format, number_format)
    except FormatWrong as error:
        raise ReconciliationRefused("content", str(error)) from error
    ours: list[OurCall] = []
    edge_ms = record_format.edge_ms
    async for page in answered_calls(
        database, trunk_id=trunk_id, line_id=line_id, from_ms=from_ms - edge_ms - _RING_MS, to_ms=to_ms + edge_ms
    ):
        ours += [call for row in page if (call := _our_call(row, record_format)) is not None]
        if len(ours) > CALLS_MAX:
            raise ReconciliationRefused("to_ms", f"more than {CALLS_MAX} calls of ours: take a shorter period")
    compared = await asyncio.to_thread(
        compare, ours, records.calls, record_format.tolerances, from_ms=from_ms, to_ms=to_ms
    )
    asked = (trunk_id, line_id, from_ms, to_ms, record_format)
    row = {
        "id": await asyncio.to_thread(_identity, asked, content, ours),
        "trunk_id": trunk_id,
        "line_id": line_id,
        "from_ms": from_ms,
        "to_ms": to_ms,
        "created_at_ms": now_ms,
        "clock_offset_ms": compared.clock_offset_ms,
        "summary": _summary(compared, records),
    }
    async with writing(database) as connection:
        is_new = await keep_reconciliation(connection, row, _differences(compared, records))
    return Reconciled(str(row["id"]), is_new)


async def _formats(
    database: AsyncEngine, trunk_id: int, line_id: int | None, record_format: RecordFormat | None
) -> tuple[NumberFormat, RecordFormat]:
    async with reading_session(database) as session:
        trunk = await session.get(Trunk, trunk_id)
        if trunk is None:
            raise ReconciliationRefused("trunk_id", "is not known")
        if line_id is not None:
            line = await session.get(Line, line_id)
            if line is None or line.trunk_id != trunk_id:
                raise ReconciliationRefused("line_id", "is no line of the trunk")
        if record_format is None:
            kept = await read_record_format(session, trunk.carrier_id)
            if kept is None:
                raise ReconciliationRefused("format", "is not given, and the trunk's carrier has none")
            record_format = msgspec.convert(kept, RecordFormat)
        return NumberFormat(trunk.number_format), record_format


def _our_call(row: AnyRow, record_format: RecordFormat) -> OurCall | None:
    """The call as its carrier saw it on the leg that it writes down; None without one of the numbers."""
    a_called = row.direction != Direction.B_TO_A
    if record_format.leg == "outbound":
        caller, callee = row.x_number, row.b_number if a_called else row.a_number
    else:
        caller, callee = row.a_number if a_called else row.b_number, row.x_number
    if caller is None or callee is None:
        return None
    at_ms = row.answered_at_ms if record_format.start_means == "answered" else row.started_at_ms
    talk_ms = max(0, (row.ended_at_ms or row.answered_at_ms) - row.answered_at_ms)
    return OurCall(at_ms, row.id, caller, callee, talk_ms, row.cost_micro)


def _identity(asked: tuple[Any, ...], content: bytes, ours: list[OurCall]) -> str:
    digest = hashlib.sha256(msgspec.json.encode(asked))
    digest.update(hashlib.sha256(content).digest())
    digest.update(msgspec.json.encode(sorted(ours)))
    return digest.hexdigest()


def _summary(compared: Comparison, records: CarrierRecords) -> dict[str, Any]:
    counts = Counter(difference.kind for difference in compared.differences)
    counts[DifferenceKind.UNREADABLE] = len(records.unreadable)
    return {
        "matched": compared.matched,
        "in_file": len(records.calls),
        "unanswered_in_file": records.unanswered,
        "differences": {kind.value: counts[kind] for kind in DifferenceKind},
        "left_out": max(0, len(compared.differences) + len(records.unreadable) - DIFFERENCES_KEPT_MAX),
    }


def _differences(compared: Comparison, records: CarrierRecords) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"kind": DifferenceKind.UNREADABLE, "cdr_id": None, "content": {"line": row.line, "reason": row.reason}}
        for row in records.unreadable
    ]
    rows += [
        {
            "kind": difference.kind,
            "cdr_id": difference.ours.id if difference.ours else None,
            "content": _content(difference),
        }
        for difference in compared.differences
    ]
    return [row | {"position": position} for position, row in enumerate(rows[:DIFFERENCES_KEPT_MAX], start=1)]


def _content(difference: Difference) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for side, call in (("ours", difference.ours), ("theirs", difference.theirs)):
        if isinstance(call, OurCall | TheirCall):
            content[side] = msgspec.to_builtins(call)
    return content
