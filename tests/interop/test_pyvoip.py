"""pyVoIP registers, calls and is called: a library whose phones are in the field, with its faults."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks.installation import free_udp_port
from tests.interop.conftest import MakeLane, has_failed
from tests.interop.lane import Lane
from tests.interop.rtp_phone import power_at
from tests.interop.site import wait_for
from tests.interop.wire import Message

pytestmark = pytest.mark.peer


class PyVoip:
    """The process, and what it has told."""

    def __init__(self, lane: Lane) -> None:
        self.told: list[dict[str, Any]] = []
        first_rtp_port = free_udp_port(lane.caller_host)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.interop.pyvoip_phone", lane.engine_host, str(lane.site.sip_port),
             lane.caller_host, str(free_udp_port(lane.caller_host)), str(first_rtp_port), str(first_rtp_port),
             lane.code],
            cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()
        self.say(lane.password)

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait(self, seconds: float = 8.0, **what: object) -> None:
        try:
            wait_for(f"pyVoIP tells {what}", lambda: what in self.told, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it told {self.told[-8:]}") from None

    def received(self) -> list[Message]:
        """What it parsed; it parses its own requests, too."""
        return [Message(each["message"].encode(), received=True) for each in self.told if "message" in each]

    def end(self) -> None:
        if self.process.poll() is None:
            try:
                self.say("end")
                self.process.wait(5)
            except (subprocess.TimeoutExpired, BrokenPipeError):
                self.process.kill()
                self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))


@pytest.fixture
def lane(make_lane: MakeLane) -> Lane:
    return make_lane(softphone=True)


@pytest.fixture
def phone(lane: Lane, request: pytest.FixtureRequest) -> Iterator[PyVoip]:
    made = PyVoip(lane)
    yield made
    made.end()
    if not has_failed(request.node):
        assert made.received()
        for message in made.received():
            assert lane.b.encode() not in message.octets, f"shown in {message.start_line}"


def test_second_invite_has_the_first_ones_branch(lane: Lane, phone: PyVoip) -> None:
    """After the 401 pyVoIP sends its INVITE with credentials, a new CSeq, and the old branch: it is not a copy."""
    phone.wait(status="REGISTERED")
    callee = lane.callee("callee_answers")
    phone.say(f"call {lane.x}")
    phone.wait(state="ANSWERED")
    lane.callee_voice.talk(callee.received("INVITE")[0].media, 1.2)
    time.sleep(1.0)
    phone.say("hang up")
    phone.wait(state="ENDED")
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["cause"], cdr["release_side"]) == ("a_to_b", "normal", "caller")
    recording = lane.assert_talked(cdr, 1.0)
    assert power_at(recording.caller[-4000:], 1000) > 0.7  # eight bits a sample, and written by a loop that is late
    assert [payload for payload in lane.callee_voice.heard if payload.payload_type == 8]
    assert [each for each in phone.told if each.get("heard", 0) > 20]


def test_acknowledgement_with_a_made_up_tag_counts(lane: Lane, phone: PyVoip) -> None:
    """pyVoIP's ACK has the INVITE's branch and a To tag that nobody gave; without it a 200 comes again and again."""
    phone.wait(status="REGISTERED")
    callee = lane.callee("callee_answers")
    phone.say(f"call {lane.x}")
    phone.wait(state="ANSWERED")
    time.sleep(1.0)  # 10 × T1
    answers = [each for each in phone.received() if each.status == 200 and each.header("CSeq").endswith("INVITE")]
    phone.say("hang up")
    callee.wait()
    assert len(answers) == 1
    assert lane.cdr()["cause"] == "normal"


def test_customer_reaches_pyvoip_and_hangs_up(lane: Lane, phone: PyVoip) -> None:
    phone.wait(status="REGISTERED")
    customer = lane.caller("caller_hangs_up", is_customer=True, duration_ms=700)
    phone.wait(state="ANSWERED")
    customer.wait()
    phone.wait(state="ENDED")
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["cause"], cdr["release_side"]) == ("b_to_a", "normal", "caller")
    lane.assert_talked(cdr, 0.7)
