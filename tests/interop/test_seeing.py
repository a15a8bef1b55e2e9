"""What an operator sees of a real call: its messages, the engine's figures, one line in the log — and no number."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from struct import unpack
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.runtime.control.protocol import CallTrace, ReadTrace
from engine.runtime.monitoring.trace_ladder import ladder
from tests.interop.lane import Lane
from tests.interop.site import Site, wait_for

pytestmark = pytest.mark.sipp


@pytest.fixture(scope="module")
def homer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(2.0)
        yield made


@pytest.fixture(scope="module")
def metrics_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, homer: socket.socket, metrics_port: int) -> Iterator[Site]:
    """One whose engine exports and is scraped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AXBRIDGE_TRACE__HEP_HOST", "127.0.0.1")
        patch.setenv("AXBRIDGE_TRACE__HEP_PORT", str(homer.getsockname()[1]))
        patch.setenv("AXBRIDGE_METRICS__PORT", str(metrics_port))
        made = Site(tmp_path_factory.mktemp("seen"))
    try:
        made.start()
        yield made
    finally:
        codes = made.stop()
    assert codes == {"engine": 0, "media": 0}


def one_call(lane: Lane) -> dict[str, Any]:
    """A calls B with voice both ways; the CDR."""
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=1500)
    lane.talk(caller, callee, 1.0)
    lane.hear_out()
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    lane.assert_talked(cdr, 1.5)
    return cdr


def assert_hides(text: str, lane: Lane) -> None:
    for number in (lane.a, lane.b, lane.x.removeprefix("0")):
        assert number not in text


def line_of(site: Site, call_id: str) -> dict[str, Any] | None:
    for line in (site.folder / "engine.log").read_text().splitlines():
        told: dict[str, Any] = json.loads(line)
        if told["event"] == "call ended" and told["call_id"] == call_id:
            return told
    return None


def test_a_calls_trace_shows_both_legs_and_no_number(site: Site, lane: Lane) -> None:
    cdr = one_call(lane)
    reply = site.ask(ReadTrace(cdr["id"]))
    assert isinstance(reply, CallTrace)
    assert reply.messages is not None
    flow = [(each.leg, each.sent, each.first_line.replace("SIP/2.0 ", "").split()[0]) for each in reply.messages]
    answers = ["100", "180", "200", "200"]  # the 100 is ours; SIPp's callee sends none
    for leg, sent, expected in ((0, False, answers), (1, True, answers[1:])):
        of_leg = [(each_sent == sent, word) for each_leg, each_sent, word in flow if each_leg == leg]
        assert [word for forth, word in of_leg if forth] == ["INVITE", "ACK", "BYE"], flow
        assert [word for forth, word in of_leg if not forth] == expected, flow
    assert flow[0] == (0, False, "INVITE")
    text = "\n".join(each.text for each in reply.messages)
    assert_hides(text, lane)
    assert "m=audio" in text, "SDP is what most traces are read for"
    rungs = ladder(reply.messages).splitlines()
    assert len(rungs) == 1 + len(reply.messages)
    assert_hides("\n".join(rungs), lane)
    no_trace = site.ask(ReadTrace("no-such-call"))
    assert no_trace == CallTrace(None)


def test_an_ended_call_has_one_line_with_its_voice_and_no_number(site: Site, lane: Lane) -> None:
    cdr = one_call(lane)
    told = wait_for("the call's line", lambda: line_of(site, cdr["id"]))
    assert (told["cause"], told["release_side"], told["trunk"]) == ("normal", "caller", lane.code)
    assert (told["tenant_id"], told["line_id"]) == (cdr["tenant_id"], cdr["line_id"])
    assert told["talk_ms"] == cdr["ended_at_ms"] - cdr["answered_at_ms"]
    for side, voice in (("caller", lane.caller_voice), ("callee", lane.callee_voice)):
        assert told[f"{side}_packets"] == len(voice.sent)
        assert told[f"{side}_lost"] == 0
        assert told[f"{side}_mos"] > 4.2
    assert_hides((site.folder / "engine.log").read_text(), lane)


def test_figures_count_the_call_and_name_nobody(site: Site, lane: Lane, metrics_port: int) -> None:
    one_call(lane)

    def scrape() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=5) as answer:
            return answer.read().decode()  # type: ignore[no-any-return]

    def counted() -> dict[tuple[str, str], float] | None:
        found = {
            (sample.name, sample.labels.get("cause", sample.labels.get("le", ""))): sample.value
            for family in text_string_to_metric_families(scrape())
            for sample in family.samples
            if sample.labels.get("trunk") == lane.code
        }
        return found if ("axbridge_calls_ended_total", "normal") in found else None

    found = wait_for("the call in the figures", counted)
    assert found["axbridge_calls_ended_total", "normal"] == 1
    assert found["axbridge_calls_answered_total", ""] == 1
    assert found["axbridge_media_mos_bucket", "4.2"] == 0
    assert found["axbridge_media_mos_count", ""] == 1
    assert_hides(scrape(), lane)


def test_homer_gets_each_message_with_the_calls_id(homer: socket.socket, lane: Lane) -> None:
    cdr = one_call(lane)
    starts: list[str] = []
    # What belongs to the tests before comes first.
    while starts.count("BYE") < 2:
        packet = homer.recv(65_536)
        place, values = 6, {}
        while place < len(packet):
            _, type_, length = unpack("!HHH", packet[place : place + 6])
            values[type_] = packet[place + 6 : place + length]
            place += length
        assert_hides(values[15].decode(), lane)
        if values.get(17, b"").decode() == cdr["id"]:
            starts.append(values[15].decode().replace("SIP/2.0 ", "").split()[0])
    assert sorted(set(starts)) == ["100", "180", "200", "ACK", "BYE", "INVITE"]
    assert starts.count("INVITE") == 2


def test_an_engine_that_cannot_reach_homer_says_so_at_its_start(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AXBRIDGE_TRACE__HEP_HOST", "homer.example")
        made = Site(tmp_path)
    try:
        with pytest.raises(AssertionError, match=r"homer\.example"):
            made.start()
    finally:
        made.stop()
