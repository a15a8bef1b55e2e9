"""Key presses as RTP events (RFC 4733)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from media.errors import MalformedPacket

DIGITS: Final = "0123456789*#ABCD"
"""RFC 4733 §3.2 table 3: event codes 0 to 15; 16 is a hook flash."""


class TelephoneEvent(NamedTuple):
    """One packet's report of an event: it goes on until a packet says ``end``. ``duration`` in timestamp units."""

    code: int
    end: bool
    volume_dbm0: int
    duration: int

    @property
    def digit(self) -> str:
        """The key, or an empty string for events that are none."""
        return DIGITS[self.code] if self.code < len(DIGITS) else ""


def read_event(payload: bytes) -> TelephoneEvent:
    """Read the payload of a telephone-event packet (RFC 4733 §2.3). Raises MalformedPacket."""
    if len(payload) < 4:
        raise MalformedPacket("a telephone event shorter than four octets")
    code, flags, duration = struct.unpack_from("!BBH", payload)
    return TelephoneEvent(code, flags >= 0x80, -(flags & 0x3F), duration)


class DigitCollector:
    """Digits from a stream of event packets: each once, though its end is sent three times (§2.5.1.4).

    An event is told apart from the next by its timestamp. The last packet may be lost with its copies: a packet of
    another event ends the one before.
    """

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: int | None = None

    def receive(self, timestamp: int, event: TelephoneEvent) -> str:
        """The digit that begins with this packet, or an empty string; ``timestamp`` is the RTP packet's."""
        if timestamp == self._told:
            return ""
        self._told = timestamp
        return event.digit
