"""Commands for the books: checking the ledger, pricing calls again, freeing a lost engine's credit."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.invocation import ConfigOption, command_actor, failure, settings_of
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.services.rating.rerating import Difference

commands = typer.Typer()


@commands.command("check-ledger")
def check_ledger(
    config: ConfigOption = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make each balance the sum of its entries first.")] = False,
) -> None:
    """Add up the ledger anew and say where balances, leases and CDRs differ from it. Exit code 1 if any does."""
    settings = settings_of(config)
    if found := asyncio.run(_check_ledger(settings, rebuild=rebuild)):
        typer.echo("\n".join(found))
        raise failure(f"{len(found)} differences from the ledger")
    typer.echo("balances, leases and CDRs are as the ledger says")


async def _check_ledger(settings: Settings, *, rebuild: bool) -> list[str]:
    import time

    from engine.store.access.audit import audit_statement
    from engine.store.database import open_database, reading, writing
    from engine.store.money.ledger_check import differences, rebuild_balances

    database = open_database(settings.database_url)
    try:
        if rebuild:
            now_ms = int(time.time() * 1000)
            async with writing(database) as connection:
                count = await rebuild_balances(connection, now_ms)
                actor, after = command_actor("check-ledger --rebuild"), {"balances": count}
                await audit_statement(connection, actor, now_ms, "rebuild", "accounts", "", after=after)
            typer.echo(f"{count} balances rebuilt")
        async with reading(database) as connection:
            return await differences(connection)
    finally:
        await database.dispose()


@commands.command()
def rerate(
    since: Annotated[str, typer.Argument(help='Calls that began from here: "2026-11-01T00:00+08:00".')],
    until: Annotated[str, typer.Argument(help="… up to and not including this moment.")],
    config: ConfigOption = None,
    tenant_id: Annotated[int | None, typer.Option("--tenant", help="The id of one tenant; else all.")] = None,
    key: Annotated[str, typer.Option("--apply", help="Do it, under this name in the ledger.")] = "",
) -> None:
    """Price a period's calls again by the rate plans as they are now: show who gains and loses, or apply it."""
    try:
        from_ms, to_ms = (round(datetime.fromisoformat(text).timestamp() * 1000) for text in (since, until))
    except ValueError as error:
        raise failure(f"no date and time: {error}") from error
    for tenant, change in sorted(asyncio.run(_rerate(settings_of(config), from_ms, to_ms, tenant_id, key)).items()):
        typer.echo(
            f"tenant {tenant}: {change.calls} calls, {change.old_micro} -> {change.new_micro} micro-units "
            f"({change.difference_micro:+d}), {change.unpriced} without a price left as they are"
        )
    typer.echo(f"applied as {key}" if key else "a preview: nothing was changed")


async def _rerate(
    settings: Settings, from_ms: int, to_ms: int, tenant_id: int | None, key: str
) -> dict[int, Difference]:
    import time

    from engine.services.rating.rerating import Period, apply_rerating, preview_rerating
    from engine.store.database import open_database, reading, writing_session
    from engine.store.money.ledger_store import KeyReused

    period, now_ms = Period(from_ms, to_ms, tenant_id), int(time.time() * 1000)
    database = open_database(settings.database_url)
    try:
        if not key:
            async with reading(database) as connection:
                return await preview_rerating(connection, period)
        async with writing_session(database, now_ms, command_actor("rerate")) as session:
            return await apply_rerating(session, period, key, now_ms)
    except KeyReused as error:
        raise failure(f"{key} names another rerating") from error
    finally:
        await database.dispose()


@commands.command("void-leases")
def void_leases(
    engine_id: Annotated[str, typer.Argument(help="The `engine_id` of an engine that will not come back.")],
    config: ConfigOption = None,
) -> None:
    """Free the credit and the package minutes that a lost engine has leased. Start that engine again instead wherever
    it can be: it knows what its calls cost."""
    settings = settings_of(config)
    freed_micro, freed_seconds = asyncio.run(_void_leases(settings, engine_id))
    typer.echo(
        f"{engine_id}: leases of {len(freed_micro)} tenants voided, {sum(freed_micro.values())} micro-units;"
        f" of {len(freed_seconds)} packages, {sum(freed_seconds.values())} seconds"
    )


async def _void_leases(settings: Settings, engine_id: str) -> tuple[dict[int, int], dict[int, int]]:
    import time

    from engine.store.access.audit import audit_statement
    from engine.store.database import open_database, writing
    from engine.store.money import lease_store, minutes_store

    database = open_database(settings.database_url)
    try:
        now_ms = int(time.time() * 1000)
        async with writing(database) as connection:
            # Minutes first, as everywhere: in one order for all. One that is alive undoes both.
            freed_seconds = await minutes_store.void_minutes_leases(connection, engine_id, now_ms)
            freed_micro = await lease_store.void_leases(connection, engine_id, now_ms)
            after = {"freed_micro": sum(freed_micro.values()), "freed_seconds": sum(freed_seconds.values())}
            actor = command_actor("void-leases")
            await audit_statement(connection, actor, now_ms, "void", "credit_leases", engine_id, after=after)
        return freed_micro, freed_seconds
    except lease_store.LeaseAlive as error:
        raise failure(f"{engine_id} has renewed its leases within the last minute: it is running") from error
    finally:
        await database.dispose()
