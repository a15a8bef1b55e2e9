"""A private PostgreSQL for the tests: its own folder and port, nobody else's cluster is touched."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from scripts.benchmarks.installation import free_udp_port

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 20.0
USER = "axbridge"
TEMPLATE = "migrated"


def _program(name: str) -> str:
    """Debian keeps the server's programs out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if found:
        return str(found[-1])
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is not there: apt-get install postgresql")
    return path


class Cluster:
    """Started by ``start``; may be killed and started again. Nothing is synced to the disk: the tests pull no plug."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="axbridge-postgresql-"))
        self._data = self._folder / "data"
        self._as_user: dict[str, Any] = {"cwd": self._folder}
        if os.geteuid() == 0:  # the server refuses to run as root
            owner = pwd.getpwnam("postgres")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
            self._as_user |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        self.port = free_udp_port("127.0.0.1")
        self._server: subprocess.Popen[bytes] | None = None
        self._names = count(1)
        arguments = ("-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync", "-D", str(self._data))
        subprocess.run([_program("initdb"), *arguments], check=True, capture_output=True, **self._as_user)

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": 200,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [_program("postgres"), "-D", str(self._data), *options], stdout=log, stderr=log, **self._as_user
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while self._run("pg_isready", check=False) != 0:
            if time.monotonic() > deadline or self._server.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start:\n{(self._folder / 'log').read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGINT)  # "fast": does not wait for clients
            self._server.wait(STOP_SECONDS_MAX)

    def kill(self) -> None:
        """As a crash ends it. Its workers see that it is gone and end too; ``start`` waits for them."""
        if self._server is not None and self._server.poll() is None:
            self._server.kill()
            self._server.wait()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def create(self, name: str | None = None, *, template: str = "template0") -> str:
        """A new database's name."""
        name = name or f"test_{next(self._names)}"
        self._run("createdb", "-T", template, name)
        return name

    def drop(self, name: str) -> None:
        self._run("dropdb", "--force", "--if-exists", name)

    def url(self, name: str) -> str:
        return f"postgresql+asyncpg://{USER}@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        command = [_program(program), "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, *arguments]
        return subprocess.run(command, check=check, capture_output=True).returncode


class Restorable:
    """A database that each test gets as it was when this was made: 5 ms, where to drop it and copy another took 170.

    What is restored are rows and sequences. A test that alters tables needs a database of its own.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.url = cluster.url(name)
        self._loop = asyncio.new_event_loop()
        self._connection: asyncpg.Connection[Any] = self._loop.run_until_complete(
            asyncpg.connect(self.url.replace("+asyncpg", ""))
        )
        self._restore = self._loop.run_until_complete(self._keep())

    async def _keep(self) -> str:
        """Copies all rows, and returns the statements that bring them back."""
        rows = await self._connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [row["tablename"] for row in rows]
        await self._connection.execute("CREATE SCHEMA kept")
        for table in tables:
            await self._connection.execute(f"CREATE TABLE kept.{table} AS TABLE public.{table}")
        sequences = await self._connection.fetch(
            "SELECT sequencename, coalesce(last_value, 1) AS value, last_value IS NOT NULL AS called"
            " FROM pg_sequences WHERE schemaname = 'public'"
        )
        return ";".join(
            [
                # Whoever is left of the test before may hold locks.
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
                "SET session_replication_role = replica",  # neither triggers nor foreign keys look on
                *(f"DELETE FROM public.{table}" for table in tables),
                *(f"INSERT INTO public.{table} SELECT * FROM kept.{table}" for table in tables),
                *(
                    f"SELECT setval('public.{row['sequencename']}', {row['value']}, {row['called']})"
                    for row in sequences
                ),
            ]
        )

    def restore(self) -> None:
        self._loop.run_until_complete(self._connection.execute(self._restore))

    def close(self) -> None:
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()
