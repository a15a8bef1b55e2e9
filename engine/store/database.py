"""Opening the database, and the two ways to use it: reading and writing.

SQLite is the database of a single machine, in WAL mode: readers never wait for the writer, and there is one writer at
a time. PostgreSQL (``postgresql+asyncpg://…``) is for several machines: who writes single rows by atomic statements
(``writing``) waits for these rows alone; who writes facts (``writing_session``) waits for his turn, as on SQLite.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, PrimaryKeyConstraint, UniqueConstraint, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from engine.store.access.audit import Actor
from engine.store.change_feed import FactSession
from engine.store.isolation import TENANT
from engine.store.money import rate_store  # noqa: F401 - whoever writes a rate plan leaves a version of it
from engine.store.tables import Table

BUSY_TIMEOUT_MS = 10_000
"""How long a writer waits for its turn; a whole provisioning file is one transaction."""
POOL_CONNECTIONS_MAX = 20
"""Connections kept and opened at most by one process; who wants one more waits POOL_WAIT_SECONDS_MAX."""
POOL_WAIT_SECONDS_MAX = 30

CONNECT_SECONDS_MAX = 5
FINISH_SECONDS_MAX = 3.0
"""A batch of records takes milliseconds, and a process that is to end has ten seconds for all."""
STATEMENT_SECONDS_MAX = 60
"""A database that takes a statement and never answers is away: what waits for it is tried again."""

Result = TypeVar("Result")

_BEGIN = "axbridge_begin"


def open_database(database_url: str, *, foreign_keys: bool = True) -> AsyncEngine:
    """An engine for ``database_url``. Makes a SQLite file's folder, for its owner only; opens no connection yet.

    Errors show no parameters: they may be phone numbers. ``foreign_keys=False`` is for migrations alone: SQLite alters
    a table by making it anew.
    """
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return create_async_engine(
            url,
            pool_size=POOL_CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=POOL_WAIT_SECONDS_MAX,
            # A connection that died with its server is found dead before it is used: 0.1 ms a transaction.
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"timeout": CONNECT_SECONDS_MAX, "command_timeout": STATEMENT_SECONDS_MAX},
        )
    in_file = bool(url.database) and url.database != ":memory:"
    if in_file and url.database:
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pool: dict[str, Any] = {}
    if in_file:
        pool = {"pool_size": POOL_CONNECTIONS_MAX, "max_overflow": 0, "pool_timeout": POOL_WAIT_SECONDS_MAX}
    engine = create_async_engine(url, hide_parameters=True, **pool)

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        # The driver would begin a transaction by itself, too late and always DEFERRED.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        # NORMAL may lose the last commits in a power cut, and a recharge that was answered must not be lost.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A DEFERRED transaction that reads and then writes fails at once with SQLITE_BUSY where another has written in
        # between (https://sqlite.org/lang_transaction.html); IMMEDIATE waits for its turn first.
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, 'IMMEDIATE')}")

    return engine


def _for_reading(engine: AsyncEngine) -> AsyncEngine:
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_BEGIN: "DEFERRED"})
    # READ COMMITTED would show each statement another state.
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection that sees one state of the database throughout, and waits for no writer."""
    async with _for_reading(engine).connect() as connection, connection.begin():
        yield connection


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction that is committed at the end, or undone by an exception.

    Core statements pass the change feed by: follow them with ``record_change``.
    """
    async with engine.begin() as connection:
        yield connection


async def uninterrupted(work: Coroutine[Any, Any, Result]) -> Result:
    """Awaits a transaction; who is cancelled meanwhile lets it end first, for FINISH_SECONDS_MAX.

    A statement that is cancelled in aiosqlite's thread leaves its transaction open, and the database locked, until the
    garbage collector comes by: a stopping engine waited for itself for BUSY_TIMEOUT_MS, and stored nothing.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,), timeout=FINISH_SECONDS_MAX)
        if not task.cancel() and (error := task.exception()) is not None:
            raise error from None
        raise


@asynccontextmanager
async def reading_session(engine: AsyncEngine, tenant_id: int | None = None) -> AsyncIterator[AsyncSession]:
    """A session that reads one state of the database; what is added to it is not kept.

    With ``tenant_id`` it is that tenant's: ``engine.store.isolation``.
    """
    async with AsyncSession(
        _for_reading(engine), autoflush=False, expire_on_commit=False, info={TENANT: tenant_id}
    ) as session:
        yield session


@asynccontextmanager
async def writing_session(engine: AsyncEngine, now_ms: int, actor: Actor | None = None) -> AsyncIterator[AsyncSession]:
    """A session in a transaction that is committed at the end, or undone by an exception; it feeds the changes.

    One at a time: what a session reads before it writes is still so when it writes. What ``actor`` changes is in the
    audit log, and if he is a tenant's he reaches that tenant alone; without one it is a machine's work.
    """
    info = {"now_ms": now_ms, "actor": actor, TENANT: None if actor is None else actor.tenant_id}
    async with (
        AsyncSession(engine, sync_session_class=FactSession, expire_on_commit=False, info=info) as session,
        session.begin(),
    ):
        yield session


_SQLITE_TAKEN = re.compile(r"UNIQUE constraint failed: ([\w., ]+)")
_POSTGRESQL_TAKEN = re.compile(r'violates unique constraint "(\w+)"')


def taken_columns(error: IntegrityError) -> list[str]:
    """The columns whose values are there already; empty where the database refused something else."""
    text = str(error.orig)
    if (found := _SQLITE_TAKEN.search(text)) is not None:
        return [column.strip().partition(".")[2] for column in found[1].split(",")]
    if (found := _POSTGRESQL_TAKEN.search(text)) is not None:
        for table in Table.metadata.sorted_tables:
            for constraint in table.constraints:
                if constraint.name == found[1] and isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint):
                    return [column.name for column in constraint.columns]
    return []
