"""A carrier's CDR file: CSV, each carrier's in its own columns, numbers, clock and units."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from engine.domain.lines.number import InvalidNumber, NumberFormat, from_trunk_format
from engine.domain.reconciliation import TheirCall, Tolerances
from engine.services.records.cdr_export import UnknownZone, zone_of

FILE_OCTETS_MAX = 32 * 1024 * 1024
ROWS_MAX = 200_000
CELL_CHARACTERS_MAX = 1000
UNREADABLE_MAX = 1_000
"""Rows that cannot be read are told one by one up to here; a file with more of them is refused: its format is wrong."""

_SECONDS_MAX = 7 * 24 * 3600
_MICRO_MAX = 10**15
_TIME_MS_MAX = 2**53

ColumnName = Annotated[str, Meta(min_length=1, max_length=100)]


class FormatWrong(ValueError):
    """The file cannot be read by this format; says why, and shows nothing of the file."""


class RecordFormat(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Columns go by their names in the first row, or with ``header = false`` by their place: "1", "2" …"""

    caller: ColumnName
    callee: ColumnName
    start: ColumnName
    duration: ColumnName
    charge: ColumnName | None = None
    reference: ColumnName | None = None
    """The carrier's own id of a call: by it doubled rows are known."""
    header: bool = True
    delimiter: Literal[",", ";", "\t", "|"] = ","
    encoding: Literal["utf-8", "gb18030"] = "utf-8"
    time_format: Annotated[str, Meta(max_length=64)] = "%Y-%m-%d %H:%M:%S"
    """As of strptime; or "epoch_seconds", "epoch_ms"."""
    zone: Annotated[str, Meta(max_length=64)] = "Asia/Shanghai"
    start_means: Literal["answered", "started"] = "answered"
    leg: Literal["outbound", "inbound"] = "outbound"
    """outbound: X to the called party; inbound: the calling party to X."""
    duration_unit: Literal["seconds", "minutes"] = "seconds"
    rounded_to_seconds: Annotated[int, Meta(ge=1, le=3600)] = 1
    charge_unit: Literal["yuan", "fen"] = "yuan"
    start_tolerance_seconds: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    duration_tolerance_seconds: Annotated[int, Meta(ge=0, le=3600)] = 1
    charge_tolerance_micro: Annotated[int, Meta(ge=0, le=_MICRO_MAX)] = 0
    clock_offset_seconds: Annotated[float, Meta(ge=-86_400, le=86_400)] | None = None
    """Their clock less ours; left out: estimated, up to the next."""
    clock_offset_seconds_max: Annotated[float, Meta(ge=0, le=7200)] = 600.0

    @property
    def tolerances(self) -> Tolerances:
        known = self.clock_offset_seconds
        return Tolerances(
            start_ms=round(self.start_tolerance_seconds * 1000),
            duration_seconds=self.duration_tolerance_seconds,
            rounded_to_seconds=self.rounded_to_seconds,
            charge_micro=self.charge_tolerance_micro,
            clock_offset_ms=None if known is None else round(known * 1000),
            clock_offset_ms_max=round(self.clock_offset_seconds_max * 1000),
        )

    @property
    def edge_ms(self) -> int:
        """How far outside a period a call of it may stand in the other's file."""
        known = abs(self.clock_offset_seconds or 0.0)
        return round((max(known, self.clock_offset_seconds_max) + self.start_tolerance_seconds) * 1000)


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class CarrierRecords:
    calls: tuple[TheirCall, ...]
    """Those that were answered."""
    unanswered: int
    unreadable: tuple[UnreadableRow, ...]


def read_records(content: bytes, record_format: RecordFormat, number_format: NumberFormat) -> CarrierRecords:
    """The calls of a file. A row that makes no sense is unreadable by itself. Raises FormatWrong."""
    if len(content) > FILE_OCTETS_MAX:
        raise FormatWrong(f"more than {FILE_OCTETS_MAX} octets")
    try:
        zone = zone_of(record_format.zone)
        text = content.decode("utf-8-sig" if record_format.encoding == "utf-8" else record_format.encoding)
    except UnknownZone as error:
        raise FormatWrong(f"zone: {error}") from error
    except UnicodeDecodeError as error:
        raise FormatWrong(f"is not {record_format.encoding}") from error
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=record_format.delimiter, strict=True)
    calls: list[TheirCall] = []
    unreadable: list[UnreadableRow] = []
    unanswered = 0
    try:
        places = _places(next(rows, []) if record_format.header else None, record_format)
        for row in rows:
            if not any(row):
                continue
            try:
                call = _call(row, places, record_format, number_format, zone, rows.line_num)
            except ValueError as error:
                unreadable.append(UnreadableRow(rows.line_num, str(error)))
            else:
                if call.seconds:
                    calls.append(call)
                else:
                    unanswered += 1
            if len(calls) + unanswered > ROWS_MAX:
                raise FormatWrong(f"more than {ROWS_MAX} rows")
            if len(unreadable) > UNREADABLE_MAX:
                raise FormatWrong(f"more than {UNREADABLE_MAX} rows cannot be read; the last: {unreadable[-1].reason}")
    except csv.Error as error:
        raise FormatWrong(f"line {rows.line_num}: is no CSV") from error
    return CarrierRecords(tuple(calls), unanswered, tuple(unreadable))


def _places(header: Sequence[str] | None, record_format: RecordFormat) -> dict[str, int]:
    """Each of the format's columns and where it stands."""
    places = {}
    for name in ("caller", "callee", "start", "duration", "charge", "reference"):
        column: str | None = getattr(record_format, name)
        if column is None:
            continue
        if header is not None:
            names = [cell.strip() for cell in header]
            if names.count(column) != 1:
                raise FormatWrong(f"{name}: the first row must have the column {column!r} once")
            places[name] = names.index(column)
        else:
            if re.fullmatch(r"[1-9][0-9]{0,2}", column, re.ASCII) is None:
                raise FormatWrong(f"{name}: without a header a column goes by its place, 1 or more")
            places[name] = int(column) - 1
    return places


def _call(
    row: Sequence[str],
    places: dict[str, int],
    record_format: RecordFormat,
    number_format: NumberFormat,
    zone: ZoneInfo,
    line: int,
) -> TheirCall:
    """Raises ValueError; its text names the column and shows nothing of it."""
    if len(row) <= max(places.values()):
        raise ValueError("too few columns")
    # A tab or an apostrophe before a number keeps spreadsheets from rounding it.
    cells = {name: row[place].strip().lstrip("'").strip() for name, place in places.items()}
    if any(len(cell) > CELL_CHARACTERS_MAX for cell in cells.values()):
        raise ValueError("a cell is too long")
    charge = cells.get("charge")
    return TheirCall(
        at_ms=_time_ms(cells["start"], record_format.time_format, zone),
        caller=_number(cells["caller"], number_format, "caller"),
        callee=_number(cells["callee"], number_format, "callee"),
        seconds=_seconds(cells["duration"], record_format.duration_unit),
        charge_micro=_micro(charge, record_format.charge_unit) if charge else None,
        reference=cells.get("reference", "")[:64],
        line=line,
    )


def _number(text: str, number_format: NumberFormat, column: str) -> str:
    try:
        return from_trunk_format(text, number_format)
    except InvalidNumber as error:
        raise ValueError(f"{column}: {error}") from error


def _time_ms(text: str, time_format: str, zone: ZoneInfo) -> int:
    try:
        if time_format in ("epoch_seconds", "epoch_ms"):
            at_ms = int(_decimal(text, "start") * (1000 if time_format == "epoch_seconds" else 1))
        else:
            moment = datetime.strptime(text, time_format)  # noqa: DTZ007 - the zone is the format's
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
            since = moment - datetime(1970, 1, 1, tzinfo=UTC)
            at_ms = (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
    except (ValueError, OverflowError, re.error) as error:
        raise ValueError("start: is no time of this format") from error
    if not 0 <= at_ms <= _TIME_MS_MAX:
        raise ValueError("start: is no time of this format")
    return at_ms


def _decimal(text: str, column: str) -> Decimal:
    if len(text) > 30 or re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text, re.ASCII) is None:
        raise ValueError(f"{column}: is no number")
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{column}: is no number") from error


def _seconds(text: str, unit: str) -> int:
    """Whole seconds, a fraction of one counts as one; also as h:mm:ss or mm:ss."""
    clock = re.fullmatch(r"(?:([0-9]{1,3}):)?([0-9]{1,3}):([0-9]{2})", text, re.ASCII)
    if clock is not None:
        seconds = int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + int(clock[3])
    else:
        value = _decimal(text, "duration") * (60 if unit == "minutes" else 1)
        seconds = int(value.to_integral_value(ROUND_CEILING))
    if not 0 <= seconds <= _SECONDS_MAX:
        raise ValueError("duration: is too long, or below 0")
    return seconds


def _micro(text: str, unit: str) -> int:
    micro = _decimal(text, "charge") * (1_000_000 if unit == "yuan" else 10_000)
    if micro != micro.to_integral_value() or abs(micro) > _MICRO_MAX:
        raise ValueError("charge: has more than six decimal places, or is too much")
    return int(micro)
