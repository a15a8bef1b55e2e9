"""A real worker on loopback, and the two phones and the engine around it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from media.plane import (
    Accepted,
    Answer,
    Command,
    Event,
    Offer,
    Refused,
    Side,
    StartRecording,
)

WAIT_SECONDS = 10.0
_decoder = msgspec.msgpack.Decoder(Accepted | Refused | Event)


def rtp(
    sequence: int, payload: bytes = b"\xd5" * 160, *, payload_type: int = 8, ssrc: int = 7, ts: int | None = None
) -> bytes:
    timestamp = sequence * 160 if ts is None else ts
    return struct.pack("!BBHII", 0x80, payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


def description(
    port: int, *, host: str = "127.0.0.1", formats: str = "8 0 101", extra: str = "", events: int = 101
) -> bytes:
    family = "IP6" if ":" in host else "IP4"
    return (
        f"v=0\r\no=alice 1 1 IN {family} {host}\r\ns=-\r\nc=IN {family} {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {formats}\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:{events} telephone-event/8000\r\n{extra}"
    ).encode()


def audio_port(sdp: bytes) -> int:
    return int(sdp.split(b"m=audio ")[1].split()[0])


def share_at(samples: np.ndarray[Any, Any], hertz: float) -> float:
    """Goertzel as one product: the share of the energy at a frequency."""
    energy = float(np.sum(samples * samples)) or 1.0
    turns = np.exp(-2j * np.pi * hertz / 8000 * np.arange(len(samples)))
    return float(2 * abs(np.dot(samples, turns)) ** 2 / (len(samples) * energy))


def read_recording(path: Path) -> np.ndarray[Any, Any]:
    """(frames, 2) samples; the header must be true."""
    with wave.open(str(path)) as recording:
        assert (recording.getnchannels(), recording.getsampwidth(), recording.getframerate()) == (2, 2, 8000)
        frames = recording.readframes(recording.getnframes())
        assert len(frames) == 4 * recording.getnframes()
        return np.frombuffer(frames, "<i2").reshape(-1, 2).astype(float)


class Phone:
    """A UDP socket that sends and receives RTP, and ``reports`` for RTCP on the port above it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        while True:
            self.socket, self.reports = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
            self.socket.bind((host, 0))
            try:
                self.reports.bind((host, self.socket.getsockname()[1] + 1))
                break
            except OSError:  # somebody else's: another pair
                self.socket.close()
                self.reports.close()
        self.socket.settimeout(2.0)
        self.reports.settimeout(2.0)
        self.last = b""
        """What hears_nothing has heard."""
        self.host = host
        self.port: int = self.socket.getsockname()[1]
        self.towards = 0

    def send(self, data: bytes, port: int | None = None) -> None:
        self.socket.sendto(data, (self.host, port or self.towards))

    def receive(self) -> bytes:
        return self.socket.recv(4096)

    def hears_nothing(self) -> bool:
        self.socket.settimeout(0.1)
        try:
            self.last = self.socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(2.0)
        return False

    def close(self) -> None:
        self.socket.close()


class Engine:
    """A blocking connection to a worker."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(WAIT_SECONDS)
        self._cookies = itertools.count(1)
        self.events: list[Event] = []
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                self.socket.connect(str(path))
                return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def cookie(self) -> int:
        return next(self._cookies)

    def ask(self, command: Command) -> Accepted | Refused:
        self.socket.send(msgspec.msgpack.encode(command))
        while True:
            message = _decoder.decode(self.socket.recv(1 << 18))
            if isinstance(message, Accepted | Refused):
                assert message.cookie == command.cookie
                return message
            self.events.append(message)

    def accepted(self, command: Command) -> Accepted:
        reply = self.ask(command)
        assert isinstance(reply, Accepted), reply
        return reply

    def event(self) -> Event:
        while not self.events:
            message = _decoder.decode(self.socket.recv(1 << 18))
            assert isinstance(message, Event)
            self.events.append(message)
        return self.events.pop(0)

    def close(self) -> None:
        self.socket.close()


def spare_ports(count: int) -> dict[str, int]:
    """A range of exactly so many ports that nobody holds, for tests that count on each of them."""
    while True:
        first = 16_000 + (os.getpid() * 7 + next(_ranges) * 40) % 3_900 // 2 * 2
        probes = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
        try:
            for index, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + index))
            return {"port_min": first, "port_max": first + count - 1}
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()


class Worker:
    """A worker process with settings of a test's own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.path = folder / "media.sock"
        # Below the ephemeral range, so that other sockets of the tests do not sit on the worker's ports.
        first = 20_000 + (os.getpid() * 7 + next(_ranges) * 40) % 11_000
        defaults = {"socket_path": str(self.path), "port_min": first, "port_max": first + 39}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "media.embedded.worker", json.dumps(defaults | settings)],
            stderr=subprocess.DEVNULL,
        )

    def engine(self) -> Engine:
        return Engine(self.path)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(WAIT_SECONDS)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(WAIT_SECONDS)


_ranges = itertools.count()


class Call:
    """An answered call between two phones."""

    def __init__(
        self, engine: Engine, call_id: str = "call", caller: Phone | None = None, callee: Phone | None = None
    ) -> None:
        self.engine, self.call_id = engine, call_id
        self.caller, self.callee = caller or Phone(), callee or Phone()
        self.renew(description(self.caller.port), description(self.callee.port))

    def renew(self, offer: bytes, answer: bytes, side: Side = Side.CALLER) -> tuple[bytes, bytes]:
        towards = self.engine.accepted(Offer(self.engine.cookie(), self.call_id, side, offer)).sdp
        back = self.engine.accepted(Answer(self.engine.cookie(), self.call_id, side.other, answer)).sdp
        offerer, answerer = (self.caller, self.callee) if side is Side.CALLER else (self.callee, self.caller)
        offerer.towards, answerer.towards = audio_port(back), audio_port(towards)
        return towards, back

    def record(self, path: Path) -> float:
        at = time.monotonic()
        self.engine.accepted(StartRecording(self.engine.cookie(), self.call_id, str(path), at))
        return at

    def talk(self, first: int = 0, count: int = 3) -> None:
        """Both sides send and hear each other."""
        for sequence in range(first, first + count):
            for sender, receiver in ((self.caller, self.callee), (self.callee, self.caller)):
                data = rtp(sequence, bytes([sequence & 0x7F]) * 160)
                sender.send(data)
                assert receiver.receive() == data
