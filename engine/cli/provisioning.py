"""``axbridge load``."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.invocation import ConfigOption, command_actor, failure, settings_of
from engine.runtime.control.client import EngineControl, EngineUnavailable
from engine.runtime.control.protocol import Reload
from engine.settings import Settings

commands = typer.Typer()


@commands.command()
def load(
    file: Annotated[Path, typer.Argument(help="The provisioning file (TOML), see conf/README.md.")],
    config: ConfigOption = None,
) -> None:
    """Load tenants, agents, lines, numbers, rates and bindings from a file; loading it again changes nothing."""
    settings = settings_of(config)
    asyncio.run(load_file(settings, file))


async def load_file(settings: Settings, file: Path) -> None:
    import time

    from engine.services.provisioning import load as apply_file
    from engine.services.provisioning.file import ProvisioningError
    from engine.store.access.keyring import Keyring
    from engine.store.database import open_database
    from engine.store.migrations import upgrade

    await upgrade(settings.database_url)
    database = open_database(settings.database_url)
    keyring = Keyring(settings.sealing_keys_file)
    try:
        now_ms = int(time.time() * 1000)
        summary = await apply_file(
            file,
            database,
            now_ms=now_ms,
            realm=settings.sip.realm,
            keyring=keyring,
            environment=os.environ,
            actor=command_actor("load"),
        )
    except ProvisioningError as error:
        raise failure(str(error)) from error
    finally:
        await database.dispose()
    typer.echo(f"{file}: {summary.created} created, {summary.changed} changed, {summary.unchanged} unchanged")
    try:
        await EngineControl(settings.control_socket).ask(Reload())
    except EngineUnavailable:
        pass  # it reads everything when it starts
