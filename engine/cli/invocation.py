"""What every command of ``axbridge`` needs: its settings, a way to fail, and who called it."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import uvloop
from rich.console import Console

from engine.settings import Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from engine.store.access.audit import Actor

console = Console(highlight=False, soft_wrap=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file (TOML); also AXBRIDGE_CONFIG.", show_default=False),
]


def settings_of(config: Path | None) -> Settings:
    """Makes the data folder. Raises typer.Exit with a word of what is wrong."""
    try:
        settings = read_settings(config)
    except SettingsError as error:
        raise failure(str(error)) from error
    if config is not None:
        os.environ["AXBRIDGE_CONFIG"] = str(config.absolute())  # for the processes that we start
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return settings


def command_actor(command: str) -> Actor:
    """Whoever is logged in on this machine, as the audit log names him."""
    from engine.store.access.audit import machine

    try:
        return machine(f"axbridge {command} ({getpass.getuser()})")
    except (KeyError, OSError):  # an account without a name
        return machine(f"axbridge {command} (uid {os.getuid()})")


def failure(text: str) -> typer.Exit:
    typer.echo(f"axbridge: {text}", err=True)
    return typer.Exit(1)


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
