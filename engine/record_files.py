"""What the command line does with records: exports to a file, reconciles a file."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.services.records.carrier_records import RecordFormat
from engine.services.records.cdr_export import ExportFormat, TooManyRows, UnknownZone, export_cdrs, zone_of
from engine.services.records.reconciliation import ReconciliationRefused, reconcile
from engine.settings import Settings
from engine.store.database import open_database, reading, reading_session
from engine.store.records.cdr_store import CdrFilter
from engine.store.records.reconciliation_store import read_differences, read_reconciliation
from engine.store.scope import Platform, Scope, TenantScope
from engine.store.sorting import PAGE_ROWS_MAX, PageWanted
from engine.store.tables import Line, ReconciliationDifference, Tenant, Trunk


class CommandRefused(Exception):
    """Said to the user; he can mend it."""


def moment_ms(text: str, zone: ZoneInfo) -> int:
    """Raises CommandRefused."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandRefused(f"{text}: is no time; write 2027-01-31 or 2027-01-31T08:00") from error
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _zone(name: str) -> ZoneInfo:
    try:
        return zone_of(name)
    except UnknownZone as error:
        raise CommandRefused(f"--zone {name}: {error}") from error


async def _id_of(database: AsyncEngine, table: type[Tenant | Trunk | Line], code: str) -> int:
    async with reading(database) as connection:
        found = await connection.scalar(select(table.id).where(table.code == code))
    if found is None:
        raise CommandRefused(f"{code}: there is none of this code in {table.__tablename__}")
    return int(found)


async def _write(path: Path, pieces: AsyncIterator[bytes]) -> None:
    """Whole or not at all: what is cut short stays in the draft."""
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        async for piece in pieces:
            file.write(piece)
    draft.replace(path)


async def export_to_file(
    settings: Settings, tenant: str | None, since: str, until: str, shape: str, zone: str, bom: bool, to: Path
) -> None:
    """``tenant`` None: everybody's calls, as the platform sees them. Raises CommandRefused, OSError."""
    database = open_database(settings.database_url)
    try:
        scope: Scope = Platform() if tenant is None else TenantScope(await _id_of(database, Tenant, tenant))
        the_zone = _zone(zone)
        wanted = CdrFilter(from_ms=moment_ms(since, the_zone), to_ms=moment_ms(until, the_zone))
        await _write(to, await export_cdrs(database, scope, wanted, shape=ExportFormat(shape), zone=the_zone, bom=bom))
    except TooManyRows as error:
        raise CommandRefused(f"{error}: export a shorter period") from error
    finally:
        await database.dispose()


def _format(path: Path | None) -> RecordFormat | None:
    if path is None:
        return None
    try:
        return msgspec.toml.decode(path.read_bytes(), type=RecordFormat)
    except (msgspec.DecodeError, OSError) as error:
        raise CommandRefused(f"{path}: {error}") from error


async def reconcile_file(
    settings: Settings,
    file: Path,
    trunk: str,
    line: str | None,
    since: str,
    until: str,
    zone: str,
    record_format: Path | None,
    output: Path | None,
) -> dict[str, Any]:
    """The summary; ``output`` gets the differences. Raises CommandRefused, OSError."""
    database = open_database(settings.database_url)
    the_zone = _zone(zone)
    try:
        content = await asyncio.to_thread(file.read_bytes)
        made = await reconcile(
            database,
            content=content,
            trunk_id=await _id_of(database, Trunk, trunk),
            line_id=None if line is None else await _id_of(database, Line, line),
            from_ms=moment_ms(since, the_zone),
            to_ms=moment_ms(until, the_zone),
            record_format=_format(record_format),
            now_ms=time.time_ns() // 1_000_000,
        )
        if output is not None:
            await _write(output, _differences(database, made.id))
        async with reading_session(database) as session:
            row = await read_reconciliation(session, made.id)
            assert row is not None
            return {"id": row.id, "new": made.is_new, "clock_offset_ms": row.clock_offset_ms, **row.summary}
    except ReconciliationRefused as refusal:
        raise CommandRefused(f"{refusal.field}: {refusal}") from refusal
    finally:
        await database.dispose()


async def _differences(database: AsyncEngine, reconciliation_id: str) -> AsyncIterator[bytes]:
    """One JSON object a line."""
    position = ReconciliationDifference.position
    wanted = PageWanted.by(position, limit=PAGE_ROWS_MAX)
    while True:
        async with reading_session(database) as session:
            rows = await read_differences(session, reconciliation_id, kind=None, wanted=wanted)
        for row in rows:
            yield msgspec.json.encode({"kind": row.kind, "cdr_id": row.cdr_id, **row.content}) + b"\n"
        if len(rows) < PAGE_ROWS_MAX:
            return
        wanted = PageWanted.by(position, limit=PAGE_ROWS_MAX, after=(rows[-1].position,))
