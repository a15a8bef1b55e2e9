"""The command line's part for records: taking CDRs away, reconciling them with a carrier's.

What does it is imported when it is asked for: the other commands start processes, and sooner without the database.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from engine.cli.invocation import ConfigOption, failure, settings_of

commands = typer.Typer()

ZONE_DEFAULT = "Asia/Shanghai"

FromOption = Annotated[str, typer.Option("--from", help="2027-01-31, or with a time: 2027-01-31T08:00.")]
ToOption = Annotated[str, typer.Option("--to", help="The same; this moment is not in it.")]
ZoneOption = Annotated[str, typer.Option(help="The time zone of the times, an IANA name.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The file to write, readable by its owner alone.")]


@commands.command("export-cdrs")
def export_cdrs_command(
    since: FromOption,
    until: ToOption,
    output: OutputOption,
    tenant: Annotated[str | None, typer.Option(help="A tenant's code: its calls, and what it may see.")] = None,
    shape: Annotated[Literal["csv", "parquet"], typer.Option("--format")] = "csv",
    zone: ZoneOption = ZONE_DEFAULT,
    bom: Annotated[bool, typer.Option("--bom", help="Begin a CSV with a byte order mark, for Excel.")] = False,
    config: ConfigOption = None,
) -> None:
    """Write a period's CDRs to a file, as CSV or Parquet."""
    from engine.record_files import CommandRefused, export_to_file

    try:
        asyncio.run(export_to_file(settings_of(config), tenant, since, until, shape, zone, bom, output))
    except (CommandRefused, OSError) as error:
        raise failure(str(error)) from error


@commands.command("reconcile")
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
    from engine.record_files import CommandRefused, reconcile_file

    try:
        told = asyncio.run(
            reconcile_file(settings_of(config), file, trunk, line, since, until, zone, record_format, output)
        )
    except (CommandRefused, OSError) as error:
        raise failure(str(error)) from error
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(told)).decode() + "\n")
