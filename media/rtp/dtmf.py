"""Key presses as RTP events (RFC 4733)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from media.errors import MalformedPacket

DIGITS: Final = "0123456789*#ABCD"
"""RFC 4733 §3.2 table 3: event codes 0 to 15; 16 is a hook flash."""


VOLUME: Final = 10
"""Of keys of ours, in -dBm0: what phones send."""
EVENT_SECONDS_MAX: Final = 0.5
"""Without a packet for so long an event is over: a sender repeats every 50 ms (§2.5.1.1)."""


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


def write_event(digit: str, duration: int, *, end: bool) -> bytes:
    """The payload of a packet that reports a key, pressed ``duration`` timestamp units ago. Raises ValueError for what
    is no key."""
    return struct.pack("!BBH", DIGITS.index(digit), (0x80 if end else 0) | VOLUME, duration)


class KeyPress(NamedTuple):
    """A key that was pressed and let go."""

    digit: str
    duration: int
    """In timestamp units; what the sender had told by the last packet that came."""


class DigitCollector:
    """Key presses from a stream of event packets: each once, though its end is sent three times (§2.5.1.4).

    An event is told apart from the next by its timestamp. The last packet may be lost with its copies: a packet of
    another event, or time, ends the one before. An event longer than 8 seconds is several (§2.5.1.3) and told so.
    """

    __slots__ = ("_arrived", "_earlier", "_pressed", "_timestamp")

    def __init__(self) -> None:
        self._timestamp: int | None = None
        self._earlier: int | None = None
        self._pressed: KeyPress | None = None
        self._arrived = 0.0

    def receive(self, timestamp: int, event: TelephoneEvent, now: float) -> list[KeyPress]:
        """The key presses that end with this packet, of RTP timestamp ``timestamp``; ``now`` in monotonic seconds."""
        ended: list[KeyPress] = []
        if timestamp == self._earlier:
            return ended  # overtaken by the next event
        if timestamp != self._timestamp:
            ended += self._end()
            self._earlier, self._timestamp = self._timestamp, timestamp
            self._pressed = KeyPress(event.digit, event.duration) if event.digit else None
        elif self._pressed is not None:
            self._pressed = KeyPress(self._pressed.digit, max(self._pressed.duration, event.duration))
        self._arrived = now
        return ended + self._end() if event.end else ended

    def expire(self, now: float) -> list[KeyPress]:
        """The key press whose packets have ceased EVENT_SECONDS_MAX ago, if there is one."""
        return self._end() if now - self._arrived > EVENT_SECONDS_MAX else []

    def _end(self) -> list[KeyPress]:
        pressed, self._pressed = self._pressed, None
        return [] if pressed is None else [pressed]
