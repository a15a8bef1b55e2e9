"""The command line: ``axbridge``."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
import sys
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
import uvloop
from rich.console import Console

from engine.demo.world import DemoFault, read_demo_world
from engine.record_commands import add_record_commands
from engine.runtime.control.client import EngineControl, EngineUnavailable
from engine.runtime.control.protocol import Health, HealthReport, Reload
from engine.runtime.logs import set_up_logs
from engine.runtime.readiness import NotReady, hand_over, has_tenants, until_ready
from engine.runtime.supervisor import ProcessPlan, Supervisor
from engine.secret_commands import add_secret_commands
from engine.settings import Settings, SettingsError, read_settings
from media.embedded.settings import WorkerSettings

if TYPE_CHECKING:
    from engine.services.rerating import Difference
    from engine.store.audit import Actor

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A telesales telephone system: softswitch with middle numbers, call centre and CRM.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console(highlight=False, soft_wrap=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file (TOML); also AXBRIDGE_CONFIG.", show_default=False),
]


def _settings(config: Path | None) -> Settings:
    try:
        settings = read_settings(config)
    except SettingsError as error:
        raise _failure(str(error)) from error
    if config is not None:
        os.environ["AXBRIDGE_CONFIG"] = str(config.absolute())  # for the processes that we start
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return settings


def command_actor(command: str) -> Actor:
    """Whoever is logged in on this machine, as the audit log names him."""
    from engine.store.audit import machine

    try:
        return machine(f"axbridge {command} ({getpass.getuser()})")
    except (KeyError, OSError):  # an account without a name
        return machine(f"axbridge {command} (uid {os.getuid()})")


def _failure(text: str) -> typer.Exit:
    typer.echo(f"axbridge: {text}", err=True)
    return typer.Exit(1)


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@app.command()
def serve(
    config: ConfigOption = None,
    demo: Annotated[
        Path | None,
        typer.Option(help="On an empty database, load this provisioning file and place a call.", show_default=False),
    ] = None,
) -> None:
    """Start everything on this machine: media workers, engine and API; start again whatever dies."""
    settings = _settings(config)
    set_up_logs("supervisor", settings.log_level)
    is_first_start = demo is not None and not asyncio.run(has_tenants(settings))
    if demo is not None and is_first_start:
        asyncio.run(_load(settings, demo))
    _run(_serve(settings, demo, is_first_start=is_first_start))


async def _serve(settings: Settings, demo: Path | None, *, is_first_start: bool) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    supervisor = Supervisor(process_plans(settings), settings.data / "log")
    await supervisor.start()
    try:
        async with asyncio.TaskGroup() as group:
            welcome = group.create_task(_welcome(settings, demo, is_first_start=is_first_start))
            await told.wait()
            welcome.cancel()
    except* (NotReady, DemoFault) as group_of_errors:
        raise _failure(str(group_of_errors.exceptions[0])) from group_of_errors
    finally:
        await supervisor.stop()


async def _welcome(settings: Settings, demo: Path | None, *, is_first_start: bool) -> None:
    from engine.demo.call import place_demo_call
    from engine.demo.welcome import show_addresses, show_demo_call

    await until_ready(settings)
    world = read_demo_world(demo) if demo is not None else None
    show_addresses(console, settings, world)
    if world is not None and is_first_start:
        show_demo_call(console, settings, await place_demo_call(settings, world))
    console.print("\naxbridge is up. Ctrl-C stops it.")


@app.command("demo")
def demo_call(
    file: Annotated[Path, typer.Argument(help="The provisioning file that was loaded.")] = Path("conf/demo.toml"),
    config: ConfigOption = None,
) -> None:
    """Place one call with real speech through the running system and show its ladder, CDR, charge and recording."""
    # Here, since NumPy and httpx are needed for it alone, and an engine that starts is waited for by its calls.
    from engine.demo.call import place_demo_call
    from engine.demo.welcome import show_demo_call

    settings = _settings(config)
    try:
        result = asyncio.run(place_demo_call(settings, read_demo_world(file)))
    except DemoFault as error:
        raise _failure(str(error)) from error
    show_demo_call(console, settings, result)


def process_plans(settings: Settings) -> list[ProcessPlan]:
    """The processes of one machine. Media comes first: an engine without it refuses every call."""
    own = (sys.executable, "-m", "engine")
    media = [
        ProcessPlan(f"media-{index}", (*own, "media", "--index", str(index))) for index in range(settings.media.workers)
    ]
    return [*media, *(ProcessPlan(name, (*own, name)) for name in ("engine", "archive", "api"))]


@app.command()
def engine(config: ConfigOption = None) -> None:
    """The engine alone: SIP, calls, charging, CDRs."""
    settings = _settings(config)
    set_up_logs("engine", settings.log_level)
    from engine.main import run_engine

    try:
        _run(run_engine(settings))
    except OSError as error:
        raise _failure(f"the engine cannot start: {error}") from error


@app.command()
def media(
    config: ConfigOption = None,
    index: Annotated[int, typer.Option(min=0, help="Which of the media workers this one is.")] = 0,
) -> None:
    """One media worker: relays and records RTP. It outlives an engine's restart."""
    settings = _settings(config)
    if index >= settings.media.workers:
        raise _failure(f"--index {index}: media.workers is {settings.media.workers}")
    worker = worker_settings(settings, index)
    Path(worker.socket_path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # In place of this process: its loop is not asyncio's, and it needs none of what was imported here.
    argument = msgspec.json.encode(worker).decode()
    os.execv(sys.executable, [sys.executable, "-m", "media.embedded.worker", argument])


def worker_settings(settings: Settings, index: int) -> WorkerSettings:
    """One worker's share of the ports, in whole pairs (RTP on the even port, RTCP on the odd one after it)."""
    pairs = (settings.media.port_max + 1 - settings.media.port_min) // 2 // settings.media.workers
    port_min = settings.media.port_min + settings.media.port_min % 2 + index * pairs * 2
    return WorkerSettings(
        index=index,
        socket_path=str(settings.media_socket(index)),
        host=settings.media.host,
        host_ipv6=settings.media.host_ipv6,
        advertised_host=settings.media.advertised_host,
        advertised_host_ipv6=settings.media.advertised_host_ipv6,
        port_min=port_min,
        port_max=min(port_min + pairs * 2 - 1, settings.media.port_max),
        quarantine_seconds=settings.media.quarantine_seconds,
        rtp_timeout_seconds=settings.media.rtp_timeout_seconds,
        calls_max=settings.media.calls_per_worker_max,
    )


@app.command()
def api(config: ConfigOption = None) -> None:
    """The API alone: platform, tenant and agent routes, webhooks, recordings."""
    _settings(config)
    # Another process image, because the engine's package knows nothing of the API's.
    os.execv(sys.executable, [sys.executable, "-m", "admin_api"])


@app.command()
def archive(config: ConfigOption = None) -> None:
    """The keeper of closed recordings alone: manifests, storage, retention, room on the disk. One a machine."""
    settings = _settings(config)
    set_up_logs("archive", settings.log_level)
    _run(_archive(settings))


async def _archive(settings: Settings) -> None:
    import time

    from engine.archive.bucket import Bucket, StorageFault
    from engine.archive.disk import Disk
    from engine.archive.librarian import Librarian, run_librarian
    from engine.store.database import open_database

    try:
        bucket = Bucket(settings.recordings.storage) if settings.recordings.storage else None
    except StorageFault as error:
        raise _failure(f"recordings.storage cannot be used: {error}") from error
    database = open_database(settings.database_url)
    try:
        await run_librarian(
            Librarian(
                database=database,
                disk=Disk(settings.recordings_folder),
                bucket=bucket,
                engine_id=settings.engine_id,
                settings=settings.recordings,
                now_ms=lambda: time.time_ns() // 1_000_000,
            )
        )
    finally:
        await database.dispose()


@app.command("verify-recordings")
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
            verdicts = asyncio.run(inspect(_settings(config), folder=folder, sizes_only=sizes_only))
    except StorageFault as error:
        raise _failure(f"the storage cannot be read: {error}") from error
    except (SQLAlchemyError, OSError) as error:
        raise _failure(f"disk or database cannot be read: {type(error).__name__}") from error
    for place, verdict in verdicts.items():
        for finding, path in verdict.findings:
            typer.echo(f"{place}: {finding}: {path}")
        counts = ", ".join(f"{count} {finding}" for finding, count in verdict.counts.items())
        typer.echo(f"{place}: {verdict.checked} recordings; {counts}")
    if not all(verdict.is_clean for verdict in verdicts.values()):
        raise typer.Exit(1)


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="The provisioning file (TOML), see conf/README.md.")],
    config: ConfigOption = None,
) -> None:
    """Load tenants, agents, lines, numbers, rates and bindings from a file; loading it again changes nothing."""
    settings = _settings(config)
    asyncio.run(_load(settings, file))


async def _load(settings: Settings, file: Path) -> None:
    import time

    from engine.services.provisioning import load as load_file
    from engine.services.provisioning.file import ProvisioningError
    from engine.store.database import open_database
    from engine.store.keyring import Keyring
    from engine.store.migrations import upgrade

    await upgrade(settings.database_url)
    database = open_database(settings.database_url)
    keyring = Keyring(settings.sealing_keys_file)
    try:
        now_ms = int(time.time() * 1000)
        summary = await load_file(
            file,
            database,
            now_ms=now_ms,
            realm=settings.sip.realm,
            keyring=keyring,
            environment=os.environ,
            actor=command_actor("load"),
        )
    except ProvisioningError as error:
        raise _failure(str(error)) from error
    finally:
        await database.dispose()
    typer.echo(f"{file}: {summary.created} created, {summary.changed} changed, {summary.unchanged} unchanged")
    try:
        await EngineControl(settings.control_socket).ask(Reload())
    except EngineUnavailable:
        pass  # it reads everything when it starts


@app.command()
def restart(config: ConfigOption = None) -> None:
    """Replace the running engine, after an upgrade say, by a new one that goes on with its calls. It must be started
    again by whoever keeps it alive: `axbridge serve` does, and so does systemd with Restart=always."""
    settings = _settings(config)
    try:
        asyncio.run(hand_over(settings))
    except (EngineUnavailable, NotReady) as error:
        raise _failure(str(error)) from error


@app.command("check-ledger")
def check_ledger(
    config: ConfigOption = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make each balance the sum of its entries first.")] = False,
) -> None:
    """Add up the ledger anew and say where balances, leases and CDRs differ from it. Exit code 1 if any does."""
    settings = _settings(config)
    if found := asyncio.run(_check_ledger(settings, rebuild=rebuild)):
        typer.echo("\n".join(found))
        raise _failure(f"{len(found)} differences from the ledger")
    typer.echo("balances, leases and CDRs are as the ledger says")


async def _check_ledger(settings: Settings, *, rebuild: bool) -> list[str]:
    import time

    from engine.store.database import open_database, reading, writing
    from engine.store.ledger_check import differences, rebuild_balances

    database = open_database(settings.database_url)
    try:
        if rebuild:
            async with writing(database) as connection:
                count = await rebuild_balances(connection, int(time.time() * 1000))
            typer.echo(f"{count} balances rebuilt")
        async with reading(database) as connection:
            return await differences(connection)
    finally:
        await database.dispose()


@app.command()
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
        raise _failure(f"no date and time: {error}") from error
    for tenant, change in sorted(asyncio.run(_rerate(_settings(config), from_ms, to_ms, tenant_id, key)).items()):
        typer.echo(
            f"tenant {tenant}: {change.calls} calls, {change.old_micro} -> {change.new_micro} micro-units "
            f"({change.difference_micro:+d}), {change.unpriced} without a price left as they are"
        )
    typer.echo(f"applied as {key}" if key else "a preview: nothing was changed")


async def _rerate(
    settings: Settings, from_ms: int, to_ms: int, tenant_id: int | None, key: str
) -> dict[int, Difference]:
    import time

    from engine.services.rerating import Period, apply_rerating, preview_rerating
    from engine.store.database import open_database, reading, writing_session
    from engine.store.ledger_store import KeyReused

    period, now_ms = Period(from_ms, to_ms, tenant_id), int(time.time() * 1000)
    database = open_database(settings.database_url)
    try:
        if not key:
            async with reading(database) as connection:
                return await preview_rerating(connection, period)
        async with writing_session(database, now_ms, command_actor("rerate")) as session:
            return await apply_rerating(session, period, key, now_ms)
    except KeyReused as error:
        raise _failure(f"{key} names another rerating") from error
    finally:
        await database.dispose()


@app.command("void-leases")
def void_leases(
    engine_id: Annotated[str, typer.Argument(help="The `engine_id` of an engine that will not come back.")],
    config: ConfigOption = None,
) -> None:
    """Free the credit that a lost engine has leased. Start that engine again instead wherever it can be: it knows
    what its calls cost."""
    settings = _settings(config)
    freed_micro = asyncio.run(_void_leases(settings, engine_id))
    typer.echo(f"{engine_id}: leases of {len(freed_micro)} tenants voided, {sum(freed_micro.values())} micro-units")


async def _void_leases(settings: Settings, engine_id: str) -> dict[int, int]:
    import time

    from engine.store import lease_store
    from engine.store.database import open_database, writing

    database = open_database(settings.database_url)
    try:
        async with writing(database) as connection:
            return await lease_store.void_leases(connection, engine_id, int(time.time() * 1000))
    except lease_store.LeaseAlive as error:
        raise _failure(f"{engine_id} has renewed its leases within the last minute: it is running") from error
    finally:
        await database.dispose()


@app.command()
def status(config: ConfigOption = None) -> None:
    """What the running engine says of itself. Exit code 1 if there is none."""
    settings = _settings(config)
    try:
        reply = asyncio.run(EngineControl(settings.control_socket).ask(Health()))
    except EngineUnavailable as error:
        raise _failure(str(error)) from error
    if isinstance(reply, HealthReport):
        console.print_json(msgspec.json.encode(reply).decode())


add_record_commands(app, _settings, _failure)
add_secret_commands(app, _settings, _failure)


def main() -> None:
    app()
