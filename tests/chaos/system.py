"""The system under test: ``axbridge serve`` with its supervisor in a folder of its own, and what can befall it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from engine.runtime.control.client import EngineControl, EngineUnavailable
from engine.runtime.control.protocol import Health, HealthReport
from engine.runtime.processes.spare import SPARE_OPTION
from engine.settings import Settings, read_settings
from scripts.benchmarks.installation import free_udp_port
from tests.chaos.wall_clock import WallClock
from tests.chaos.world import ENGINE_HOST
from tests.interop.ports import sockets_of

MEDIA_WORKERS = 2
RECOVERY_SECONDS_MAX = 40.0
STOP_SECONDS_MAX = 40.0
PROBE_SECONDS = 0.1
LEASE_MICRO = 20_000_000
"""Enough for a tenant's calls while the database is away, and little enough to be asked for all the time."""

_NAMES = {("engine", "engine"): "engine", ("-m", "admin_api"): "api"}


class NotRecovered(Exception):
    """It did not come up again in RECOVERY_SECONDS_MAX."""


class System:
    """``database_url`` is empty for SQLite. Journal and recordings lie on ``small_disk`` where one is given. ``push``
    is the configuration's section of that name."""

    def __init__(self, folder: Path, *, database_url: str = "", small_disk: Path | None = None, push: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.clock = WallClock(folder / "clock")
        # Short: a Unix socket's path has 107 octets at most (unix(7)).
        self.data = Path(tempfile.mkdtemp(prefix="axb-"))
        if small_disk is not None:
            for name in ("journal", "recordings"):
                (small_disk / name).mkdir()
                (self.data / name).symlink_to(small_disk / name)
        config = folder / "axbridge.toml"
        config.write_text(
            f'data_folder = "{self.data}"\n'
            # A quarter of the RFC's T1: 64 of them are 16 s, more than any process is stopped for.
            f'[sip]\nhost = "{ENGINE_HOST}"\nport = {free_udp_port(ENGINE_HOST)}\n'
            "t1_seconds = 0.25\nt2_seconds = 2.0\nt4_seconds = 2.0\n"
            "[calls]\nring_seconds_max = 30\n"
            # A SIPp that waits for an INVITE takes an OPTIONS for a broken call.
            "[trunks]\nping_seconds = 0\n"
            f'[media]\nworkers = {MEDIA_WORKERS}\nhost = "{ENGINE_HOST}"\nport_min = 36000\nport_max = 45999\n'
            f"[charging]\nslice_seconds = 4\nwarning_seconds = 1\nlease_micro = {LEASE_MICRO}\n"
            f'[store]\ndatabase_url = "{database_url}"\n'
            f'[api]\nhost = "{ENGINE_HOST}"\nport = {free_udp_port(ENGINE_HOST)}\n'
            f"{push}"
        )
        self.settings: Settings = read_settings(config, {})
        self._environment = {**os.environ, **self.clock.environment, "AXBRIDGE_CONFIG": str(config)}
        self._supervisor: subprocess.Popen[bytes] | None = None

    def load(self, provisioning: str) -> None:
        path = self.folder / "world.toml"
        path.write_text(provisioning)
        self._run("load", str(path))

    def start(self) -> None:
        """Raises NotRecovered."""
        with (self.folder / "supervisor.log").open("ab") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "engine", "serve"], env=self._environment, stdout=log, stderr=log
            )
        self.wait_until(self.is_whole, "the system")

    def stop(self) -> bool:
        """As an operator does; True if all ended of themselves. ``remove`` takes the data away."""
        if self._supervisor is None or self._supervisor.poll() is not None:
            return False
        self._supervisor.terminate()
        try:
            return self._supervisor.wait(STOP_SECONDS_MAX) == 0
        except subprocess.TimeoutExpired:
            for pid in [*self.process_ids().values(), self._supervisor.pid]:
                os.kill(pid, signal.SIGKILL)
            self._supervisor.wait()
            return False

    def remove(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)

    def process_ids(self) -> dict[str, int]:
        """Of the supervisor's processes that are there now: engine, api, media-0, media-1."""
        assert self._supervisor is not None
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                words = (entry / "cmdline").read_text().rstrip("\0").split("\0")
                comm = (entry / "comm").read_text().strip()
            except OSError:
                continue  # it ended meanwhile
            if int(stat[1]) == self._supervisor.pid and stat[0] != "Z" and (name := _name(words, comm)):
                found[name] = int(entry.name)
        return found

    def kill(self, name: str) -> bool:
        """kill -9; False if it is not there just now."""
        return self._signal(name, signal.SIGKILL)

    def copy_journal(self, folder: Path) -> None:
        """As it is now; a segment that goes meanwhile is left out."""
        folder.mkdir(parents=True, exist_ok=True)
        for segment in self.settings.journal_folder.glob("*.journal"):
            with suppress(FileNotFoundError):
                shutil.copy(segment, folder)

    def pause(self, name: str) -> bool:
        return self._signal(name, signal.SIGSTOP)

    def go_on(self, name: str) -> bool:
        return self._signal(name, signal.SIGCONT)

    def hand_over(self) -> subprocess.Popen[bytes]:
        """``axbridge restart``, which runs until the next engine is up."""
        return subprocess.Popen([sys.executable, "-m", "engine", "restart"], env=self._environment)

    def health(self) -> HealthReport | None:
        """None where no engine answers."""
        try:
            reply = asyncio.run(asyncio.wait_for(EngineControl(self.settings.control_socket).ask(Health()), 2.0))
        except (EngineUnavailable, TimeoutError):
            return None
        return reply if isinstance(reply, HealthReport) else None

    def answers_options(self) -> bool:
        """Whether SIP is answered, which it is from when the calls are taken up."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.bind(("127.0.0.4", 0))
            phone.settimeout(PROBE_SECONDS)
            host, port = phone.getsockname()
            token = os.urandom(6).hex()
            request = (
                f"OPTIONS sip:{ENGINE_HOST} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{token}\r\n"
                f"From: <sip:chaos@{host}>;tag={token}\r\nTo: <sip:{ENGINE_HOST}>\r\nCall-ID: {token}\r\n"
                "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            )
            try:
                phone.sendto(request.encode(), (ENGINE_HOST, self.settings.sip.port))
                return phone.recv(4096).startswith(b"SIP/2.0 200")
            except OSError:
                return False

    def answers_http(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{ENGINE_HOST}:{self.settings.api.port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def has_media(self) -> bool:
        report = self.health()
        return report is not None and report.media_workers == MEDIA_WORKERS

    def has_stored(self) -> bool:
        """Whether all records of the engine are in the database, or will be with its next writing."""
        report = self.health()
        return report is not None and report.counters["records_waiting"] < 10

    def is_whole(self) -> bool:
        return self.answers_options() and self.has_media() and self.answers_http()

    def drain(self, seconds_max: float) -> list[str]:
        """Waits for the calls' end; what is left then of calls, sessions, ports and money held."""
        deadline = time.monotonic() + seconds_max
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return left

    def _left(self) -> list[str]:
        report = self.health()
        if report is None:
            return ["no engine answers"]
        left = [f"{report.calls} calls are still in the engine"] if report.calls else []
        for name, pid in self.process_ids().items():
            if name.startswith("media") and (ports := sockets_of(pid)):
                left.append(f"{name} has {len(ports)} ports open")
        return left

    def wait_until(self, condition: Callable[[], bool], what: str) -> float:
        """The seconds that it took. Raises NotRecovered."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > RECOVERY_SECONDS_MAX:
                raise NotRecovered(f"{what} is not there after {RECOVERY_SECONDS_MAX} s")
            time.sleep(0.02)
        return time.monotonic() - began

    def _signal(self, name: str, number: signal.Signals) -> bool:
        pid = self.process_ids().get(name)
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def _run(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "engine", *arguments], env=self._environment, check=True, stdout=subprocess.DEVNULL
        )


def _name(words: list[str], comm: str) -> str | None:
    """What a command line is of: ``python -m engine engine``, ``python -m media.embedded.worker {"index":0,…}``. A
    spare calls itself by the name of what it serves as once it does."""
    if words[-1] == SPARE_OPTION:
        name = _name(words[:-1], comm)
        return name if name == comm else None
    if len(words) >= 4 and words[2] == "media.embedded.worker":
        index = words[3].partition('"index":')[2][:1]
        return f"media-{index}"
    if len(words) >= 5 and words[2:4] == ["engine", "media"]:
        return f"media-{words[5]}" if len(words) > 5 else None
    return _NAMES.get((words[-2], words[-1])) if len(words) >= 2 else None
