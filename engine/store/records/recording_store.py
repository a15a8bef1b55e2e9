"""Where recordings lie: filed once they are safe on their disk, carried to the storage, listed in manifests.

Each machine cares for what was recorded to its own disk: rows of its ``engine_id``, and those of before that was known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from engine.store.records.cdr_store import AnyRow
from engine.store.tables import Cdr, Recording, RecordingDeletion, RecordingManifest

ROWS_MAX = 200
"""Rows of one batch."""

Connection = AsyncConnection | AsyncSession


class Place(StrEnum):
    DISK = "disk"
    BOTH = "both"
    """In the storage, and still on the disk."""
    STORAGE = "storage"


RECORDING_COLUMNS = tuple(Recording.__table__.columns)


def own(engine_id: str) -> ColumnElement[bool]:
    return Recording.engine_id.in_((engine_id, ""))


def folder_of(path: str) -> str:
    """The folder of a recording, which is the day of its call: ``2026/11/23``."""
    return path.rpartition("/")[0]


async def unfiled(connection: Connection, engine_id: str, *, after: str = "") -> Sequence[AnyRow]:
    """A page of recordings that nobody has looked at yet, with their CDR's tenant, agent and start."""
    statement = (
        select(
            Recording.cdr_id,
            Recording.path,
            Recording.engine_id,
            Recording.duration_ms,
            Recording.size_octets,
            Recording.sha256,
            Recording.gaps_ms,
            Cdr.tenant_id,
            Cdr.agent_id,
            Cdr.started_at_ms,
        )
        .join(Cdr, Cdr.id == Recording.cdr_id)
        .where(Recording.tenant_id.is_(None), Cdr.tenant_id.is_not(None), own(engine_id), Recording.cdr_id > after)
        .order_by(Recording.cdr_id)
        .limit(ROWS_MAX)
    )
    return (await connection.execute(statement)).all()


async def file(connection: Connection, row: AnyRow, measured: dict[str, Any], now_ms: int) -> None:
    """Files a row of ``unfiled``; ``measured`` are columns that were found to be otherwise."""
    statement = update(Recording).where(Recording.cdr_id == row.cdr_id, Recording.tenant_id.is_(None))
    values = {"tenant_id": row.tenant_id, "agent_id": row.agent_id, "started_at_ms": row.started_at_ms}
    await connection.execute(statement.values(**values, **measured))
    await manifests_changed(connection, [(row.engine_id, folder_of(row.path), row.tenant_id)], now_ms)


async def at_place(connection: Connection, engine_id: str, place: Place, *, after: str = "") -> Sequence[AnyRow]:
    """A page of filed recordings that lie at ``place``, oldest first."""
    statement: Any = (
        select(*RECORDING_COLUMNS)
        .where(own(engine_id), Recording.place == place, Recording.cdr_id > after, Recording.tenant_id.is_not(None))
        .order_by(Recording.cdr_id)
        .limit(ROWS_MAX)
    )
    return (await connection.execute(statement)).all()


async def set_place(connection: Connection, row: AnyRow, before: Place, after: Place, now_ms: int) -> bool:
    """False if the row is gone or lies elsewhere by now."""
    statement = update(Recording).where(Recording.cdr_id == row.cdr_id, Recording.place == before)
    result: Any = await connection.execute(statement.values(place=after))
    changed = bool(result.rowcount == 1)
    if changed:
        await manifests_changed(connection, [(row.engine_id, folder_of(row.path), row.tenant_id)], now_ms)
    return changed


async def lost_recordings(connection: Connection, from_ms: int, to_ms: int) -> Sequence[AnyRow]:
    """(id, recording_path, answered_at_ms, ended_at_ms) of CDRs begun in between that should have a recording and have
    neither one nor its deletion."""
    statement = (
        select(Cdr.id, Cdr.recording_path, Cdr.answered_at_ms, Cdr.ended_at_ms)
        .outerjoin(Recording, Recording.cdr_id == Cdr.id)
        .outerjoin(RecordingDeletion, RecordingDeletion.cdr_id == Cdr.id)
        .where(
            Cdr.started_at_ms >= from_ms,
            Cdr.started_at_ms < to_ms,
            Cdr.state == "ended",
            Cdr.answered_at_ms.is_not(None),
            Cdr.recording_path.is_not(None),
            Recording.cdr_id.is_(None),
            RecordingDeletion.cdr_id.is_(None),
        )
        .order_by(Cdr.started_at_ms)
        .limit(ROWS_MAX)
    )
    return (await connection.execute(statement)).all()


# Manifests ------------------------------------------------------------------------------------------------------------


def _insert(connection: Connection, table: Any) -> Any:
    name = connection.dialect.name if isinstance(connection, AsyncConnection) else connection.get_bind().dialect.name
    return (sqlite if name == "sqlite" else postgresql).insert(table)


async def manifests_changed(connection: Connection, keys: Iterable[tuple[str, str, int]], now_ms: int) -> None:
    """``keys`` are (engine_id, folder, tenant_id). In the transaction of what has changed."""
    rows = [
        {"engine_id": engine_id, "folder": folder, "tenant_id": tenant_id, "changed_at_ms": now_ms, "written_at_ms": 0}
        for engine_id, folder, tenant_id in sorted(set(keys))
    ]
    if not rows:
        return
    insert = _insert(connection, RecordingManifest)
    # Also where the clock stands still: what is as new as the writing is written again.
    later = {"changed_at_ms": insert.excluded.changed_at_ms}
    key = ["engine_id", "folder", "tenant_id"]
    await connection.execute(insert.on_conflict_do_update(index_elements=key, set_=later), rows)


async def manifests_due(connection: Connection, engine_id: str, written_before_ms: int) -> Sequence[AnyRow]:
    """(engine_id, folder, tenant_id, changed_at_ms) of manifests that have changed, the longest unwritten first."""
    table = RecordingManifest
    statement = (
        select(table.engine_id, table.folder, table.tenant_id, table.changed_at_ms)
        .where(
            table.engine_id.in_((engine_id, "")),
            table.changed_at_ms >= table.written_at_ms,
            table.written_at_ms < written_before_ms,
        )
        .order_by(table.written_at_ms, table.folder, table.tenant_id)
        .limit(ROWS_MAX)
    )
    return (await connection.execute(statement)).all()


async def manifest_written(connection: Connection, due: AnyRow, now_ms: int) -> None:
    """``now_ms`` is of before its rows were read."""
    table = RecordingManifest
    statement = update(table).where(
        table.engine_id == due.engine_id, table.folder == due.folder, table.tenant_id == due.tenant_id
    )
    await connection.execute(statement.values(written_at_ms=max(now_ms, due.changed_at_ms + 1)))


def _in_folder(path: Any, folder: str) -> ColumnElement[bool]:
    escaped = folder.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    prefix = f"{escaped}/" if folder else ""
    return and_(path.like(f"{prefix}%", escape="\\"), ~path.like(f"{prefix}%/%", escape="\\"))


async def recordings_of(
    connection: Connection, engine_id: str, tenant_id: int, folder: str, days_ms: tuple[int, int]
) -> Sequence[AnyRow]:
    """All filed recordings of a manifest; ``days_ms`` is a time that holds the folder's calls."""
    statement = select(*RECORDING_COLUMNS).where(
        Recording.tenant_id == tenant_id,
        Recording.started_at_ms.between(*days_ms),
        Recording.engine_id == engine_id,
        _in_folder(Recording.path, folder),
    )
    return (await connection.execute(statement.order_by(Recording.cdr_id))).all()


async def deletions_of(
    connection: Connection, engine_id: str, tenant_id: int, folder: str, days_ms: tuple[int, int]
) -> Sequence[AnyRow]:
    table = RecordingDeletion
    statement: Any = select(*table.__table__.columns).where(
        table.tenant_id == tenant_id,
        table.started_at_ms.between(*days_ms),
        table.engine_id == engine_id,
        _in_folder(table.path, folder),
    )
    rows: Sequence[AnyRow] = (await connection.execute(statement.order_by(table.cdr_id))).all()
    return rows


# Verification ---------------------------------------------------------------------------------------------------------


async def expected_page(connection: Connection, *, prefix: str, after: str = "") -> Sequence[AnyRow]:
    """A page of recordings below a folder (all with an empty ``prefix``) with their place, filed or not, by id."""
    statement = select(
        Recording.cdr_id, Recording.path, Recording.engine_id, Recording.place, Recording.size_octets, Recording.sha256
    ).where(Recording.cdr_id > after)
    if prefix:
        statement = statement.where(func.substr(Recording.path, 1, len(prefix)) == prefix)
    return (await connection.execute(statement.order_by(Recording.cdr_id).limit(1000))).all()


async def running_paths(connection: Connection, since_ms: int) -> set[str]:
    """Paths of recordings of calls that run, or have ended since ``since_ms``: their files are no strangers."""
    statement = select(Cdr.recording_path).where(
        Cdr.recording_path.is_not(None), or_(Cdr.state != "ended", Cdr.ended_at_ms >= since_ms)
    )
    return {path for path in await connection.scalars(statement) if path is not None}
