"""Starting axbridge's processes, all of them or one, and asking what runs.

What a process needs is imported as it starts: an engine that starts is waited for by its calls.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from engine.cli.demo import welcome
from engine.cli.invocation import ConfigOption, console, failure, run, settings_of
from engine.cli.provisioning import load_file
from engine.demo.world import DemoFault
from engine.runtime.control.client import EngineControl, EngineUnavailable
from engine.runtime.control.protocol import Health, HealthReport
from engine.runtime.logs import set_up_logs
from engine.runtime.processes.readiness import NotReady, hand_over, has_tenants
from engine.runtime.processes.spare import SPARE_OPTION, stand_by
from engine.runtime.processes.supervisor import ProcessPlan, Supervisor
from engine.settings import Settings, SettingsError, read_settings
from media.embedded.settings import WorkerSettings

commands = typer.Typer()

ENGINE_SPARES = 2
"""An engine that is killed as it takes over is followed as fast as the one before it: the second time, calls were
without an engine for up to 2.4 s."""
_API_COMMAND = (sys.executable, "-m", "admin_api")


@commands.command()
def serve(
    config: ConfigOption = None,
    demo: Annotated[
        Path | None,
        typer.Option(help="On an empty database, load this provisioning file and place a call.", show_default=False),
    ] = None,
) -> None:
    """Start everything on this machine: media workers, engine and API; start again whatever dies."""
    settings = settings_of(config)
    set_up_logs("supervisor", settings.log_level)
    is_first_start = demo is not None and not asyncio.run(has_tenants(settings))
    if demo is not None and is_first_start:
        asyncio.run(load_file(settings, demo))
    run(_serve(settings, demo, is_first_start=is_first_start))


async def _serve(settings: Settings, demo: Path | None, *, is_first_start: bool) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    supervisor = Supervisor(process_plans(settings), settings.data / "log")
    await supervisor.start()
    fault: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            greeting = group.create_task(welcome(settings, demo, is_first_start=is_first_start))
            await told.wait()
            greeting.cancel()
    except* (NotReady, DemoFault) as group_of_errors:
        fault = group_of_errors.exceptions[0]
    finally:
        await supervisor.stop()
    if fault is not None:  # raised above, it would come in a group before Python 3.11.4
        raise failure(str(fault)) from fault


def process_plans(settings: Settings) -> list[ProcessPlan]:
    """The processes of one machine. Media comes first: an engine without it refuses every call.

    Where a process needs nothing of this package, it is not started through it: importing it is three quarters of the
    time that calls wait for a media worker.
    """
    own = (sys.executable, "-m", "engine")
    media = [ProcessPlan(f"media-{index}", _worker_command(settings, index)) for index in range(settings.media.workers)]
    return [
        *media,
        ProcessPlan("engine", (*own, "engine"), (*own, "engine", SPARE_OPTION), ENGINE_SPARES),
        ProcessPlan("archive", (*own, "archive")),
        ProcessPlan("api", _API_COMMAND, spare_command=(*_API_COMMAND, SPARE_OPTION)),
    ]


@commands.command()
def engine(
    config: ConfigOption = None,
    spare: Annotated[
        bool, typer.Option(SPARE_OPTION, hidden=True, help="Import everything and wait for a line of input.")
    ] = False,
) -> None:
    """The engine alone: SIP, calls, charging, CDRs."""
    if spare:
        import engine.main  # noqa: F401 - what an engine's start would have to wait for
        from engine.store.database import open_database

        with suppress(SettingsError):  # it may be right again by then, and who ends at once is started anew for ever
            open_database(read_settings(config).database_url)  # the driver is imported here, and nothing connected to
        if not stand_by("engine"):
            return
    settings = settings_of(config)
    set_up_logs("engine", settings.log_level)
    from engine.main import run_engine

    try:
        run(run_engine(settings))
    except OSError as error:
        raise failure(f"the engine cannot start: {error}") from error


@commands.command()
def media(
    config: ConfigOption = None,
    index: Annotated[int, typer.Option(min=0, help="Which of the media workers this one is.")] = 0,
) -> None:
    """One media worker: relays and records RTP. It outlives an engine's restart."""
    settings = settings_of(config)
    if index >= settings.media.workers:
        raise failure(f"--index {index}: media.workers is {settings.media.workers}")
    # In place of this process: its loop is not asyncio's, and it needs none of what was imported here.
    os.execv(sys.executable, _worker_command(settings, index))


def _worker_command(settings: Settings, index: int) -> tuple[str, ...]:
    worker = worker_settings(settings, index)
    Path(worker.socket_path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return (sys.executable, "-m", "media.embedded.worker", msgspec.json.encode(worker).decode())


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


@commands.command()
def api(config: ConfigOption = None) -> None:
    """The API alone: platform, tenant and agent routes, webhooks, recordings."""
    settings_of(config)
    # Another process image, because the engine's package knows nothing of the API's.
    os.execv(sys.executable, _API_COMMAND)


@commands.command()
def archive(config: ConfigOption = None) -> None:
    """The keeper of closed recordings alone: manifests, storage, retention, room on the disk. One a machine."""
    settings = settings_of(config)
    set_up_logs("archive", settings.log_level)
    run(_archive(settings))


async def _archive(settings: Settings) -> None:
    import time

    from engine.archive.bucket import Bucket, StorageFault
    from engine.archive.disk import Disk
    from engine.archive.librarian import Librarian, run_librarian
    from engine.store.database import open_database

    try:
        bucket = Bucket(settings.recordings.storage) if settings.recordings.storage else None
    except StorageFault as error:
        raise failure(f"recordings.storage cannot be used: {error}") from error
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


@commands.command()
def restart(config: ConfigOption = None) -> None:
    """Replace the running engine, after an upgrade say, by a new one that goes on with its calls. It must be started
    again by whoever keeps it alive: `axbridge serve` does, and so does systemd with Restart=always."""
    settings = settings_of(config)
    try:
        asyncio.run(hand_over(settings))
    except (EngineUnavailable, NotReady) as error:
        raise failure(str(error)) from error


@commands.command()
def status(config: ConfigOption = None) -> None:
    """What the running engine says of itself. Exit code 1 if there is none."""
    settings = settings_of(config)
    try:
        reply = asyncio.run(EngineControl(settings.control_socket).ask(Health()))
    except EngineUnavailable as error:
        raise failure(str(error)) from error
    if isinstance(reply, HealthReport):
        console.print_json(msgspec.json.encode(reply).decode())
