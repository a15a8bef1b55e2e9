"""Closed recordings are filed: brought to the disk for good, compared with their rows, and put under their tenants.

The media worker does not wait for the disk. What a power cut took of a file between its row and its way to the disk is
found here, and said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.archive.disk import Disk
from engine.services.records.left_recording import measure_left_recording
from engine.store.database import reading, writing
from engine.store.records.cdr_store import AnyRow, write_recordings
from engine.store.records.recording_store import ROWS_MAX, file, lost_recordings, unfiled
from media.plane import RecordingFinished

RECLAIM_AFTER_MS = 10 * 60 * 1000
"""A row comes within seconds of its call's end, or with the database, or never."""
RECLAIM_WITHIN_MS = 3 * 24 * 3600 * 1000

log = structlog.get_logger()


class FilingDesk:
    def __init__(self, database: AsyncEngine, disk: Disk, engine_id: str, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._disk = disk
        self._engine_id = engine_id
        self._now_ms = now_ms
        self._told: set[str] = set()
        """Calls whose recording is lost: said once. Bounded by RECLAIM_WITHIN_MS and a restart."""

    async def file_new(self) -> int:
        """Files what has come; how many. Raises SQLAlchemyError, OSError."""
        count, after = 0, ""
        while True:
            async with reading(self._database) as connection:
                rows = await unfiled(connection, self._engine_id, after=after)
            if not rows:
                return count
            examined = [(row, await asyncio.to_thread(self._examine, row)) for row in rows]
            async with writing(self._database) as connection:
                for row, measured in examined:
                    if measured is not None:
                        await file(connection, row, measured, self._now_ms())
                        count += 1
            if len(rows) < ROWS_MAX:
                return count
            after = rows[-1].cdr_id

    async def reclaim(self) -> int:
        """Makes rows for files that have none: of calls whose engine and media worker died at once; how many."""
        now_ms = self._now_ms()
        async with reading(self._database) as connection:
            rows = await lost_recordings(connection, now_ms - RECLAIM_WITHIN_MS, now_ms - RECLAIM_AFTER_MS)
        found = 0
        for row in rows:
            if row.ended_at_ms > now_ms - RECLAIM_AFTER_MS:
                continue
            talk_ms = row.ended_at_ms - row.answered_at_ms
            left = await asyncio.to_thread(
                measure_left_recording, self._disk.folder, row.recording_path, row.id, talk_ms
            )
            if left is not None:
                async with writing(self._database) as connection:
                    await write_recordings(connection, [{**_columns(left), "engine_id": self._engine_id}])
                found += 1
                log.warning("recording without a row found", call_id=row.id, duration_ms=left.duration_ms)
            elif row.id not in self._told:
                self._told.add(row.id)
                log.error("a call's recording is on no disk of this machine", call_id=row.id)
        return found

    def _examine(self, row: AnyRow) -> dict[str, Any] | None:
        """Columns to correct; None where the file is another machine's, or cannot be read just now."""
        try:
            sha256, size_octets = self._disk.settle(row.path)
        except FileNotFoundError:
            if row.engine_id != self._engine_id:
                return None
            log.error("a recording's file is not there", call_id=row.cdr_id)
            return {}  # its row stays, so that a verification says what is missing
        except OSError as error:
            log.error("a recording cannot be read, will be tried again", call_id=row.cdr_id, reason=error.strerror)
            return None
        if sha256 == row.sha256:
            return {"engine_id": self._engine_id} if row.engine_id != self._engine_id else {}
        if row.sha256 and size_octets >= row.size_octets:
            log.error("a recording is not what was recorded", call_id=row.cdr_id)
            return {}
        left = measure_left_recording(self._disk.folder, row.path, row.cdr_id, row.duration_ms)
        if left is None:
            log.error("a recording was lost in a power cut", call_id=row.cdr_id)
            return {}
        log.warning(
            "a recording is shorter than it was", call_id=row.cdr_id, lost_ms=row.duration_ms - left.duration_ms
        )
        columns = _columns(left)
        columns["gaps_ms"] = [*row.gaps_ms, *columns["gaps_ms"]]
        return {name: columns[name] for name in ("duration_ms", "size_octets", "sha256", "gaps_ms")}


def _columns(recording: RecordingFinished) -> dict[str, Any]:
    return {
        "cdr_id": recording.call_id,
        "path": recording.path,
        "duration_ms": recording.duration_ms,
        "size_octets": recording.size_octets,
        "sha256": recording.sha256,
        "gaps_ms": [list(gap) for gap in recording.gaps_ms],
    }
