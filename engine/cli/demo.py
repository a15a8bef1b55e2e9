"""The demonstration call, and what is shown beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.invocation import ConfigOption, console, failure, settings_of
from engine.demo.world import DemoFault, read_demo_world
from engine.runtime.processes.readiness import until_ready
from engine.settings import Settings

commands = typer.Typer()


async def welcome(settings: Settings, demo: Path | None, *, is_first_start: bool) -> None:
    from engine.demo.call import place_demo_call
    from engine.demo.welcome import show_addresses, show_demo_call

    await until_ready(settings)
    world = read_demo_world(demo) if demo is not None else None
    show_addresses(console, settings, world)
    if world is not None and is_first_start:
        show_demo_call(console, settings, await place_demo_call(settings, world))
    console.print("\naxbridge is up. Ctrl-C stops it.")


@commands.command("demo")
def demo_call(
    file: Annotated[Path, typer.Argument(help="The provisioning file that was loaded.")] = Path("conf/demo.toml"),
    config: ConfigOption = None,
) -> None:
    """Place one call with real speech through the running system and show its ladder, CDR, charge and recording."""
    # Here, since NumPy and httpx are needed for it alone, and an engine that starts is waited for by its calls.
    from engine.demo.call import place_demo_call
    from engine.demo.welcome import show_demo_call

    settings = settings_of(config)
    try:
        result = asyncio.run(place_demo_call(settings, read_demo_world(file)))
    except DemoFault as error:
        raise failure(str(error)) from error
    show_demo_call(console, settings, result)
