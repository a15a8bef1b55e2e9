"""How long recordings are kept, what holds them beyond that, and their deletion.

A deletion has two phases. First, in one transaction, the recording's row becomes a row of ``recording_deletions``, and
with that nobody is shown the recording any more; then the file goes, and the row says when. A crash in between leaves a
row without that time, with which the next round goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.records.cdr_store import AnyRow
from engine.store.records.recording_store import (
    RECORDING_COLUMNS,
    ROWS_MAX,
    Connection,
    folder_of,
    manifests_changed,
    own,
)
from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables import LegalHold, Recording, RecordingDeletion, RecordingRetention, Tenant

DAY_MS = 24 * 3600 * 1000
FOR_EVER = 0
HOLDS_PER_TENANT_MAX = 10_000
"""Each look for expired recordings asks of them."""


class DeletionReason(StrEnum):
    RETENTION = "retention"
    DISK_FULL = "disk_full"
    """Expired as well; deleted at once, since room was needed."""
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Retention:
    """Days, 0 for ever; None where nothing is set."""

    tenant_id: int
    platform_days: int | None
    tenant_days: int | None

    def days(self, default_days: int) -> int:
        """What counts: a tenant may only keep longer than the platform says."""
        least = default_days if self.platform_days is None else self.platform_days
        if self.tenant_days is None:
            return least
        return FOR_EVER if FOR_EVER in (least, self.tenant_days) else max(least, self.tenant_days)


@dataclass(frozen=True, slots=True)
class Expired:
    """A recording that nothing holds, past the days of its tenant."""

    row: AnyRow
    days: int

    @property
    def expired_at_ms(self) -> int:
        return int(self.row.started_at_ms) + self.days * DAY_MS

    @property
    def rule(self) -> str:
        return f"kept for {self.days} days"


def held() -> ColumnElement[bool]:
    """The condition that a recording is under a hold which nobody has released."""
    of_one = LegalHold.cdr_id == Recording.cdr_id
    of_agent = LegalHold.cdr_id.is_(None) & (LegalHold.agent_id == Recording.agent_id)
    of_tenant = LegalHold.cdr_id.is_(None) & LegalHold.agent_id.is_(None)
    return exists().where(
        LegalHold.released_at_ms.is_(None),
        LegalHold.tenant_id == Recording.tenant_id,
        or_(of_one, of_agent, of_tenant),
    )


async def retentions(connection: Connection) -> list[Retention]:
    """Of every tenant."""
    table = RecordingRetention
    statement = select(Tenant.id, table.platform_days, table.tenant_days).outerjoin(table, table.tenant_id == Tenant.id)
    return [Retention(*row) for row in await connection.execute(statement.order_by(Tenant.id))]


async def retention_of(connection: Connection, tenant_id: int) -> Retention:
    table = RecordingRetention
    found = await connection.execute(select(table.platform_days, table.tenant_days).where(table.tenant_id == tenant_id))
    row = found.one_or_none()
    return Retention(tenant_id, None, None) if row is None else Retention(tenant_id, *row)


async def expired(connection: Connection, engine_id: str, default_days: int, now_ms: int) -> list[Expired]:
    """Recordings of this machine that may go, the one that expired first going first; at most ROWS_MAX."""
    found: list[Expired] = []
    for retention in await retentions(connection):
        days = retention.days(default_days)
        if days == FOR_EVER:
            continue
        statement: Any = (
            select(*RECORDING_COLUMNS)
            .where(
                Recording.tenant_id == retention.tenant_id,
                Recording.started_at_ms < now_ms - days * DAY_MS,
                own(engine_id),
                ~held(),
            )
            .order_by(Recording.started_at_ms, Recording.cdr_id)
            .limit(ROWS_MAX)
        )
        found += [Expired(row, days) for row in await connection.execute(statement)]
    found.sort(key=lambda each: (each.expired_at_ms, each.row.cdr_id))
    return found[:ROWS_MAX]


async def decide_deletion(
    session: AsyncSession, row: AnyRow, reason: DeletionReason, rule: str, decided_by: str, now_ms: int
) -> None:
    """The first phase, for a row of ``recordings``; in the transaction that has seen that nothing holds it."""
    values = {
        column.name: getattr(row, column.name)
        for column in RecordingDeletion.__table__.columns
        if column.name in Recording.__table__.columns
    }
    values |= {"reason": reason, "rule": rule, "decided_by": decided_by, "decided_at_ms": now_ms}
    await session.execute(insert(RecordingDeletion).values(**values))
    await session.execute(delete(Recording).where(Recording.cdr_id == row.cdr_id))
    if row.tenant_id is not None:
        await manifests_changed(session, [(row.engine_id, folder_of(row.path), row.tenant_id)], now_ms)


async def undone_deletions(connection: Connection, engine_id: str, *, after: str = "") -> Sequence[AnyRow]:
    """A page of deletions whose files may still be there."""
    table = RecordingDeletion
    statement: Any = (
        select(*table.__table__.columns)
        .where(table.deleted_at_ms.is_(None), table.engine_id.in_((engine_id, "")), table.cdr_id > after)
        .order_by(table.cdr_id)
        .limit(ROWS_MAX)
    )
    rows: Sequence[AnyRow] = (await connection.execute(statement)).all()
    return rows


async def deletion_done(connection: Connection, row: AnyRow, now_ms: int) -> None:
    """The second phase: no file is there any more."""
    statement = update(RecordingDeletion).where(RecordingDeletion.cdr_id == row.cdr_id)
    await connection.execute(statement.values(deleted_at_ms=now_ms))
    if row.tenant_id is not None:
        await manifests_changed(connection, [(row.engine_id, folder_of(row.path), row.tenant_id)], now_ms)


# What people ask ------------------------------------------------------------------------------------------------------


async def read_deletions(
    connection: Connection, scope: Scope, *conditions: ColumnElement[bool], wanted: PageWanted
) -> Sequence[AnyRow]:
    table = RecordingDeletion
    mine = within(scope, tenant=table.tenant_id, agent=table.agent_id)
    statement: Any = select(*table.__table__.columns).where(mine, *conditions)
    rows: Sequence[AnyRow] = (await connection.execute(wanted.of(statement))).all()
    return rows


async def read_deletion(connection: Connection, scope: Scope, cdr_id: str) -> AnyRow | None:
    """Why a CDR's recording is no more; None where it is not deleted, or not in ``scope``."""
    table = RecordingDeletion
    statement: Any = select(table.reason, table.rule, table.decided_at_ms).where(
        table.cdr_id == cdr_id, within(scope, tenant=table.tenant_id, agent=table.agent_id)
    )
    row: AnyRow | None = (await connection.execute(statement)).one_or_none()
    return row


async def read_holds(
    session: AsyncSession, scope: Scope, *conditions: ColumnElement[bool], released: bool, wanted: PageWanted
) -> Sequence[LegalHold]:
    """A page of holds; with ``released`` those too that have ended. Agents see none."""
    statement = select(LegalHold).where(within(scope, tenant=LegalHold.tenant_id, agent=None), *conditions)
    if not released:
        statement = statement.where(LegalHold.released_at_ms.is_(None))
    return (await session.scalars(wanted.of(statement))).all()


async def read_hold(session: AsyncSession, scope: Scope, hold_id: int) -> LegalHold | None:
    statement = select(LegalHold).where(LegalHold.id == hold_id, within(scope, tenant=LegalHold.tenant_id, agent=None))
    hold: LegalHold | None = await session.scalar(statement)
    return hold


async def count_holds(session: AsyncSession, tenant_id: int) -> int:
    """Those that nobody has released."""
    statement = select(func.count(LegalHold.id)).where(
        LegalHold.tenant_id == tenant_id, LegalHold.released_at_ms.is_(None)
    )
    return await session.scalar(statement) or 0


async def read_deletable(session: AsyncSession, scope: Scope, cdr_id: str) -> tuple[AnyRow, bool] | None:
    """A recording's row, and whether it is held; None where there is none in ``scope``."""
    statement: Any = select(*RECORDING_COLUMNS, held().label("is_held")).where(
        Recording.cdr_id == cdr_id, within(scope, tenant=Recording.tenant_id, agent=Recording.agent_id)
    )
    row: AnyRow | None = (await session.execute(statement)).one_or_none()
    return None if row is None else (row, bool(row.is_held))
