"""What a call's way through the engine costs, without the kernel's part: no sockets, no database, one process.

The engine's own parts, from the SIP endpoint to the journal, the traces and the log, are led through the messages of
whole calls (INVITE, 100, 180, 200, ACK, BYE, 200) by phones and a media plane that answer at once; only the engine's
time counts. So a change of one per cent can be told, which on a busy machine ``scripts/bench call`` cannot.

Prints one JSON object: microseconds of CPU a call, of the best round and of the median one, and with ``--count`` the
calls of Python functions a call (built-in ones are not counted). With ``--before CHECKOUT`` another checkout, its
environment made, takes turns with us, by processes of their own; ``ratio`` is ours by theirs.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from engine.b2bua.gateway_locator import GatewayLocator
from engine.domain.call import milliseconds
from engine.domain.facts import (
    AccountFacts,
    AgentFacts,
    BindingFacts,
    CarrierPermissionFacts,
    LineFacts,
    RateFacts,
    TenantFacts,
    TrunkFacts,
    XNumberFacts,
)
from engine.main.calls import make_controller, new_token
from engine.main.engine import GARBAGE_COLLECTION_THRESHOLDS
from engine.runtime.clock import SteadyClock
from engine.runtime.listeners import EXTENSIONS
from engine.runtime.logs import set_up_logs
from engine.runtime.monitoring.observation import Observation
from engine.runtime.records.record_keeper import RecordKeeper
from engine.runtime.switchboard import Switchboard
from engine.settings import Settings
from engine.store.records.journal import Journal
from media import plane
from sip.core.hop import Hop
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent
from sip.endpoint import Endpoint

TENANT, LINE, TRUNK, PAIRS = 1, 1, 1, 500
ENGINE = ("127.0.0.1", 5060)
CALLER, CALLEE = Hop("udp", "127.0.0.2", 5071), Hop("udp", "127.0.0.3", 5072)
TOGETHER = 50
"""Calls that take each step one after the other, as many do that are up at once."""
TALK_SECONDS = 1.0
SDP = (
    b"v=0\r\no=user1 53655765 2353687637 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n"
    b"m=audio 6000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
)
LEASE_MICRO = 1_000_000_000_000


class Clock(SteadyClock):
    """Goes only when it is told to."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        super().__init__(0.0)
        self.at = 1_700_000_000.0

    def now(self) -> float:
        return self.at


class Wire:
    """In the place of a UDP socket: what the engine sends lies in ``sent``."""

    is_ipv6 = False

    def __init__(self) -> None:
        self.sent: deque[tuple[bytes, Hop]] = deque()
        self.receive: Callable[[bytes, Hop], None] = lambda data, hop: None
        self.drained: Callable[[], None] = lambda: None

    def listen(self, loop: object, receive: Callable[[bytes, Hop], None], drained: Callable[[], None]) -> None:
        self.receive, self.drained = receive, drained

    def send(self, data: bytes, hop: Hop) -> bool:
        self.sent.append((data, hop))
        return True

    def close(self) -> None:
        pass


class Media:
    """In the place of the workers' plane: accepts every command."""

    def __init__(self) -> None:
        self.commands: deque[plane.Command] = deque()

    def send(self, command: plane.Command) -> None:
        self.commands.append(command)

    def holds(self, call_id: str) -> bool:
        return True


class NoTimers:
    """In the place of the event loop: the endpoint's one timer is looked at by nobody."""

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> NoTimers:
        return self

    def cancel(self) -> None:
        pass


class Desks:
    """In the place of the desks that ask the database for leases: nothing is asked here."""

    def request(self, wishes: object) -> None:
        raise SystemExit(f"the engine asked for a lease: {wishes}")


class Line:
    """The engine's parts, put together as ``engine.main`` does it, and phones at both ends."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(data_folder=str(folder))
        self.clock = Clock()
        user_agent = UserAgent(
            settings=UserAgentSettings(local_ipv4=ENGINE, tcp_from_octets=1300, extensions=EXTENSIONS),
            new_token=new_token,
        )
        self.controller = make_controller(settings, user_agent, self.clock, GatewayLocator())
        observation = Observation(settings, self.controller, own_address=lambda host: ENGINE, now=self.clock.now)
        self.keeper = RecordKeeper(
            journal=Journal(settings.journal_folder),
            database=None,  # type: ignore[arg-type]  # nothing is stored here
            engine_id="bench",
            write_interval_seconds=1.0,
            now_ms=lambda: milliseconds(self.clock.now()),
        )
        self.switchboard = Switchboard(
            controller=self.controller,
            clock=self.clock,
            keeper=self.keeper,
            recordings_folder=str(settings.recordings_folder),
            watch=observation.watch,
        )
        self.wire, self.media = Wire(), Media()
        endpoint = Endpoint(
            user_agent,
            [self.wire],  # type: ignore[list-item]
            self.switchboard,
            self.clock.now,
            admit=self.controller.guard.admit,
            observe=observation.observe,
        )
        desks: Any = Desks()
        self.switchboard.connect(
            plane=self.media,  # type: ignore[arg-type]
            lease_desk=desks,
            minutes_desk=desks,
            flush=endpoint.flush,
        )
        endpoint.start(NoTimers())  # type: ignore[arg-type]
        self.endpoint = endpoint
        self.used = 0.0
        """CPU seconds of the engine."""
        self._number = 0
        self._feed()

    def _feed(self) -> None:
        trunk = TrunkFacts(
            TRUNK, "bench", CALLEE.host, CALLEE.port, (CALLER.host, CALLEE.host), "national", 100_000, "active"
        )
        facts: list[Any] = [
            TenantFacts(TENANT, "bench", "active"),
            AccountFacts(TENANT, LEASE_MICRO, 0, LEASE_MICRO),
            RateFacts(1, 120_000, 60, 60, 0),
            trunk,
            LineFacts(LINE, TRUNK, 1, True, "active", carrier_id=1),
            CarrierPermissionFacts(1, TENANT, 1),
        ]
        facts += [
            XNumberFacts(index + 1, f"+8610655{index:05d}", LINE, TENANT, None, "refuse", "active")
            for index in range(10)
        ]
        for index in range(PAIRS):
            a, b = f"+86{13_800_000_000 + index}", f"+86{13_900_000_000 + index}"
            facts.append(AgentFacts(index + 1, TENANT, a, "active"))
            facts.append(BindingFacts(f"b{index}", TENANT, index + 1, index % 10 + 1, a, b, "both", True, None, None))
        self.controller.credit.credit_of(TENANT).leased_micro = LEASE_MICRO
        self.switchboard.apply(facts)

    def run(self, calls: int) -> None:
        """Whole calls, TOGETHER at a time."""
        for _ in range(calls // TOGETHER):
            numbers = range(self._number, self._number + TOGETHER)
            self._number += TOGETHER
            self._round(numbers)
            # What a store would have taken by now, and the timers of calls long gone.
            self.keeper._changed.clear()
            self.keeper._open.clear()
            getattr(self.keeper, "_heard", {}).clear()
            self.clock.at += 0.25
            started = time.process_time()
            self.endpoint._fire()
            self.used += time.process_time() - started
            self.wire.sent.clear()

    def _round(self, numbers: range) -> None:
        self._deliver([(self._invite(number), CALLER) for number in numbers])
        self._reply()  # the offer
        invites = self._sent_to(CALLEE, b"INVITE ")
        ringing = [_response(b"180 Ringing", invite, b"") for invite in invites]
        self._deliver([(data, CALLEE) for data in ringing])
        self._deliver([(_response(b"200 OK", invite, SDP), CALLEE) for invite in invites])
        self._reply()  # the answer
        answers = self._sent_to(CALLER, b"SIP/2.0 200 ")
        if len(answers) != len(numbers):
            raise SystemExit(f"{len(answers)} of {len(numbers)} calls were answered")
        self._deliver([(_request(b"ACK", 1, answer), CALLER) for answer in answers])
        self._reply()  # the recording
        self.wire.sent.clear()
        self.clock.at += TALK_SECONDS
        self._deliver([(_request(b"BYE", 2, answer), CALLER) for answer in answers])
        byes = self._sent_to(CALLEE, b"BYE ")
        self._deliver([(_response(b"200 OK", bye, b""), CALLEE) for bye in byes])
        self._reply()  # the end
        if self.controller.calls:
            raise SystemExit(f"{len(self.controller.calls)} calls are left")

    def _deliver(self, messages: list[tuple[bytes, Hop]]) -> None:
        receive, drained = self.wire.receive, self.wire.drained
        started = time.process_time()
        for data, hop in messages:
            receive(data, hop)
            drained()
        self.used += time.process_time() - started

    def _reply(self) -> None:
        replies: list[plane.Reply] = []
        while self.media.commands:
            command = self.media.commands.popleft()
            if isinstance(command, plane.Delete):
                silence = plane.SideStatistics()
                replies.append(plane.Accepted(command.cookie, caller=silence, callee=silence))
            else:
                replies.append(plane.Accepted(command.cookie, sdp=getattr(command, "sdp", b"")))
        told = self.switchboard.media_replied
        started = time.process_time()
        for reply in replies:
            told(reply)
        self.used += time.process_time() - started

    def _sent_to(self, hop: Hop, start: bytes) -> list[bytes]:
        found = [data for data, to in self.wire.sent if to.host == hop.host and data.startswith(start)]
        self.wire.sent.clear()
        return found

    def _invite(self, number: int) -> bytes:
        a, x = 13_800_000_000 + number % PAIRS, f"010655{number % 10:05d}"
        at = f"{CALLER.host}:{CALLER.port}"
        head = (
            f"INVITE sip:{x}@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-1-{number}-0\r\n"
            f"From: <sip:{a}@{at}>;tag=1SIPpTag00{number}\r\nTo: <sip:{x}@127.0.0.1:5060>\r\n"
            f"Call-ID: {number}-1@{CALLER.host}\r\nCSeq: 1 INVITE\r\nContact: <sip:{a}@{at}>\r\nMax-Forwards: 70\r\n"
            f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n"
        )
        return head.encode() + SDP


def _field(message: bytes, name: bytes) -> bytes:
    return message.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0]


def _response(status: bytes, request: bytes, body: bytes) -> bytes:
    """What SIPp's callee answers."""
    to = _field(request, b"To")
    if b";tag=" not in to:
        to += b";tag=1callee" + _field(request, b"Call-ID")
    lines = b"".join(name + b": " + _field(request, name) + b"\r\n" for name in (b"Via", b"From", b"Call-ID", b"CSeq"))
    own = b"Contact: <sip:127.0.0.3:5072;transport=UDP>\r\n" if b" INVITE\r\n" in request else b""
    kind = b"Content-Type: application/sdp\r\n" if body else b""
    return (
        b"SIP/2.0 %s\r\n%sTo: %s\r\n%s%sContent-Length: %d\r\n\r\n" % (status, lines, to, own, kind, len(body)) + body
    )


def _request(method: bytes, cseq: int, answer: bytes) -> bytes:
    """What SIPp's caller sends in the dialog of a 200."""
    target = _field(answer, b"Contact").strip(b"<>")
    branch = b"z9hG4bK-%s-%s" % (method, _field(answer, b"Call-ID"))
    start = b"%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s:%d" % (method, target, CALLER.host.encode(), CALLER.port)
    lines = b"".join(name + b": " + _field(answer, name) + b"\r\n" for name in (b"From", b"To", b"Call-ID"))
    end = b"CSeq: %d %s\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n" % (cseq, method)
    return b"%s;branch=%s\r\n%s%s" % (start, branch, lines, end)


def functions_called(line: Line, calls: int) -> float:
    """Python functions entered, for each call."""
    counted = 0

    def see(frame: object, event: str, argument: object) -> None:
        nonlocal counted
        counted += event == "call"

    before = line.used
    sys.setprofile(see)
    try:
        line.run(calls)
    finally:
        sys.setprofile(None)
        line.used = before
    return counted / calls


def measured(arguments: argparse.Namespace) -> dict[str, float]:
    with TemporaryDirectory(prefix="axbridge-bench-") as folder:
        line = Line(Path(folder))
        line.run(500)  # warms caches, as in an engine that has run for long
        counts = {"functions_per_call": round(functions_called(line, 500), 1)} if arguments.count else {}
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE_COLLECTION_THRESHOLDS)
        costs = []
        for _ in range(arguments.rounds):
            before = line.used
            line.run(arguments.calls)
            costs.append((line.used - before) * 1e6 / arguments.calls)
    return {"us_per_call": round(min(costs), 1), "median_us_per_call": round(median(costs), 1), **counts}


def compared(arguments: argparse.Namespace, before: Path) -> dict[str, Any]:
    """The two checkouts in turn; the ratio is that of the medians over all turns."""
    own: list[float] = []
    other: list[float] = []
    for _ in range(arguments.turns):
        for checkout, found in ((Path(__file__).parents[2], own), (before, other)):
            command = [str(checkout / ".venv/bin/python"), "-P", __file__, "--calls", str(arguments.calls)]
            environment = {**os.environ, "PYTHONPATH": str(checkout)}
            output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
            found.append(json.loads(output.splitlines()[-1])["us_per_call"])
    return {
        "us_per_call": round(median(own), 1),
        "before_us_per_call": round(median(other), 1),
        "ratio": round(median(own) / median(other), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench path", description=__doc__)
    parser.add_argument("--json", action="store_true", help="kept for scripts: the output is JSON either way")
    parser.add_argument("--calls", type=int, default=2000, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=5, help="of each checkout, with --before")
    parser.add_argument("--count", action="store_true", help="count the functions called as well")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="beside another checkout of axbridge")
    arguments = parser.parse_args()
    if arguments.before is not None:
        print(json.dumps(compared(arguments, arguments.before.resolve())))
        return
    with Path(os.devnull).open("w") as log, redirect_stderr(log):
        set_up_logs("engine", "info")
        found = measured(arguments)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
