"""A tone to one side in place of what the other says: packets of our own, every 20 ms."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final

from media.codec.g711 import encode
from media.codec.tone import ringback, tone
from media.embedded.call import Handler, RelayedCall
from media.errors import PeerFault
from media.plane import RINGBACK_MS_MAX, WARNING_MS_MAX, Side
from media.rtp.packet import Packet, build, parse

FRAME_SAMPLES: Final = 160
FRAME_SECONDS: Final = 0.02


class TonePlayer:
    """Plays from the moment it is made and then lets the relay of voice go on.

    The packets have an SSRC of their own, so that the receiver does not take the change for loss (RFC 3550 §8.1),
    and go on from the number and timestamp of the last packet relayed, for receivers that look at these alone.
    """

    def __init__(
        self,
        call: RelayedCall,
        side: Side,
        codec: tuple[int, str],
        *,
        is_ringback: bool,
        duration_ms: int,
        ssrc: int,
        schedule: Callable[[float, Handler], None],
        now: float,
    ) -> None:
        """``codec`` is payload type and law; ``schedule`` calls a handler at a monotonic time."""
        self._call = call
        self._side = side
        self._payload_type, law = codec
        self.is_ringback = is_ringback
        ms = min(duration_ms, RINGBACK_MS_MAX if is_ringback else WARNING_MS_MAX)
        self._frames = max(1, round(ms / 1000 / FRAME_SECONDS))
        self._octets = _ringback(law) if is_ringback else encode(tone(self._frames * FRAME_SAMPLES), law)
        self._ssrc = ssrc
        self._schedule = schedule
        self._sequence, self._timestamp = numbers_after(call, side)
        self._played = 0
        self._start = now
        self._stopped = False
        call.mute(side, True)
        self._play(now)

    def stop(self) -> None:
        """End now; voice is relayed again."""
        if not self._stopped:
            self._stopped = True
            if not self._call.closed:
                self._call.mute(self._side, False)

    def _play(self, _now: float) -> None:
        if self._stopped:
            return
        at = self._played * FRAME_SAMPLES
        place = at % len(self._octets)
        if self._played >= self._frames or self._call.closed:
            self.stop()
            return
        packet = Packet(
            self._payload_type,
            self._played == 0,
            (self._sequence + self._played) & 0xFFFF,
            (self._timestamp + at) & 0xFFFF_FFFF,
            self._ssrc,
            self._octets[place : place + FRAME_SAMPLES],
        )
        with suppress(OSError):  # nobody listens there just now
            self._call.legs[self._side].sender(rewritten=False)(build(packet))
        self._played += 1
        self._schedule(self._start + self._played * FRAME_SECONDS, self._play)


@cache
def _ringback(law: str) -> bytes:
    """40 kB, for all that hear it."""
    return encode(ringback(), law)


def numbers_after(call: RelayedCall, side: Side) -> tuple[int, int]:
    """Sequence number and timestamp that follow what the other side sent last; 0 and 0 if it sent nothing."""
    source = call.legs[side.other]
    latest = source.packets[-1] if source.packets else source.last_packet
    try:
        packet = parse(latest)
    except PeerFault:
        return 0, 0
    return packet.sequence + 1, packet.timestamp + FRAME_SAMPLES
