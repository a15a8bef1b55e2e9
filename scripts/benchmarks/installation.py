"""A throw-away installation for benchmarks: its own folder, free ports, engine and media workers as processes."""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.runtime.processes.spare import SPARE_OPTION
from engine.settings import Settings, read_settings
from scripts.benchmarks.usage import cpu_seconds, resident_kb

READY_SECONDS_MAX = 20.0
PORTS_NEVER_EPHEMERAL = range(61_000, 65_536)  # Linux gives 32,768 to 60,999 unless told otherwise: ip(7)
OWN_CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Usage:
    """Of one process: CPU seconds since its start, and resident memory in kB."""

    cpu_seconds: float
    rss_kb: int


@dataclass(frozen=True)
class Installation:
    folder: Path
    settings: Settings
    process_ids: dict[str, int]
    command: list[str]
    checkout: Path

    def usage(self, name: str) -> Usage:
        pid = self.process_ids[name]
        return Usage(cpu_seconds(pid), resident_kb(pid))

    def start_engine(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        """In the place of one that has been killed; who calls this ends it."""
        command = [*self.command, "engine"]
        engine = subprocess.Popen(command, cwd=self.checkout, env=self._environment(), stdout=log, stderr=log)
        self.process_ids["engine"] = engine.pid
        return engine

    def start_spare(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        """An engine that waits for TURN on its standard input, when it is ready to. Who calls this ends it."""
        command = [sys.executable, "-m", "engine", "engine", SPARE_OPTION]
        spare = subprocess.Popen(command, env=self._environment(), stdin=subprocess.PIPE, stdout=log, stderr=log)
        name = Path(f"/proc/{spare.pid}/comm")
        while name.read_text().strip() != "spare engine":
            time.sleep(0.05)
        return spare

    def status(self) -> dict[str, object]:
        """The engine's own health report."""
        output = subprocess.run(
            [*self.command, "status"],
            cwd=self.checkout,
            env=self._environment(),
            capture_output=True,
            check=True,
            timeout=30,
        ).stdout
        return json.loads(output)  # type: ignore[no-any-return]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "AXBRIDGE_CONFIG": str(self.folder / "axbridge.toml")}


def free_udp_port(host: str = "127.0.0.1") -> int:
    """A port that is free for UDP and for TCP: an engine opens both at one number.

    It is none that the kernel gives to a socket without one: whoever is told the port binds it seconds later, and a
    resolver's or a client's socket must not sit on it by then. Raises OSError where none is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    first = random.SystemRandom().randrange(len(PORTS_NEVER_EPHEMERAL))
    for offset in range(len(PORTS_NEVER_EPHEMERAL)):
        port = PORTS_NEVER_EPHEMERAL[(first + offset) % len(PORTS_NEVER_EPHEMERAL)]
        with socket.socket(family, socket.SOCK_DGRAM) as udp, socket.socket(family, socket.SOCK_STREAM) as tcp:
            try:
                udp.bind((host, port))
                tcp.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError(f"no port of {PORTS_NEVER_EPHEMERAL} is free on {host}")


@contextmanager
def installation(
    configuration: str,
    provisioning: str,
    *,
    media_workers: int = 1,
    media: str = "",
    checkout: Path | None = None,
) -> Iterator[Installation]:
    """Loads ``provisioning``, starts media workers and the engine, and ends them and their folder afterwards.

    ``media`` is more for the configuration's section of that name. ``checkout`` is another one's folder than ours, with
    its environment in ``.venv``.
    Raises TimeoutError where the engine does not come up.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory(prefix="axbridge-bench-") as name:
        folder = Path(name)
        config = folder / "axbridge.toml"
        config.write_text(
            f'data_folder = "{folder}/data"\n{configuration}\n[media]\nworkers = {media_workers}\n'
            f"calls_per_worker_max = 10000\nport_min = 36000\nport_max = 60999\nquarantine_seconds = 0.5\n{media}\n"
        )
        (folder / "world.toml").write_text(provisioning)
        environment = {**os.environ, "AXBRIDGE_CONFIG": str(config)}
        python = sys.executable if checkout is None else str(checkout / ".venv/bin/python")
        own = [python, "-m", "engine"]
        where = checkout or OWN_CHECKOUT
        subprocess.run(
            [*own, "load", str(folder / "world.toml")], cwd=where, env=environment, check=True, stdout=sys.stderr
        )
        processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for index in range(media_workers):
                command = [*own, "media", "--index", str(index)]
                processes[f"media-{index}"] = _start(command, where, environment, folder / f"media-{index}.log")
            processes["engine"] = _start([*own, "engine"], where, environment, folder / "engine.log")
            made = Installation(
                folder,
                read_settings(config),
                {name: process.pid for name, process in processes.items()},
                own,
                where,
            )
            _wait_until_ready(made, media_workers)
            yield made
        finally:
            for process in reversed(list(processes.values())):
                process.terminate()
                try:
                    process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            log = folder / "engine.log"
            if log.exists():
                troubles = [line for line in log.read_text().splitlines() if '"error"' in line or "Traceback" in line]
                for line in troubles[:20]:
                    print(line, file=sys.stderr)


def _start(command: list[str], checkout: Path, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(command, cwd=checkout, env=environment, stdout=output, stderr=output)


def _wait_until_ready(made: Installation, media_workers: int) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            if made.status()["media_workers"] == media_workers:
                return
        except subprocess.CalledProcessError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"the engine did not come up:\n{(made.folder / 'engine.log').read_text()}")
