"""Keys towards one side as telephone events (RFC 4733), one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from media.embedded.call import Handler, RelayedCall
from media.embedded.tone_player import FRAME_SAMPLES, FRAME_SECONDS, numbers_after
from media.plane import KEY_MS_MAX, KEY_MS_MIN, Side
from media.rtp.dtmf import write_event
from media.rtp.packet import Packet, build

END_COPIES: Final = 3  # §2.5.1.4
PAUSE_FRAMES: Final = 2
"""Between two keys: they are told apart by their timestamps, and by those who listen to tones by the silence."""
KEYS_WAITING_MAX: Final = 16


class KeyPlayer:
    """Presses what it is given; the voice of the other side waits meanwhile, as it does at a phone that presses keys.

    The packets have an SSRC of their own and go on from the numbers of what was relayed last, as a tone's do.
    """

    def __init__(self, call: RelayedCall, side: Side, *, ssrc: int, schedule: Callable[[float, Handler], None]) -> None:
        """``schedule`` calls a handler at a monotonic time."""
        self._call = call
        self._side = side
        self._ssrc = ssrc
        self._schedule = schedule
        self._waiting: deque[tuple[str, int, int]] = deque()
        self._sequence = self._timestamp = 0
        self._is_playing = False
        self._due = 0.0

    def press(self, digit: str, payload_type: int, duration_ms: int, now: float) -> bool:
        """False where KEYS_WAITING_MAX wait."""
        if len(self._waiting) >= KEYS_WAITING_MAX:
            return False
        frames = round(min(max(duration_ms, KEY_MS_MIN), KEY_MS_MAX) / 1000 / FRAME_SECONDS)
        self._waiting.append((digit, payload_type, frames))
        if not self._is_playing:
            self._is_playing = True
            self._call.mute(self._side, True)
            self._sequence, self._timestamp = numbers_after(self._call, self._side)
            self._due = now
            self._play(0, now)
        return True

    def _play(self, frame: int, _now: float) -> None:
        """One packet of the first key that waits, the ``frame``-th from 0, or of the pause after it."""
        if self._call.closed:
            return
        if not self._waiting:
            self._is_playing = False
            self._call.mute(self._side, False)
            return
        digit, payload_type, frames = self._waiting[0]
        if frame < frames + END_COPIES - 1:
            duration = min(frame + 1, frames) * FRAME_SAMPLES
            payload = write_event(digit, duration, end=frame + 1 >= frames)
            sequence, timestamp = self._sequence & 0xFFFF, self._timestamp & 0xFFFF_FFFF
            packet = Packet(payload_type, frame == 0, sequence, timestamp, self._ssrc, payload)
            with suppress(OSError):  # nobody listens there just now
                self._call.legs[self._side].sender(rewritten=False)(build(packet))
            self._sequence += 1
        elif frame == frames + END_COPIES - 1 + PAUSE_FRAMES:
            self._waiting.popleft()
            self._timestamp += frame * FRAME_SAMPLES
            frame = -1
        self._due += FRAME_SECONDS
        self._schedule(self._due, lambda now: self._play(frame + 1, now))
