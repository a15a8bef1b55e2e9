"""Calls from a known trunk while strangers flood the SIP port: set-up time, failures, and what the guard dropped.

Half of the flood is garbage, half INVITEs, from many loopback addresses. Prints progress to standard error and, as its
last line on standard output, one JSON object with ``setup_p99_ms, failed, dropped``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path

from scripts.benchmarks.call import engine_and_media
from scripts.benchmarks.call_load import opened_way, run_rate
from scripts.benchmarks.call_world import ENGINE_HOST, world
from scripts.benchmarks.installation import installation

SOURCES = 200
"""127.0.1.1 to 127.0.1.200: so many that what limits each one of them is not what saves the calls."""
TICKS_PER_SECOND = 100
INVITE = (
    "INVITE sip:00{number}@{host} SIP/2.0\r\nVia: SIP/2.0/UDP {source}:5060;branch=z9hG4bK{token}\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:1000@{host}>;tag={token}\r\nTo: <sip:00{number}@{host}>\r\n"
    "Call-ID: {token}@{source}\r\nCSeq: 1 INVITE\r\nContact: <sip:1000@{source}:5060>\r\n"
    "Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}"
)
SDP = "v=0\r\no=- 1 1 IN IP4 {source}\r\ns=-\r\nc=IN IP4 {source}\r\nt=0 0\r\nm=audio 9000 RTP/AVP 8\r\n"


class Flood:
    """A thread that sends ``rate`` datagrams a second until it is stopped. Answers are never read."""

    def __init__(self, target: tuple[str, int], rate: int) -> None:
        self.sent = 0
        self._target = target
        self._per_tick = rate // TICKS_PER_SECOND
        self._random = random.Random(1)  # noqa: S311  # a flood that is the same each time
        self._sockets: list[tuple[str, socket.socket]] = []
        for number in range(1, SOURCES + 1):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.setblocking(False)
            made.bind((f"127.0.1.{number}", 0))
            self._sockets.append((f"127.0.1.{number}", made))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        for _, each in self._sockets:
            each.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            for index in range(self._per_tick):
                source, carrier = self._sockets[(self.sent + index) % SOURCES]
                try:
                    carrier.sendto(self._garbage() if index % 2 else self._invite(source), self._target)
                except BlockingIOError:
                    pass  # the receiver's queue is full: that datagram has reached the port and was lost there
            self.sent += self._per_tick
            due += 1 / TICKS_PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))

    def _invite(self, source: str) -> bytes:
        sdp = SDP.format(source=source)
        token = f"{self._random.getrandbits(64):016x}"
        number = self._random.randrange(10**10, 10**11)
        return INVITE.format(
            number=number, host=ENGINE_HOST, source=source, token=token, length=len(sdp), sdp=sdp
        ).encode()

    def _garbage(self) -> bytes:
        """In turn: noise, an INVITE with noise in it, and one cut short."""
        kind = self._random.randrange(3)
        if kind == 0:
            return self._random.randbytes(self._random.randrange(5, 600))
        invite = self._invite("127.0.1.1")
        place = self._random.randrange(10, len(invite))
        return invite[:place] + (self._random.randbytes(20) + invite[place:] if kind == 1 else b"")


def _dropped_by_kernel(port: int) -> int:
    """Datagrams that found the socket's buffer full: the engine was not on the processor for too long."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            return int(fields[-1])
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench flood", description=__doc__)
    parser.add_argument("--json", action="store_true", help="kept for scripts: the last line is JSON either way")
    parser.add_argument("--flood", type=int, default=2000, help="datagrams a second")
    parser.add_argument("--rate", type=int, default=50, help="calls a second")
    parser.add_argument("--seconds", type=int, default=20)
    arguments = parser.parse_args()
    if shutil.which("sipp") is None:
        sys.exit("scripts/bench flood needs SIPp: apt-get install sip-tester")
    with opened_way("udp") as way, installation(way.configuration, world(way.callee_port)) as made:
        used = partial(engine_and_media, made)
        run_rate(made.folder, used, arguments.rate, 2, way)  # warms caches, which a long-running engine has warm
        quiet = run_rate(made.folder, used, arguments.rate, max(2, arguments.seconds // 4), way)
        print(f"without flood: {quiet}", file=sys.stderr)
        before = made.status()["counters"]
        engine_port = made.settings.sip.port
        flood = Flood((ENGINE_HOST, engine_port), arguments.flood)
        flood.start()
        began = time.monotonic()
        level = run_rate(made.folder, used, arguments.rate, arguments.seconds, way)
        flooded_seconds = time.monotonic() - began
        flood.stop()
        after = made.status()["counters"]
        kernel_dropped = _dropped_by_kernel(engine_port)
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    gained = {name: count - before.get(name, 0) for name, count in after.items()}
    print(f"with flood: {level}\ncounters: {gained}", file=sys.stderr)
    dropped = sum(count for name, count in gained.items() if name.startswith("dropped_"))
    print(
        json.dumps(
            {
                "setup_p99_ms": level["setup_p99_ms"],
                "failed": level["failed"],
                "dropped": dropped,
                "dropped_by_kernel": kernel_dropped,
                "setup_p50_ms": level["setup_p50_ms"],
                "setup_p99_ms_without_flood": quiet["setup_p99_ms"],
                "calls": level["calls"],
                "retransmissions": level["retransmissions"],
                "cpu_ms_per_call": level["cpu_ms_per_call"],
                "flood_per_second": round(flood.sent / flooded_seconds),
                "strangers_answered": gained.get("invites_challenged_or_refused", 0),
                "malformed": gained.get("malformed", 0),
                "cores": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    main()
