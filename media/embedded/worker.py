"""One media process: ``python -m media.embedded.worker '<settings as JSON>'``.

Runs until SIGTERM or SIGINT and then closes every recording so that it plays. Exit codes: 0 after a signal, 2 for
settings that cannot work or a socket that is taken.
"""

from __future__ import annotations

import logging
import os
import resource
import secrets
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from media.embedded.control import ControlSocket
from media.embedded.desk import Desk
from media.embedded.recording_writer import RecordingWriter
from media.embedded.relay import Relay
from media.embedded.settings import WorkerSettings, read_settings
from media.errors import MalformedSettings

log = logging.getLogger("media.worker")

WRITER_SECONDS_MAX: Final = 10.0
"""How long the end of the process waits for the disk to take the recordings' last seconds."""


def run(settings: WorkerSettings) -> None:
    """Serve until a signal comes. Raises OSError where sockets or the control path cannot be had."""
    _set_descriptor_limit(settings.descriptors_max)
    relay = Relay(time.monotonic, settings.descriptors_max)
    # The hash thread and signals wake the loop through this pipe's ends.
    wake_in, wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    writer = RecordingWriter(wake=lambda: _wake(wake_out), clock=time.monotonic)
    desk = Desk(
        settings,
        relay,
        writer,
        emit=lambda event, now: control.emit(event, now),
        engine_connected=lambda: control.connected,
        random_bits=secrets.randbits,
    )
    # Each command has a time of its own: between two of them the disk, or the machine, may stand still.
    control = ControlSocket(
        Path(settings.socket_path), relay, lambda command: desk.execute(command, time.monotonic()), desk.engine_came
    )

    def woken(now: float) -> None:
        os.read(wake_in, 4096)
        for event in writer.finished():
            control.emit(event, now)

    relay.watch(wake_in, woken)

    def stop(_number: int, _frame: FrameType | None) -> None:
        relay.stopping = True
        _wake(wake_out)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("worker %d: ready, ports %d to %d", settings.index, settings.port_min, settings.port_max)
    relay.run()
    desk.end_all(time.monotonic())
    writer.close(WRITER_SECONDS_MAX)
    for event in writer.finished():
        control.emit(event, time.monotonic())
    control.close()
    log.info(
        "worker %d: ended; %d sends, %d receives and %d flushes failed",
        settings.index, relay.send_errors, relay.receive_errors, relay.flush_failures,
    )  # fmt: skip


def _wake(descriptor: int) -> None:
    try:
        os.write(descriptor, b"\0")
    except BlockingIOError:  # full of wake-ups that are yet to be read
        return


def _set_descriptor_limit(wanted: int) -> None:
    """Allow exactly what the relay's table has room for: beyond it the kernel refuses, and the caller of it says so."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    if hard < wanted:
        log.warning("only %d descriptors may be open, calls_max needs %d", hard, wanted)


def main(arguments: list[str]) -> int:
    """Run with one argument, the settings. Returns the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_settings(arguments[0] if arguments else "{}")
        run(settings)
    except (MalformedSettings, OSError) as error:
        log.error("cannot start: %s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
