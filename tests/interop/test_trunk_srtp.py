"""SRTP between us and a carrier, whose end is played by baresip; the agent's softphone speaks plain RTP or SRTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.benchmarks.installation import free_udp_port
from tests.interop.baresip import Baresip
from tests.interop.conftest import MakeLane
from tests.interop.lane import CALLEE_HZ, CALLER_HZ, Lane
from tests.interop.rtp_phone import power_at, samples_of
from tests.interop.site import Site

pytestmark = pytest.mark.peer

MakePhone = Callable[..., Baresip]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """SIPp, which plays the softphone, knows MD5 alone."""
    made = Site(tmp_path_factory.mktemp("site"), digest_offered_first="MD5")
    try:
        made.start()
        yield made
    finally:
        codes = made.stop()
    assert codes == {"engine": 0, "media": 0}


@pytest.fixture
def at_trunk(tmp_path: Path) -> Iterator[MakePhone]:
    """Makes phones at a lane's trunk: B's, or with ``is_caller`` A's mobile."""
    made: list[Baresip] = []

    def make(lane: Lane, media_encryption: str, *, is_caller: bool = False) -> Baresip:
        phone = Baresip(
            tmp_path / f"baresip-{len(made)}",
            host=lane.caller_host if is_caller else lane.callee_host,
            port=lane.caller_port if is_caller else lane.callee_port,
            username=lane.a if is_caller else lane.b,
            frequency_hz=CALLER_HZ if is_caller else CALLEE_HZ,
            media_encryption=media_encryption,
            answers=not is_caller,
        )
        made.append(phone)
        return phone

    yield make
    for phone in made:
        phone.end()


def softphone_calls(lane: Lane, seconds: float) -> None:
    """The agent's softphone, of plain RTP, calls X and talks to B."""
    caller = lane.caller("softphone_calls", port=free_udp_port(lane.caller_host), duration_ms=round(seconds * 1000))
    answer = caller.wait_received("SIP/2.0 200")
    assert " RTP/AVP " in answer.body
    assert "crypto" not in answer.body
    lane.caller_voice.talk(answer.media, seconds - 0.2)
    lane.caller_voice.finish()
    caller.wait()


@pytest.mark.parametrize(
    ("srtp", "media_encryption", "profile", "is_secured"),
    [
        ("required", "srtp-mand", "RTP/SAVP", True),
        ("offered", "srtp", "RTP/AVP", True),
        ("offered", "", "RTP/AVP", False),
        ("off", "", "RTP/AVP", False),
    ],
)
def test_plain_softphone_and_trunk_of_srtp(
    make_lane: MakeLane, at_trunk: MakePhone, srtp: str, media_encryption: str, profile: str, is_secured: bool
) -> None:
    lane = make_lane(softphone=True, srtp=srtp)
    customer = at_trunk(lane, media_encryption)
    softphone_calls(lane, 1.5)
    customer.wait_event("CALL_CLOSED")
    (offer,) = customer.received("INVITE")
    assert f" {profile} " in offer.body
    assert ("a=crypto:" in offer.body) is (srtp != "off")
    answer = next(each for each in customer.sent("SIP/2.0 200") if each.header("CSeq").endswith("INVITE"))
    assert ("a=crypto:" in answer.body) is is_secured
    recording = lane.assert_talked(lane.cdr(), 1.5)
    for heard, frequency_hz in (
        (recording.caller[4000:8000], CALLER_HZ),
        (recording.callee[4000:8000], CALLEE_HZ),
        (customer.heard()[4000:8000], CALLER_HZ),
        (samples_of([packet.payload for packet in lane.caller_voice.heard])[4000:8000], CALLEE_HZ),
    ):
        assert power_at(heard, frequency_hz) > 0.9


def test_both_sides_are_at_a_trunk_that_requires_srtp(make_lane: MakeLane, at_trunk: MakePhone) -> None:
    lane = make_lane(srtp="required")
    customer, mobile = at_trunk(lane, "srtp-mand"), at_trunk(lane, "srtp-mand", is_caller=True)
    mobile.command("dial", f"sip:{lane.x}@{lane.engine_host}:{lane.site.sip_port}")
    mobile.wait_event("CALL_ESTABLISHED")
    time.sleep(1.0)
    mobile.command("hangup")
    customer.wait_event("CALL_CLOSED")
    recording = lane.assert_talked(lane.cdr(), 1.0)
    assert power_at(recording.caller[-4000:], CALLER_HZ) > 0.9
    assert power_at(recording.callee[-4000:], CALLEE_HZ) > 0.9
    assert power_at(mobile.heard()[-4000:], CALLEE_HZ) > 0.9
    assert power_at(customer.heard()[-4000:], CALLER_HZ) > 0.9


def test_trunk_that_requires_srtp_answers_without(make_lane: MakeLane) -> None:
    """The callee is hung up on, the caller told that the media do not fit; nobody pays."""
    lane = make_lane(softphone=True, srtp="required")
    callee = lane.callee("callee_answers")
    caller = lane.caller("softphone_calls", port=free_udp_port(lane.caller_host), duration_ms=500)
    callee.wait()
    refusal = caller.wait_received("SIP/2.0 488")
    assert "cause=88" in refusal.header("Reason")
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["sip_status"], cdr["q850_cause"]) == ("incompatible_media", 488, 88)
    lane.assert_never_talked(cdr)


def test_trunk_that_requires_srtp_calls_without(make_lane: MakeLane) -> None:
    lane = make_lane(srtp="required")
    lane.callee("callee_answers", is_idle=True)
    caller = lane.caller("caller_refused")
    assert "cause=88" in caller.wait_received("SIP/2.0 488").header("Reason")
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("incompatible_media", "platform")
    lane.assert_never_talked(cdr)
