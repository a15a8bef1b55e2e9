"""The engine's time: seconds since the epoch that never jump (ADR 17)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from engine.domain.call import milliseconds

OFF_SECONDS_MAX = 1.0
"""The wall clock may be so far from ours before somebody is told."""
LOOK_SECONDS = 10.0

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

log = structlog.get_logger()


class ClockSetting(msgspec.Struct, tag="clock", array_like=True, frozen=True):
    """Ours is CLOCK_MONOTONIC plus ``offset_seconds``, as long as the machine is not started again."""

    boot_id: str
    offset_seconds: float


class SteadyClock:
    """The wall clock as it stood once, carried on by the monotonic clock.

    A CDR's durations, the money and the timers thus come from one time, which nobody who sets the machine's clock can
    turn back under a running call.
    """

    __slots__ = ("_offset",)

    def __init__(self, offset_seconds: float) -> None:
        self._offset = offset_seconds

    @classmethod
    def as_it_was(cls, setting: ClockSetting | None, alive_at_ms: int, boot_id: str) -> SteadyClock:
        """For an engine with the journal of another, whose last proof of life was ``alive_at_ms``.

        Calls that it left go on under its clock, the ``setting``, which all processes share until the machine is
        started again. Where there are none, or after that, there is the wall clock; and no time comes twice because
        that was set back meanwhile.
        """
        if setting is not None and boot_id and setting.boot_id == boot_id:
            clock = cls(setting.offset_seconds)
            # In another time namespace CLOCK_MONOTONIC counts from elsewhere (time_namespaces(7)).
            if milliseconds(clock.now()) >= alive_at_ms:
                return clock
        return cls(max(time.time(), alive_at_ms / 1000) - time.monotonic())

    def now(self) -> float:
        return time.monotonic() + self._offset

    def to_monotonic(self, now: float) -> float:
        """The same moment on CLOCK_MONOTONIC, which all processes of a machine share."""
        return now - self._offset

    def setting(self, boot_id: str) -> ClockSetting:
        return ClockSetting(boot_id, self._offset)


def read_boot_id() -> str:
    """What tells one run of the machine's kernel from another; empty where nothing does."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class ClockWatch:
    """Tells when somebody has set the wall clock: ours does not follow while calls go on."""

    def __init__(self, now: Callable[[], float], wall: Callable[[], float] = time.time) -> None:
        self._now = now
        self._wall = wall
        self._told_seconds = 0.0

    @property
    def off_seconds(self) -> float:
        """By how much the wall clock is ahead of ours."""
        return self._wall() - self._now()

    def look(self) -> None:
        off_seconds = self.off_seconds
        if abs(off_seconds - self._told_seconds) <= OFF_SECONDS_MAX:
            return
        self._told_seconds = off_seconds
        if abs(off_seconds) > OFF_SECONDS_MAX:
            log.warning("the machine's clock was set; ours follows when an engine starts without calls",
                        ahead_seconds=round(off_seconds, 3))  # fmt: skip
        else:
            log.info("the machine's clock is ours again")

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()
