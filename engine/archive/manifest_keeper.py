"""Writes manifests anew where their recordings have changed: one to the disk, one to the storage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.archive.bucket import Bucket
from engine.archive.disk import Disk
from engine.archive.manifest import days_of, encode, entries, manifest_path
from engine.store.database import reading, writing
from engine.store.records.cdr_store import AnyRow
from engine.store.records.recording_store import (
    ROWS_MAX,
    Place,
    deletions_of,
    manifest_written,
    manifests_due,
    recordings_of,
)

WRITE_INTERVAL_MS = 5 * 60 * 1000
"""A manifest of today, which grows all day, is written at most so often."""

DISK_PLACES = (Place.DISK, Place.BOTH)
STORAGE_PLACES = (Place.BOTH, Place.STORAGE)


class _Shelf(Protocol):
    def write(self, path: str, octets: bytes) -> None: ...


class ManifestKeeper:
    def __init__(
        self, database: AsyncEngine, disk: Disk, bucket: Bucket | None, engine_id: str, now_ms: Callable[[], int]
    ) -> None:
        self._database = database
        self._disk = disk
        self._bucket = bucket
        self._engine_id = engine_id
        self._now_ms = now_ms

    async def write_due(self) -> int:
        """How many were written. Raises StorageFault, SQLAlchemyError, OSError; what is not written stays due."""
        count = 0
        while True:
            now_ms = self._now_ms()
            async with reading(self._database) as connection:
                due = await manifests_due(connection, self._engine_id, max(now_ms - WRITE_INTERVAL_MS, 1))
            for each in due:
                await self._write(each, now_ms)
                count += 1
            if len(due) < ROWS_MAX:
                return count

    async def _write(self, due: AnyRow, now_ms: int) -> None:
        of = (due.engine_id, due.tenant_id, due.folder)
        async with reading(self._database) as connection:
            recordings = await recordings_of(connection, *of, days_of(due.folder))
            deletions = await deletions_of(connection, *of, days_of(due.folder))
        path = manifest_path(*of)
        shelves: list[tuple[_Shelf, tuple[Place, ...]]] = [(self._disk, DISK_PLACES)]
        if self._bucket is not None:
            shelves.append((self._bucket, STORAGE_PLACES))
        for shelf, places in shelves:
            if found := entries(recordings, deletions, places):
                octets = encode(*of, found, now_ms)
                await asyncio.to_thread(shelf.write, path, octets)
            elif shelf is self._disk:
                await asyncio.to_thread(self._disk.delete, path)
        async with writing(self._database) as connection:
            await manifest_written(connection, due, now_ms)
