"""CDRs as CSV (RFC 4180) or Parquet, as the one who asks may see them, streamed in bounded memory.

Times are in one zone, money is exact: decimal yuan with six places, never a float.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.lines.number import mask
from engine.store.records.cdr_pages import cdr_pages, count_cdrs
from engine.store.records.cdr_store import AnyRow, CdrFilter
from engine.store.scope import AgentScope, DepartmentScope, Platform, Scope

ROWS_MAX = 1_000_000
"""Of one export, which is Excel's limit too; who wants more asks for a shorter period."""
GROUP_ROWS = 10_000
"""Rows of one Parquet row group, and what is in memory at once: about 10 MB."""

ZONE_DEFAULT = "Asia/Shanghai"
BOM = b"\xef\xbb\xbf"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DECIMAL_DIGITS, _DECIMAL_PLACES = 19, 6  # 64 bits of micro-units


class TooManyRows(Exception):
    """More than ROWS_MAX CDRs are asked for."""


class UnknownZone(ValueError):
    """Not a name of the time zone database."""


class ExportFormat(StrEnum):
    CSV = "csv"
    PARQUET = "parquet"


MEDIA_TYPES = {
    ExportFormat.CSV: "text/csv; charset=utf-8; header=present",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
}


class Kind(StrEnum):
    TEXT = "text"
    INTEGER = "integer"
    TIME = "time"
    MONEY = "money"


@dataclass(frozen=True, slots=True)
class Column:
    """``source`` is the column of ``cdrs``."""

    name: str
    kind: Kind
    source: str
    masked: bool = False


_EVERYBODYS = (
    Column("id", Kind.TEXT, "id"),
    Column("state", Kind.TEXT, "state"),
    Column("agent_id", Kind.INTEGER, "agent_id"),
    Column("line_id", Kind.INTEGER, "line_id"),
    Column("binding_id", Kind.TEXT, "binding_id"),
    Column("direction", Kind.TEXT, "direction"),
    Column("a_number", Kind.TEXT, "a_number"),
    Column("x_number", Kind.TEXT, "x_number"),
    Column("b_number", Kind.TEXT, "b_number"),
    Column("started_at", Kind.TIME, "started_at_ms"),
    Column("ringing_at", Kind.TIME, "ringing_at_ms"),
    Column("answered_at", Kind.TIME, "answered_at_ms"),
    Column("ended_at", Kind.TIME, "ended_at_ms"),
    Column("billed_seconds", Kind.INTEGER, "billed_seconds"),
    Column("release_side", Kind.TEXT, "release_side"),
    Column("cause", Kind.TEXT, "cause"),
    Column("sip_status", Kind.INTEGER, "sip_status"),
    Column("q850_cause", Kind.INTEGER, "q850_cause"),
    Column("transferred_from", Kind.TEXT, "transferred_from"),
)
_TENANTS = (
    Column("package_seconds", Kind.INTEGER, "package_seconds"),
    Column("charge_yuan", Kind.MONEY, "charge_micro"),
)
_PLATFORMS = (
    Column("tenant_id", Kind.INTEGER, "tenant_id"),
    Column("trunk_id", Kind.INTEGER, "trunk_id"),
    Column("cost_yuan", Kind.MONEY, "cost_micro"),
    Column("rate_id", Kind.INTEGER, "rate_id"),
    Column("rate_version", Kind.INTEGER, "rate_version"),
)


def columns_for(scope: Scope) -> tuple[Column, ...]:
    """What ``scope`` may see: agents no money and B masked, tenants not who carried the call nor at what cost."""
    match scope:
        case Platform():
            return (*_EVERYBODYS, *_TENANTS, *_PLATFORMS)
        case AgentScope() | DepartmentScope():
            return tuple(
                Column(column.name, column.kind, column.source, masked=column.source == "b_number")
                for column in _EVERYBODYS
            )
        case _:
            return (*_EVERYBODYS, *_TENANTS)


def zone_of(name: str) -> ZoneInfo:
    """Raises UnknownZone."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}", name) is None:
        raise UnknownZone("is no time zone's name")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:  # "Asia" is a folder
        raise UnknownZone("is no time zone's name") from error


async def export_cdrs(
    database: AsyncEngine,
    scope: Scope,
    wanted: CdrFilter,
    *,
    shape: ExportFormat,
    zone: ZoneInfo,
    bom: bool = False,
    rows_max: int = ROWS_MAX,
) -> AsyncIterator[bytes]:
    """The export's octets, in pieces. Raises TooManyRows before the first of them.

    ``bom`` is for Excel, which takes a CSV without it for its own code page.
    """
    if await count_cdrs(database, scope, wanted, rows_max) > rows_max:
        raise TooManyRows(f"more than {rows_max} CDRs")
    pages = cdr_pages(database, scope, wanted, rows_max)
    columns = columns_for(scope)
    if shape is ExportFormat.PARQUET:
        return _parquet(pages, columns, zone)
    return _csv(pages, columns, zone, bom=bom)


async def _csv(
    pages: AsyncIterator[Sequence[AnyRow]], columns: Sequence[Column], zone: ZoneInfo, *, bom: bool
) -> AsyncIterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180 §2
    writer.writerow([column.name for column in columns])
    yield (BOM if bom else b"") + text.getvalue().encode()
    async for page in pages:
        text.seek(0)
        text.truncate()
        writer.writerows([_cell(column, _value(column, row, zone)) for column in columns] for row in page)
        yield text.getvalue().encode()


def _value(column: Column, row: AnyRow, zone: ZoneInfo) -> Any:
    value = getattr(row, column.source)
    if value is None:
        return None
    match column.kind:
        case Kind.TIME:
            return (_EPOCH + timedelta(milliseconds=value)).astimezone(zone)
        case Kind.MONEY:
            return Decimal(value).scaleb(-_DECIMAL_PLACES)
        case Kind.TEXT if column.masked:
            return mask(value)
        case _:
            return value


def _cell(column: Column, value: Any) -> str:
    if value is None:
        return ""
    match column.kind:
        case Kind.TIME:
            text: str = value.isoformat(timespec="milliseconds")
            return text
        case Kind.MONEY:
            return f"{value:f}"
        case Kind.INTEGER:
            return str(value)
        case Kind.TEXT:
            return harmless(str(value))


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV Injection).

    ``+`` and nothing but digits is left as it is: a phone number, which as a formula says itself.
    """
    if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")):
        return text if re.fullmatch(r"\+[0-9]+", text, re.ASCII) else "'" + text
    return text


class _Sink(io.RawIOBase):
    """What pyarrow writes into, taken out piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._written += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._written

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


async def _parquet(
    pages: AsyncIterator[Sequence[AnyRow]], columns: Sequence[Column], zone: ZoneInfo
) -> AsyncIterator[bytes]:
    import pyarrow  # type: ignore[import-untyped]  # it ships none; loaded for those alone who ask: 60 MB
    import pyarrow.parquet  # type: ignore[import-untyped]  # as above

    types = {
        Kind.TEXT: pyarrow.string(),
        Kind.INTEGER: pyarrow.int64(),
        Kind.TIME: pyarrow.timestamp("ms", tz=zone.key),
        Kind.MONEY: pyarrow.decimal128(_DECIMAL_DIGITS, _DECIMAL_PLACES),
    }
    schema = pyarrow.schema([(column.name, types[column.kind]) for column in columns])
    sink = _Sink()

    def write(rows: list[AnyRow]) -> bytes:
        table = {column.name: [_value(column, row, zone) for row in rows] for column in columns}
        writer.write_table(pyarrow.Table.from_pydict(table, schema=schema), row_group_size=GROUP_ROWS)
        return sink.take()

    with pyarrow.parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        rows: list[AnyRow] = []
        async for page in pages:
            rows += page
            if len(rows) >= GROUP_ROWS:
                yield await asyncio.to_thread(write, rows)
                rows = []
        if rows:
            yield await asyncio.to_thread(write, rows)
    yield sink.take()
