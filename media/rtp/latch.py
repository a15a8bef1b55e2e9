"""Where a side's media comes from: symmetric RTP with a lock (RFC 7362's latching, and its warnings)."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

Address = tuple[str, int]

LATCH_PACKETS: Final = 3
"""Packets that an address other than the SDP's must send before it is taken: 60 ms of voice."""

CANDIDATES_MAX: Final = 4
"""Addresses that may compete before the lock; more of them are refused."""


class Verdict(Enum):
    """What to do with a packet: relay it, relay it and keep to its source from now on, or refuse it."""

    RELAY = auto()
    LATCH = auto()
    REFUSE = auto()


class Latch:
    """Learns one side's address, then holds to it.

    The address in the SDP wins as soon as it sends, also over a lock on another one: it came with signalling that
    was authenticated, so a third party that sends first cannot keep the side out. Any other address (a side behind
    NAT) is taken after LATCH_PACKETS packets, and then nothing but the SDP's own address moves the lock.
    """

    __slots__ = ("_candidates", "_first", "expected", "locked")

    def __init__(self, expected: Address | None) -> None:
        self.expected = expected
        self.locked: Address | None = None
        self._candidates: dict[Address, int] = {}
        self._first: Address | None = None

    def receive(self, source: Address) -> Verdict:
        """Judge a valid RTP packet from ``source``."""
        if source == self.locked:
            return Verdict.RELAY
        if source == self.expected:
            self.locked = source
            return Verdict.LATCH
        if self.locked is not None:
            return Verdict.REFUSE
        count = self._candidates.get(source, 0) + 1
        if count == 1 and len(self._candidates) >= CANDIDATES_MAX:
            return Verdict.REFUSE
        self._candidates[source] = count
        if count >= LATCH_PACKETS:
            self.locked = source
            return Verdict.LATCH
        if self._first is None:
            self._first = source
        return Verdict.RELAY if source == self._first else Verdict.REFUSE
