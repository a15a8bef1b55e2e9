"""``axbridge verify-recordings``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from engine.cli.invocation import ConfigOption, failure, settings_of

commands = typer.Typer()


@commands.command("verify-recordings")
def verify_recordings(
    config: ConfigOption = None,
    at: Annotated[
        str, typer.Option(help="Verify what lies at this URL by its manifests alone, without the database.")
    ] = "",
    folder: Annotated[str, typer.Option(help="One folder alone: a year, a month or a day, as 2026/11/23.")] = "",
    sizes_only: Annotated[bool, typer.Option("--sizes-only", help="Do not read what is inside.")] = False,
) -> None:
    """Say which recordings are missing, changed or unknown. Exit code 1 if any is."""
    from sqlalchemy.exc import SQLAlchemyError

    from engine.archive.bucket import Bucket, StorageFault
    from engine.archive.inspection import inspect
    from engine.archive.verification import verify_by_manifests

    try:
        if at:
            verdicts = {at: verify_by_manifests(Bucket(at), folder=folder, sizes_only=sizes_only)}
        else:
            verdicts = asyncio.run(inspect(settings_of(config), folder=folder, sizes_only=sizes_only))
    except StorageFault as error:
        raise failure(f"the storage cannot be read: {error}") from error
    except (SQLAlchemyError, OSError) as error:
        raise failure(f"disk or database cannot be read: {type(error).__name__}") from error
    for place, verdict in verdicts.items():
        for finding, path in verdict.findings:
            typer.echo(f"{place}: {finding}: {path}")
        counts = ", ".join(f"{count} {finding}" for finding, count in verdict.counts.items())
        typer.echo(f"{place}: {verdict.checked} recordings; {counts}")
    if not all(verdict.is_clean for verdict in verdicts.values()):
        raise typer.Exit(1)
