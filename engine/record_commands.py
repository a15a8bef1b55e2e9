"""The command line's part for records: taking CDRs away, reconciling them with a carrier's."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import typer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.services.carrier_records import RecordFormat
from engine.services.cdr_export import ZONE_DEFAULT, ExportFormat, TooManyRows, UnknownZone, export_cdrs, zone_of
from engine.services.reconciliation import ReconciliationRefused, reconcile
from engine.settings import Settings
from engine.store.cdr_store import PAGE_ROWS_MAX, CdrFilter
from engine.store.database import open_database, reading, reading_session
from engine.store.reconciliation_store import read_differences, read_reconciliation
from engine.store.scope import Platform, Scope, TenantScope
from engine.store.tables import Line, Tenant, Trunk

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="The configuration file (TOML).")]
FromOption = Annotated[str, typer.Option("--from", help="2027-01-31, or with a time: 2027-01-31T08:00.")]
ToOption = Annotated[str, typer.Option("--to", help="The same; this moment is not in it.")]
ZoneOption = Annotated[str, typer.Option(help="The time zone of the times, an IANA name.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The file to write, readable by its owner alone.")]


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


async def _export(
    settings: Settings, tenant: str | None, since: str, until: str, shape: ExportFormat, zone: str, bom: bool, to: Path
) -> None:
    database = open_database(settings.database_url)
    try:
        scope: Scope = Platform() if tenant is None else TenantScope(await _id_of(database, Tenant, tenant))
        the_zone = _zone(zone)
        wanted = CdrFilter(from_ms=moment_ms(since, the_zone), to_ms=moment_ms(until, the_zone))
        await _write(to, await export_cdrs(database, scope, wanted, shape=shape, zone=the_zone, bom=bom))
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


async def _reconcile(
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
    after: int | None = None
    while True:
        async with reading_session(database) as session:
            rows = await read_differences(session, reconciliation_id, kind=None, after=after, limit=PAGE_ROWS_MAX)
        for row in rows:
            yield msgspec.json.encode({"kind": row.kind, "cdr_id": row.cdr_id, **row.content}) + b"\n"
        if len(rows) < PAGE_ROWS_MAX:
            return
        after = rows[-1].position


def add_record_commands(
    app: typer.Typer, settings_of: Callable[[Path | None], Settings], failure: Callable[[str], typer.Exit]
) -> None:
    """Adds ``export-cdrs`` and ``reconcile``."""

    @app.command("export-cdrs")
    def export_cdrs_command(
        since: FromOption,
        until: ToOption,
        output: OutputOption,
        tenant: Annotated[str | None, typer.Option(help="A tenant's code: its calls, and what it may see.")] = None,
        shape: Annotated[ExportFormat, typer.Option("--format")] = ExportFormat.CSV,
        zone: ZoneOption = ZONE_DEFAULT,
        bom: Annotated[bool, typer.Option("--bom", help="Begin a CSV with a byte order mark, for Excel.")] = False,
        config: ConfigOption = None,
    ) -> None:
        """Write a period's CDRs to a file, as CSV or Parquet."""
        try:
            asyncio.run(_export(settings_of(config), tenant, since, until, shape, zone, bom, output))
        except (CommandRefused, OSError) as error:
            raise failure(str(error)) from error

    @app.command("reconcile")
    def reconcile_command(
        file: Annotated[Path, typer.Argument(help="The carrier's CDR file (CSV).")],
        trunk: Annotated[str, typer.Option(help="The trunk's code.")],
        since: FromOption,
        until: ToOption,
        line: Annotated[str | None, typer.Option(help="A line's code, for its calls alone.")] = None,
        record_format: Annotated[
            Path | None, typer.Option("--format", help="A TOML file; else the format of the trunk's carrier.")
        ] = None,
        output: Annotated[
            Path | None, typer.Option("--output", "-o", help="Write the differences here, a JSON object a line.")
        ] = None,
        zone: ZoneOption = ZONE_DEFAULT,
        config: ConfigOption = None,
    ) -> None:
        """Compare a carrier's CDR file with ours, and keep what differs; the same again changes nothing."""
        try:
            told = asyncio.run(
                _reconcile(settings_of(config), file, trunk, line, since, until, zone, record_format, output)
            )
        except (CommandRefused, OSError) as error:
            raise failure(str(error)) from error
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told)).decode() + "\n")
