"""An axbridge of the tests' own: engine and one media worker as processes, free ports, short timers, its own folder."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.runtime.control.client import EngineControl, EngineUnavailable
from engine.runtime.control.protocol import (
    Calls,
    ControlCommand,
    ControlReply,
    HandOver,
    Health,
    HealthReport,
    ListCalls,
    Reload,
)
from engine.services.provisioning import load
from engine.settings import Settings, read_settings
from engine.store.database import open_database
from scripts.benchmarks.installation import free_udp_port
from tests.interop.ports import sockets_of

READY_SECONDS_MAX = 30.0
MEDIA_PORTS = 400

T1_SECONDS = 0.1
"""A fifth of the RFC's: what waits 64 × T1 for its end waits 6.4 s and not 32."""
RING_SECONDS_MAX = 2.0
SLICE_SECONDS = 2
WARNING_SECONDS = 1.0

_Result = TypeVar("_Result")


def wait_for(what: str, condition: Callable[[], _Result | None], seconds: float = 5.0) -> _Result:
    """The first result that is true. Raises AssertionError, which says what did not come, when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


class Site:
    """Started by ``start``; ``kill_engine`` and ``start_engine`` for those who test that."""

    def __init__(
        self,
        folder: Path,
        *,
        digest_offered_first: str = "SHA-256",
        rtp_timeout_seconds: float = 30.0,
        calls_max: int = 100,
        ping_seconds: float = 0.0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.host, self.host_ipv6 = "127.0.0.1", "::1"
        self.sip_port = free_udp_port(self.host)
        media_port_min = random.randrange(20_000, 32_000, MEDIA_PORTS)
        # Of its own and short: a Unix socket's path has 107 octets at most (unix(7)), and pytest's folders are deep.
        self._data = Path(tempfile.mkdtemp(prefix="axb-"))
        config = folder / "axbridge.toml"
        config.write_text(
            f'data_folder = "{self._data}"\n'
            f'[sip]\nhost = "{self.host}"\nhost_ipv6 = "{self.host_ipv6}"\nport = {self.sip_port}\n'
            f'digest_offered_first = "{digest_offered_first}"\n'
            f"t1_seconds = {T1_SECONDS}\nt2_seconds = {T1_SECONDS * 8}\nt4_seconds = 0.5\n"
            f"[calls]\ncalls_max = {calls_max}\nring_seconds_max = {RING_SECONDS_MAX}\n"
            # A SIPp that waits for an INVITE takes an OPTIONS for a broken call.
            f"[trunks]\nping_seconds = {ping_seconds}\n"
            f'[media]\nworkers = 1\nhost = "{self.host}"\nhost_ipv6 = "{self.host_ipv6}"\n'
            f"port_min = {media_port_min}\nport_max = {media_port_min + MEDIA_PORTS - 1}\nquarantine_seconds = 0.5\n"
            f"rtp_timeout_seconds = {rtp_timeout_seconds}\n"
            f"[charging]\nslice_seconds = {SLICE_SECONDS}\nwarning_seconds = {WARNING_SECONDS}\n"
            "[store]\nwrite_interval_ms = 100\nchange_poll_ms = 100\n"
        )
        self.settings: Settings = read_settings(config, {})
        self._environment = {**os.environ, "AXBRIDGE_CONFIG": str(config)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Media and engine, at first or after both were killed."""
        self._processes["media"] = self._launch("media", "--index", "0")
        self.start_engine()

    def start_engine(self) -> None:
        self._processes["engine"] = self._launch("engine")
        wait_for("engine up", self._is_ready, READY_SECONDS_MAX)

    def start_media(self) -> None:
        self._processes["media"] = self._launch("media", "--index", "0")
        wait_for("the media worker is there", self._is_ready, READY_SECONDS_MAX)

    def kill_media(self) -> None:
        media = self._processes["media"]
        media.kill()
        media.wait()

    def pause_media(self) -> None:
        self._processes["media"].send_signal(signal.SIGSTOP)

    def resume_media(self) -> None:
        self._processes["media"].send_signal(signal.SIGCONT)

    def stop_engine(self) -> int:
        """As an operator does: SIGTERM; its exit code."""
        engine = self._processes["engine"]
        engine.terminate()
        return engine.wait(timeout=15)

    def kill_engine(self) -> None:
        """As a crash ends it: at once, with nothing written and nobody told."""
        engine = self._processes["engine"]
        engine.kill()
        engine.wait()

    def hand_over(self) -> None:
        """The engine ends and leaves its calls to the next one."""
        self.ask(HandOver())
        assert self._processes["engine"].wait(timeout=15) == 0

    def stop(self) -> dict[str, int]:
        """Ends all processes and removes their data, but for the logs; the exit codes."""
        codes = {}
        for name, process in reversed(list(self._processes.items())):
            process.terminate()
            try:
                codes[name] = process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        shutil.rmtree(self._data, ignore_errors=True)
        return codes

    def log_files(self) -> list[Path]:
        return sorted(self.folder.glob("*.log"))

    def load(self, provisioning: str) -> None:
        """Loads a provisioning file, and returns when the engine acts on it."""
        path = self.folder / "world.toml"
        path.write_text(provisioning)

        async def apply(database: AsyncEngine) -> None:
            await load(path, database, now_ms=int(time.time() * 1000), realm=self.settings.sip.realm)

        self.write(apply)

    def write(self, change: Callable[[AsyncEngine], Coroutine[Any, Any, _Result]]) -> _Result:
        """Changes facts in the database as another process would, and returns when the engine acts on them."""

        async def run() -> _Result:
            database = open_database(self.settings.database_url)
            try:
                return await change(database)
            finally:
                await database.dispose()

        result = asyncio.run(run())
        self.ask(Reload())
        return result

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """What the database holds now."""
        path = self.settings.database_url.partition(":///")[2]
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, parameters)]
        finally:
            connection.close()

    def ledger(self, tenant_id: int) -> list[dict[str, Any]]:
        """A tenant's entries with their causes, oldest first."""
        return self.rows(
            "SELECT * FROM ledger_entries JOIN ledger_transactions ON id = transaction_id"
            " WHERE account_id = ? ORDER BY id",
            tenant_id,
        )

    def ask(self, command: ControlCommand) -> ControlReply:
        return asyncio.run(EngineControl(self.settings.control_socket).ask(command))

    def status(self) -> HealthReport:
        reply = self.ask(Health())
        assert isinstance(reply, HealthReport)
        return reply

    def live_calls(self, tenant_id: int) -> Calls:
        reply = self.ask(ListCalls(tenant_id))
        assert isinstance(reply, Calls)
        return reply

    def media_sockets(self) -> int:
        """UDP sockets that the media worker has open: two for each leg, and one more once it is latched."""
        return len(sockets_of(self._processes["media"].pid))

    def assert_running(self) -> None:
        for name, process in self._processes.items():
            assert process.poll() is None, f"{name} has ended with {process.returncode}"

    def _is_ready(self) -> bool:
        assert self._processes["engine"].poll() is None, (self.folder / "engine.log").read_text()
        try:
            return self.status().media_workers == 1
        except EngineUnavailable:
            return False

    def _launch(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "engine", name, *arguments], env=self._environment, stdout=log, stderr=log
            )
