"""A start waits for a database that is away, and for nothing else."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from engine.store.availability import await_database, is_away
from scripts.benchmarks.installation import free_udp_port
from tests.postgresql import Cluster

PATIENCE_SECONDS = 20.0


def url_at(cluster: Cluster, port: int, name: str = "postgres") -> str:
    return cluster.url(name).replace(f":{cluster.port}/", f":{port}/")


async def test_postgresql_that_comes_back_is_waited_for(postgresql: Cluster) -> None:
    port = free_udp_port()
    waiting = asyncio.create_task(await_database(url_at(postgresql, port), PATIENCE_SECONDS))
    await asyncio.sleep(0.5)
    assert not waiting.done()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", postgresql.port)
        await asyncio.gather(carry(reader, back), carry(there, writer))

    async with await asyncio.start_server(lead, "127.0.0.1", port):
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)


async def test_postgresql_that_stays_away_is_given_up(postgresql: Cluster) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(ConnectionRefusedError):
        await await_database(url_at(postgresql, free_udp_port()), 0.4)
    assert loop.time() - began >= 0.4


async def test_postgresql_that_has_no_such_database_is_not_waited_for(postgresql: Cluster) -> None:
    with pytest.raises(DBAPIError, match="does not exist"):
        await asyncio.wait_for(await_database(postgresql.url("nobody_made_it"), 3600), PATIENCE_SECONDS)


async def test_a_file_is_there(tmp_path: Path) -> None:
    await await_database(f"sqlite+aiosqlite:///{tmp_path}/axbridge.db", 0)


class Said(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize(("sqlstate", "away"), [("57P03", True), ("57P01", True), ("28P01", False), (None, False)])
def test_a_server_that_starts_or_stops_is_away_and_one_that_refuses_a_password_is_not(
    sqlstate: str | None, away: bool
) -> None:
    assert is_away(DBAPIError("SELECT", None, Said(sqlstate))) is away
