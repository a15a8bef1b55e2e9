"""The change feed: each write to a fact that engines hold in memory leaves a row in ``changes``, in its transaction.

A session records by itself what it inserts, updates and deletes. Statements that pass it by (an atomic UPDATE of a
balance) are refused in a session and must be followed by ``record_change`` on a connection.

A reader goes by ids, so they must appear in their order. On SQLite there is one writer at a time. On PostgreSQL a
transaction that draws a lower id may be committed after one that drew a higher: whoever writes a change first takes
the feed's lock, which PostgreSQL gives back as the transaction ends.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, event, func, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction, UOWTransaction

from engine.store.tables import (
    Account,
    Agent,
    Binding,
    Change,
    Department,
    Line,
    MinutesBucket,
    Rate,
    SipAccount,
    Table,
    Tenant,
    Trunk,
    XNumber,
)
from engine.store.tables.numbers import CarrierPermission, LinePermission, UsableLines
from engine.store.tables.orders import AgentSpendCap, MoneyRules
from engine.store.tables.velocity import VelocityAlarm

FED_TABLES: tuple[type[Table], ...] = (
    Tenant,
    Account,
    MoneyRules,
    Department,
    Agent,
    AgentSpendCap,
    VelocityAlarm,
    SipAccount,
    Trunk,
    Rate,
    Line,
    CarrierPermission,
    LinePermission,
    UsableLines,
    XNumber,
    MinutesBucket,
    Binding,
)
FED_ENTITIES = frozenset(table.__tablename__ for table in FED_TABLES)

CHANGES_KEPT_MS = 24 * 3600 * 1000
"""An engine that was away for longer reads everything anew."""
PRUNED_ROWS_MAX = 5_000
"""Rows that one pruning deletes at most: it must not hold the writer's place for long."""

_LOCK_KEY = 0x6178_6272_6964_6765  # "axbridge"; one number for all locks of a PostgreSQL database
_TAKE_LOCK = select(func.pg_advisory_xact_lock(_LOCK_KEY))


class ChangeFeedBypassed(Exception):
    """Our fault: a bulk statement in a session on a table that engines hold. Load and alter the objects instead."""


class FactSession(Session):
    """A session that feeds the changes. Its ``info["now_ms"]`` is the time they get."""


@event.listens_for(FactSession, "after_begin")
def _lock_at_begin(_session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    # At the beginning and not at the first change: who has a row and then wants the lock meets one who has the lock
    # and wants the row.
    if connection.dialect.name == "postgresql":
        connection.execute(_TAKE_LOCK)


@event.listens_for(FactSession, "after_flush")
def _record_flushed(session: Session, _context: UOWTransaction) -> None:
    rows = []
    for row in (*session.new, *session.dirty, *session.deleted):
        if not isinstance(row, FED_TABLES):
            continue
        if row in session.dirty and not session.is_modified(row):
            continue
        identity = inspect(row).mapper.primary_key_from_instance(row)
        rows.append(_change(row.__tablename__, identity[0], session.info["now_ms"]))
    if rows:
        session.connection().execute(insert(Change), rows)


@event.listens_for(FactSession, "do_orm_execute")
def _refuse_bulk(state: ORMExecuteState) -> None:
    if not (state.is_insert or state.is_update or state.is_delete):
        return
    target = getattr(getattr(state.statement, "table", None), "name", None)
    if target in FED_ENTITIES:
        raise ChangeFeedBypassed(f"a bulk statement on {target} tells no engine")


def _change(entity: str, entity_id: int | str, now_ms: int) -> dict[str, Any]:
    return {"entity": entity, "entity_id": str(entity_id), "at_ms": now_ms}


async def lock_feed(connection: AsyncConnection) -> None:
    """Waits until no other transaction is writing changes; held until ours ends."""
    if connection.dialect.name == "postgresql":
        await connection.execute(_TAKE_LOCK)


async def record_change(connection: AsyncConnection, entity: str, entity_id: int | str, now_ms: int) -> None:
    """Tells engines that row ``entity_id`` of table ``entity`` has changed, once the transaction is committed.

    An account goes by its tenant's id. Raises ValueError for a table that is not fed. Before it writes rows that a
    session may want too, a transaction calls ``lock_feed``.
    """
    if entity not in FED_ENTITIES:
        raise ValueError(f"{entity} is no entity of the change feed")
    await lock_feed(connection)
    await connection.execute(insert(Change), [_change(entity, entity_id, now_ms)])


async def prune_changes(connection: AsyncConnection, now_ms: int) -> int:
    """Deletes up to PRUNED_ROWS_MAX changes older than CHANGES_KEPT_MS; the count of them.

    The newest stays whatever its age: by it a reader sees whether it has missed something.
    """
    newest = select(func.max(Change.id)).scalar_subquery()
    old = (
        select(Change.id)
        .where(Change.at_ms < now_ms - CHANGES_KEPT_MS, Change.id < newest)
        .order_by(Change.id)
        .limit(PRUNED_ROWS_MAX)
    )
    return (await connection.execute(delete(Change).where(Change.id.in_(old)))).rowcount
