"""The command line's part for secrets at rest."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.invocation import ConfigOption, command_actor, failure, settings_of
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.store.access.audit import Actor

commands = typer.Typer()


@commands.command("rotate-secrets")
def rotate_secrets_command(
    forget: Annotated[
        bool, typer.Option("--forget", help="Then drop the old keys: backups of before need them.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Make a new key and seal carriers' secrets and trunks' hashes with it; running processes go on."""
    from engine.store.access.keyring import Unsealable
    from engine.store.access.secret_file import SecretUnusable

    try:
        resealed, forgotten = asyncio.run(
            rotate_secrets(settings_of(config), command_actor("rotate-secrets"), forget=forget)
        )
    except (Unsealable, SecretUnusable, OSError) as error:
        raise failure(f"the secrets stay as they are: {error}") from error
    typer.echo(f"sealed anew: {resealed}; old keys dropped: {forgotten}")


async def rotate_secrets(settings: Settings, actor: Actor, *, forget: bool) -> tuple[int, int]:
    """How many secrets were sealed anew, and how many keys dropped. Raises Unsealable, SecretUnusable, OSError."""
    from engine.services.lines.secrets import reseal_all
    from engine.store.access.keyring import Keyring
    from engine.store.database import open_database, writing_session

    keyring = Keyring(settings.sealing_keys_file)
    database = open_database(settings.database_url)
    try:
        keyring.rotate()
        async with writing_session(database, time.time_ns() // 1_000_000, actor) as session:
            resealed = await reseal_all(session, keyring)
        # Only once it is committed: nothing that is stored needs them any more.
        return resealed, keyring.forget_others() if forget else 0
    finally:
        await database.dispose()
