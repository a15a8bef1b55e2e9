"""Timers without a clock: SIP's delays come from a small fixed set, so each set member is a first-in-first-out queue.

Every delay of RFC 3261 §17 is T1 doubled a few times, T2, T4 or 64*T1. Timers of equal delay fall due in the order
in which they were set, so a deque per delay does in O(1) what a heap does in O(log n).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

Target = TypeVar("Target")

DELAYS_MAX = (
    32  # distinct delays; above it a delay shares the queue of the next shorter one and fires late, never early
)


@dataclass(frozen=True, slots=True)
class TimerSettings:
    """T1, T2 and T4 in seconds (RFC 3261 §17.1.1.1 and table 4)."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    @property
    def transaction_seconds(self) -> float:
        """64*T1: timers B, F, H, J, L and M."""
        return 64 * self.t1


class Timer(Generic[Target]):
    """One pending timer. `cancel` only lets go of the target; the queue skips it when its turn comes."""

    __slots__ = ("deadline", "input", "target")

    def __init__(self, deadline: float, target: Target, input_: int) -> None:
        self.deadline = deadline
        self.target: Target | None = target
        self.input = input_

    def cancel(self) -> None:
        """Never fires after this. Idempotent."""
        self.target = None


class TimerQueue(Generic[Target]):
    """Pending timers of all delays. `now` must not run backwards by more than the caller tolerates lateness.

    No timer is due before `soonest`, which may be that of a timer that is cancelled by now; inf without timers.
    """

    __slots__ = ("_queues", "soonest")

    def __init__(self) -> None:
        self._queues: dict[float, deque[Timer[Target]]] = {}
        self.soonest = inf

    def start(self, delay_seconds: float, target: Target, input_: int, now: float) -> Timer[Target]:
        """A timer due at now + delay_seconds that will deliver (target, input_)."""
        deadline = now + delay_seconds
        timer = Timer(deadline, target, input_)
        if deadline < self.soonest:
            self.soonest = deadline
        queue = self._queues.get(delay_seconds)
        if queue is None:
            if len(self._queues) >= DELAYS_MAX:
                shorter = [delay for delay in self._queues if delay <= delay_seconds]
                queue = self._queues[max(shorter) if shorter else min(self._queues)]
            else:
                queue = self._queues[delay_seconds] = deque()
        queue.append(timer)
        return timer

    def pop_due(self, now: float) -> list[Timer[Target]]:
        """Timers due at `now`, earliest first; cancelled ones are dropped on the way.

        A timer that an earlier one in the same list cancels has `target` None: check it before use.
        """
        due: list[Timer[Target]] = []
        if now < self.soonest:
            return due
        for queue in self._queues.values():
            while queue and (queue[0].deadline <= now or queue[0].target is None):
                timer = queue.popleft()
                if timer.target is not None:
                    due.append(timer)
        if len(due) > 1:
            due.sort(key=_deadline)
        deadline = self.next_deadline()
        self.soonest = inf if deadline is None else deadline
        return due

    def next_deadline(self) -> float | None:
        """When the earliest live timer is due, None when there is none."""
        earliest: float | None = None
        for queue in self._queues.values():
            while queue and queue[0].target is None:
                queue.popleft()
            if queue and (earliest is None or queue[0].deadline < earliest):
                earliest = queue[0].deadline
        return earliest

    def __len__(self) -> int:
        """Live timers: for tests and leak checks, not for the hot path."""
        return sum(1 for queue in self._queues.values() for timer in queue if timer.target is not None)


def _deadline(timer: Timer[Target]) -> float:
    return timer.deadline
