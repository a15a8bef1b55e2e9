"""Virtual time: what happens when, and in which order where the times are equal."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

START = 1_800_000_000.0
SECONDS_MAX = 7200.0
"""Longer than any history takes; one that is not at rest by then, never will be."""


class Timeline:
    def __init__(self) -> None:
        self.now = START
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, when: float, happen: Callable[[], None]) -> None:
        """``happen`` at ``when``, or now if that is past."""
        heapq.heappush(self._queue, (max(when, self.now), next(self._order), happen))

    def after(self, seconds: float, happen: Callable[[], None]) -> None:
        self.at(self.now + seconds, happen)

    def pass_seconds(self, seconds: float) -> None:
        """Lets happen what is due by then."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, happen = heapq.heappop(self._queue)
            happen()
        self.now = end

    def run(self) -> bool:
        """Until nothing is left to happen; False where something still happens after SECONDS_MAX."""
        while self._queue:
            when, _, happen = heapq.heappop(self._queue)
            if when > START + SECONDS_MAX:
                return False
            self.now = when
            happen()
        return True
