"""The process that cares for recordings once they are closed, ``axbridge archive``; one a machine that makes them.

Whatever fails is tried again in the next round, and later each time: the storage may be away for days, and then
recordings stay on the disk.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.archive.bucket import Bucket, StorageFault
from engine.archive.clearance import Clearance
from engine.archive.disk import Disk, Room, RoomLimits, free_percent
from engine.archive.filing import FilingDesk
from engine.archive.manifest_keeper import ManifestKeeper
from engine.archive.mover import Mover
from engine.settings import RecordingSettings
from engine.store.database import reading
from engine.store.records.recording_store import manifests_due
from engine.store.records.retention_store import DeletionReason

ROUND_SECONDS = 10.0
RETENTION_SECONDS = 3600.0
RECLAIM_SECONDS = 600.0
TABLES_POLL_SECONDS = 1.0
RETRY_SECONDS_MAX = 600.0
"""Longest wait before a storage that did not answer is asked again."""

log = structlog.get_logger()


def room_limits(settings: RecordingSettings) -> RoomLimits:
    return RoomLimits(settings.alarm_free_percent, settings.deletion_free_percent, settings.stop_free_percent)


class Duty:
    """Work that is done every so often, and after a failure later each time, up to RETRY_SECONDS_MAX."""

    def __init__(self, name: str, work: Callable[[], Awaitable[int]], every_seconds: float) -> None:
        self.name = name
        self.due = 0.0
        self._work = work
        self._every_seconds = every_seconds
        self._failures = 0

    async def perform(self, now: float) -> None:
        if now < self.due:
            return
        try:
            count = await self._work()
        except (StorageFault, SQLAlchemyError, OSError) as error:
            self._failures += 1
            wait_seconds = min(RETRY_SECONDS_MAX, ROUND_SECONDS * 2 ** min(self._failures - 1, 10))
            self.due = now + wait_seconds
            log.error(
                "recordings: failed, will be tried again",
                duty=self.name,
                error=str(error) if isinstance(error, StorageFault) else type(error).__name__,
                seconds=wait_seconds,
            )
            return
        self._failures = 0
        self.due = now + self._every_seconds
        if count:
            log.info("recordings", duty=self.name, count=count)


class Librarian:
    """``round`` is one look at everything; ``room`` says how the disk was at the last one."""

    def __init__(
        self,
        *,
        database: AsyncEngine,
        disk: Disk,
        bucket: Bucket | None,
        engine_id: str,
        settings: RecordingSettings,
        now_ms: Callable[[], int],
        measure_free: Callable[[], float] | None = None,
    ) -> None:
        self.room = Room.ENOUGH
        self._database = database
        self._limits = room_limits(settings)
        self._measure_free = measure_free or (lambda: free_percent(disk.folder))
        filing = FilingDesk(database, disk, engine_id, now_ms)
        self._clearance = Clearance(
            database, disk, bucket, engine_id=engine_id, default_days=settings.retention_days, now_ms=now_ms
        )
        manifests = ManifestKeeper(database, disk, bucket, engine_id, now_ms)
        self._duties = [
            Duty("make room", self._make_room, 0.0),
            Duty("file", filing.file_new, 0.0),
            Duty("reclaim", filing.reclaim, RECLAIM_SECONDS),
            *([Duty("move", Mover(database, disk, bucket, engine_id, now_ms).move, 0.0)] if bucket else []),
            Duty("delete expired", lambda: self._clearance.clear(DeletionReason.RETENTION), RETENTION_SECONDS),
            Duty("delete on request", self._clearance.carry_out, 0.0),
            Duty("write manifests", manifests.write_due, 0.0),
        ]

    async def round(self, now: float) -> None:
        """``now`` is in seconds of a clock that does not jump. Never raises for what disk, storage or database do."""
        for duty in self._duties:
            await duty.perform(now)

    async def run(self, clock: Callable[[], float]) -> None:
        """Until cancelled."""
        await _until_there_are_tables(self._database)
        log.info("recordings are cared for")
        while True:
            await self.round(clock())
            await asyncio.sleep(ROUND_SECONDS)

    async def _make_room(self) -> int:
        # statvfs waits for ever on a network disk that is gone; then this thread waits, and calls do not.
        self.room = self._limits.judge(await asyncio.to_thread(self._measure_free))
        if self.room not in (Room.SHORT, Room.NONE):
            return 0
        return await self._clearance.clear(DeletionReason.DISK_FULL, enough=self._has_room)

    def _has_room(self) -> bool:
        return self._limits.judge(self._measure_free()) in (Room.ENOUGH, Room.LOW)


async def _until_there_are_tables(database: AsyncEngine) -> None:
    """The engine makes them, at its start; two that do it at once get into each other's way."""
    while True:
        try:
            async with reading(database) as connection:
                await manifests_due(connection, "", 0)
        except (SQLAlchemyError, OSError):
            await asyncio.sleep(TABLES_POLL_SECONDS)
        else:
            return


async def run_librarian(librarian: Librarian) -> None:
    """Runs until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    work = asyncio.create_task(librarian.run(loop.time))
    stop = asyncio.create_task(told.wait())
    await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if work.done():
        work.result()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
