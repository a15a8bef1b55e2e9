"""Carries filed recordings from the disk to the storage: copied, read back and compared, and only then off the disk.

Each step leaves a row that says where the recording is, so a crash anywhere is followed by the same step again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.archive.bucket import Bucket, StorageFault
from engine.archive.disk import Disk
from engine.store.database import reading, writing
from engine.store.records.cdr_store import AnyRow
from engine.store.records.recording_store import ROWS_MAX, Place, at_place, set_place

COPIES_PER_ROUND_MAX = 1000
"""Then filing and the disk's room get their turn."""
PASSED_OVER_MAX = 10_000

log = structlog.get_logger()


class Mover:
    def __init__(
        self, database: AsyncEngine, disk: Disk, bucket: Bucket, engine_id: str, now_ms: Callable[[], int]
    ) -> None:
        self._database = database
        self._disk = disk
        self._bucket = bucket
        self._engine_id = engine_id
        self._now_ms = now_ms
        self._passed_over: set[str] = set()
        """Not there, or not what was recorded: looked at once and left where they are, for a verification to tell."""

    async def move(self) -> int:
        """Carries up to COPIES_PER_ROUND_MAX; how many are off the disk. Raises StorageFault at the first that the
        storage does not take: what is left stays on the disk. Raises SQLAlchemyError, OSError."""
        await self._take_off_disk()
        moved, after = 0, ""
        while moved < COPIES_PER_ROUND_MAX:
            async with reading(self._database) as connection:
                rows = await at_place(connection, self._engine_id, Place.DISK, after=after)
            for row in rows:
                if row.cdr_id not in self._passed_over:
                    moved += await self._carry(row)
            if len(rows) < ROWS_MAX:
                break
            after = rows[-1].cdr_id
        await self._take_off_disk()
        return moved

    async def _carry(self, row: AnyRow) -> bool:
        if not await asyncio.to_thread(self._copy, row):
            if len(self._passed_over) < PASSED_OVER_MAX:
                self._passed_over.add(row.cdr_id)
            return False
        async with writing(self._database) as connection:
            return await set_place(connection, row, Place.DISK, Place.BOTH, self._now_ms())

    def _copy(self, row: AnyRow) -> bool:
        try:
            if self._disk.measure(row.path) != (row.sha256, row.size_octets):
                log.error("a recording is not what was recorded and stays on the disk", call_id=row.cdr_id)
                return False
            self._bucket.put(self._disk.at(row.path), row.path)
        except OSError as error:
            log.error("a recording cannot be read and stays on the disk", call_id=row.cdr_id, reason=error.strerror)
            return False
        if self._bucket.measure(row.path) != (row.sha256, row.size_octets):
            raise StorageFault("what was put there is read back otherwise")
        return True

    async def _take_off_disk(self) -> None:
        while True:
            async with reading(self._database) as connection:
                rows = await at_place(connection, self._engine_id, Place.BOTH)
            if not rows:
                return
            for row in rows:
                await asyncio.to_thread(self._disk.delete, row.path)
            async with writing(self._database) as connection:
                for row in rows:
                    await set_place(connection, row, Place.BOTH, Place.STORAGE, self._now_ms())
            if len(rows) < ROWS_MAX:
                return
