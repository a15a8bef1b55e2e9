"""The phones' speech: reads from SIPp's logs who talks to which port, and sends a tone there every 20 ms.

    python -m tests.chaos.voices FOLDER

Lines of ``FOLDER/*.talk`` are ``talk CALL_ID caller|callee OWN_PORT THEIR_PORT`` and ``hush CALL_ID``. Nothing is
received: what the other side heard is in the recording. Ends with SIGTERM.

Real phones do not stand still because the machine that calls are put through by is busy. So the voices go before
others where they may (root), and where they fell behind all the same ``FOLDER/voices.late`` says so, in lines of two
times since the epoch: then no recording can have what nobody has said.
"""

from __future__ import annotations

import heapq
import os
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from media.codec.g711 import encode
from tests.chaos.world import CALLEE_HOST, CALLER_HOST, ENGINE_HOST

CALLER_HZ, CALLEE_HZ = 500, 1100
FRAME_SAMPLES, FRAME_SECONDS = 160, 0.02
SECOND_SAMPLES = 8000
LOOK_SECONDS = 0.02
REFUSALS_MAX = 50
"""A second of packets to a closed port: the call is over, whatever SIPp says of it."""
NICENESS = -10
LATE_SECONDS = 0.05
"""Less than what a recording takes for a clock that was set anew (media.rtp.timeline)."""
LATE_FILE = "voices.late"
PCMA = 8

_HEAD = struct.Struct(">BBHII")


def _second_of(frequency_hz: int) -> bytes:
    wave = 8000 * np.sin(2 * np.pi * frequency_hz * np.arange(SECOND_SAMPLES) / SECOND_SAMPLES)
    return encode(wave.astype(np.int16), "PCMA")


TONES = {"caller": _second_of(CALLER_HZ), "callee": _second_of(CALLEE_HZ)}
HOSTS = {"caller": CALLER_HOST, "callee": CALLEE_HOST}


class Voice:
    """One side of a call."""

    def __init__(self, side: str, own_port: int, their_port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((HOSTS[side], own_port))
        self.socket.connect((ENGINE_HOST, their_port))
        self._tone = TONES[side]
        self._sent = 0
        self._refused = 0
        self.ended = False

    def say(self) -> None:
        samples = self._sent * FRAME_SAMPLES
        start = samples % SECOND_SAMPLES
        head = _HEAD.pack(0x80, PCMA, self._sent & 0xFFFF, samples & 0xFFFFFFFF, 0x5EED)
        self._sent += 1
        try:
            self.socket.send(head + self._tone[start : start + FRAME_SAMPLES])
            self._refused = 0
        except OSError:
            self._refused += 1
            if self._refused > REFUSALS_MAX:
                self.hush()

    def hush(self) -> None:
        self.ended = True
        self.socket.close()


class Voices:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}
        self._by_call: dict[str, Voice] = {}
        self._by_port: dict[tuple[str, int], Voice] = {}
        self._due: list[tuple[float, int, Voice]] = []
        self._count = 0
        self._late: tuple[float, float] | None = None
        self._epoch = time.time() - time.monotonic()

    def run(self) -> None:
        look_at = 0.0
        while True:
            now = time.monotonic()
            if now >= look_at:
                self._look(now)
                look_at = now + LOOK_SECONDS
            self._note_lateness(now)
            while self._due and self._due[0][0] <= now:
                due, number, voice = self._due[0]
                if voice.ended:
                    heapq.heappop(self._due)
                    continue
                voice.say()
                heapq.heapreplace(self._due, (due + FRAME_SECONDS, number, voice))
            next_due = min(look_at, self._due[0][0]) if self._due else look_at
            time.sleep(max(0.0005, next_due - time.monotonic()))

    def _note_lateness(self, now: float) -> None:
        due = self._due[0][0] if self._due else now
        if now - due > LATE_SECONDS:
            self._late = min(due, self._late[0] if self._late else due), now
        elif self._late is not None:
            (begin, end), self._late = self._late, None
            with (self._folder / LATE_FILE).open("a") as file:
                file.write(f"{begin + self._epoch:.3f} {end + self._epoch:.3f}\n")

    def _look(self, now: float) -> None:
        for path in self._folder.glob("*.talk"):
            offset = self._offsets.get(path, 0)
            if path.stat().st_size <= offset:
                continue
            with path.open("rb") as file:
                file.seek(offset)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._offsets[path] = offset + len(whole)
            for line in whole.decode().splitlines():
                self._obey(line.split(), now)

    def _obey(self, words: list[str], now: float) -> None:
        match words:
            case ["talk", call_id, side, own_port, their_port]:
                self._hush(call_id)
                # A long run gives ports again, also those of calls that nobody has hushed: they are over.
                at = side, int(own_port)
                if (earlier := self._by_port.get(at)) is not None and not earlier.ended:
                    earlier.hush()
                try:
                    voice = self._by_port[at] = Voice(side, int(own_port), int(their_port))
                except OSError as error:  # somebody else's port
                    print(f"{call_id} has no voice: {error.strerror}", file=sys.stderr)
                    return
                self._by_call[call_id] = voice
                self._count += 1
                heapq.heappush(self._due, (now, self._count, voice))
            case ["hush", call_id]:
                self._hush(call_id)

    def _hush(self, call_id: str) -> None:
        voice = self._by_call.pop(call_id, None)
        if voice is not None and not voice.ended:
            voice.hush()


if __name__ == "__main__":
    with suppress(PermissionError):
        os.nice(NICENESS)
    Voices(Path(sys.argv[1])).run()
