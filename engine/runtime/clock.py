"""The engine's time: seconds since the epoch that never jump."""

from __future__ import annotations

import time


class SteadyClock:
    """The wall clock as it stood at the process's start, carried on by the monotonic clock.

    A CDR's durations, the money and the timers thus come from one time, which nobody who sets the machine's clock can
    turn back under a running call.
    """

    __slots__ = ("_offset",)

    def __init__(self, not_before: float = 0.0) -> None:
        """``not_before`` is a time that has been: calls that began then go on under this clock, and must not be
        younger for a wall clock that was set back meanwhile."""
        self._offset = max(time.time(), not_before) - time.monotonic()

    def now(self) -> float:
        return time.monotonic() + self._offset

    def to_monotonic(self, now: float) -> float:
        """The same moment on CLOCK_MONOTONIC, which all processes of a machine share."""
        return now - self._offset
