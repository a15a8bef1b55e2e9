"""Watches the file system that recordings are made on: tells when room gets low, and stops new recordings at none.

Calls never depend on it. Expired recordings are deleted by the archive, a process of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from engine.archive.disk import Room, RoomLimits

LOOK_SECONDS = 2.0
"""At 1,000 recorded calls 64 MB are written between two looks."""
LOOK_SECONDS_MAX = 10.0
"""A file system that does not say within this how full it is (a network disk that is gone) has no room."""

log = structlog.get_logger()


class RoomWatch:
    """``changed`` is told whether there is room for new recordings, whenever that changes."""

    def __init__(self, measure: Callable[[], float], limits: RoomLimits, changed: Callable[[bool], None]) -> None:
        self.room = Room.ENOUGH
        self.free_percent = 100.0
        self._measure = measure
        self._limits = limits
        self._changed = changed
        # A look that never ends must not take a thread of those that sync the journal, nor be followed by others.
        self._threads = ThreadPoolExecutor(1, "room-watch")
        self._looking: asyncio.Future[float] | None = None

    @property
    def has_room(self) -> bool:
        return self.room is not Room.NONE

    def gauges(self) -> dict[str, float]:
        return {
            "recordings_free_percent": self.free_percent,
            "recordings_room_low": float(self.room is not Room.ENOUGH),
            "recordings_stopped": float(not self.has_room),
        }

    async def look(self) -> None:
        """One look. Never raises for what the file system does."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().run_in_executor(self._threads, self._measure)
        try:
            async with asyncio.timeout(LOOK_SECONDS_MAX):
                self.free_percent = await asyncio.shield(self._looking)
            self._looking = None
        except TimeoutError:
            self._judge(Room.NONE, "the file system does not answer")
        except OSError as error:
            self._looking = None
            self._judge(Room.NONE, error.strerror or "error")
        else:
            self._judge(self._limits.judge(self.free_percent), "")

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _judge(self, room: Room, reason: str) -> None:
        if room is self.room:
            return
        had_room, self.room = self.has_room, room
        facts = {"room": room, "free_percent": round(self.free_percent, 1), **({"reason": reason} if reason else {})}
        if room is Room.ENOUGH:
            log.info("room for recordings again", **facts)
        elif room is Room.NONE:
            log.error("no room for recordings: new calls are not recorded", **facts)
        else:
            log.warning("little room for recordings", **facts)
        if had_room != self.has_room:
            self._changed(self.has_room)
