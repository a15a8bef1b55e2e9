"""Virtual time: what happens when, and in which order where the times are equal."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

START = 1_800_000_000.0
HAPPENINGS_MAX = 200_000
"""More than any history has; a run that reaches it never comes to rest."""


class NeverAtRest(Exception):
    """The history did not end."""


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

    def run(self) -> int:
        """Until nothing is left to happen; how many things happened. Raises NeverAtRest."""
        happened = 0
        while self._queue:
            when, _, happen = heapq.heappop(self._queue)
            self.now = when
            happen()
            happened += 1
            if happened > HAPPENINGS_MAX:
                raise NeverAtRest
        return happened
