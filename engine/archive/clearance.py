"""Recordings past their time go: decided in the database, then deleted, then said to be deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.archive.bucket import Bucket, StorageFault
from engine.archive.disk import Disk
from engine.store.database import reading, writing, writing_session
from engine.store.records.cdr_store import AnyRow
from engine.store.records.recording_store import ROWS_MAX, Place
from engine.store.records.retention_store import (
    DeletionReason,
    decide_deletion,
    deletion_done,
    expired,
    undone_deletions,
)

log = structlog.get_logger()


class Clearance:
    """``bucket`` is None where there is no storage: what lies in one then waits until there is."""

    def __init__(
        self,
        database: AsyncEngine,
        disk: Disk,
        bucket: Bucket | None,
        *,
        engine_id: str,
        default_days: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._disk = disk
        self._bucket = bucket
        self._engine_id = engine_id
        self._default_days = default_days
        self._now_ms = now_ms

    async def clear(self, reason: DeletionReason, *, enough: Callable[[], bool] = lambda: False) -> int:
        """Deletes what has expired and nothing holds, oldest expired first, until there is no more, or ``enough``;
        how many. Raises SQLAlchemyError, OSError."""
        count = 0
        while not enough():
            decided = await self._decide(reason)
            await self.carry_out()
            count += decided
            if decided < ROWS_MAX:
                break
        return count

    async def carry_out(self) -> int:
        """The second phase of every deletion that has been decided, by us or by people; how many are done."""
        done, after, failed = 0, "", 0
        while True:
            async with reading(self._database) as connection:
                rows = await undone_deletions(connection, self._engine_id, after=after)
            gone = []
            for row in rows:
                try:
                    await asyncio.to_thread(self._delete, row)
                except (StorageFault, OSError):
                    failed += 1
                else:
                    gone.append(row)
            if gone:
                async with writing(self._database) as connection:
                    for row in gone:
                        await deletion_done(connection, row, self._now_ms())
            done += len(gone)
            if len(rows) < ROWS_MAX:
                break
            after = rows[-1].cdr_id
        if failed:
            log.error("recordings cannot be deleted, will be tried again", count=failed)
        return done

    async def _decide(self, reason: DeletionReason) -> int:
        now_ms = self._now_ms()
        async with reading(self._database) as connection:
            if not await expired(connection, self._engine_id, self._default_days, now_ms):
                return 0  # the usual case keeps no writer waiting
        # A hold is placed in such a session too, one at a time: it is there before we look, or after we have decided.
        async with writing_session(self._database, now_ms) as session:
            found = await expired(session, self._engine_id, self._default_days, now_ms)
            for each in found:
                await decide_deletion(session, each.row, reason, each.rule, "", now_ms)
        return len(found)

    def _delete(self, row: AnyRow) -> None:
        if self._bucket is not None:
            self._bucket.delete(row.path)  # from the disk's, too: a copy may have begun
        elif row.place != Place.DISK:
            raise StorageFault("no storage is set")
        self._disk.delete(row.path)
