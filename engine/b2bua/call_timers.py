"""The calls' timers: a heap, because their times follow from money and settings and fall in no fixed order."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from engine.domain.events import TimerKind

if TYPE_CHECKING:
    from engine.b2bua.active_call import ActiveCall

CANCELLED_MAX_RATIO = 2
"""Cancelled entries stay until their time comes; at more than this many for each live one the heap is made anew."""


class CallTimer:
    """One pending timer. Cancelled, it lets go of its call at once, so that an ended call is not kept in memory."""

    __slots__ = ("active", "kind")

    def __init__(self, active: ActiveCall, kind: TimerKind) -> None:
        self.active: ActiveCall | None = active
        self.kind = kind


class CallTimers:
    """At most one timer of a kind for a call: setting it again moves it."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, CallTimer]] = []
        """When, in which order of those due together, and what."""
        self._order = count()
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def set(self, active: ActiveCall, kind: TimerKind, at: float) -> None:
        old = active.timers.get(kind)
        if old is not None:
            self._cancel(old)
        timer = active.timers[kind] = CallTimer(active, kind)
        self._live += 1
        heappush(self._heap, (at, next(self._order), timer))

    def clear(self, active: ActiveCall) -> None:
        for timer in active.timers.values():
            self._cancel(timer)
        active.timers.clear()
        if len(self._heap) > 64 + (1 + CANCELLED_MAX_RATIO) * self._live:
            self._heap = [entry for entry in self._heap if entry[2].active is not None]
            heapify(self._heap)

    def pop_due(self, now: float) -> tuple[ActiveCall, TimerKind] | None:
        """The earliest timer that is due, or None."""
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].active is None):
            timer = heappop(heap)[2]
            active = timer.active
            if active is not None:
                self._cancel(timer)
                del active.timers[timer.kind]
                return active, timer.kind
        return None

    def next_deadline(self) -> float | None:
        heap = self._heap
        while heap and heap[0][2].active is None:
            heappop(heap)
        return heap[0][0] if heap else None

    def _cancel(self, timer: CallTimer) -> None:
        if timer.active is not None:
            timer.active = None
            self._live -= 1
