"""The worker's RTP ports: even ones, whose RTCP is the odd one above (RFC 3550 §11)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class PortPoolExhausted(Exception):
    """No port is free: all are in calls or in quarantine. The call belongs to another worker."""


class PortPool:
    """Even ports in a range, each at rest for ``quarantine_seconds`` after use.

    Both queues are bounded by the range. The port that has rested longest comes first, so that late packets of an
    old call do not reach a new one even where the quarantine is short.
    """

    def __init__(self, port_min: int, port_max: int, quarantine_seconds: float) -> None:
        """Ports from ``port_min`` to ``port_max``, both included; an odd lower end is rounded up."""
        first = port_min + port_min % 2
        self._free: deque[int] = deque(range(first, port_max, 2))
        self._resting: deque[tuple[float, int]] = deque()
        self._quarantine_seconds = quarantine_seconds

    def take(self, now: float) -> int:
        """An even port. Raises PortPoolExhausted."""
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
        if not self._free:
            raise PortPoolExhausted
        return self._free.popleft()

    def give_back(self, ports: Iterable[int], now: float) -> None:
        """Ports no longer in use; they rest before they are given out again."""
        for port in ports:
            self._resting.append((now + self._quarantine_seconds, port))

    @property
    def free(self) -> int:
        """How many ports are not in use and not resting."""
        return len(self._free)
