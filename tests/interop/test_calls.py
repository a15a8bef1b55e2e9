"""Calls that come about: A → X → B and B → X → A, with voice."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from media.rtp.packet import Packet, build
from tests.interop.conftest import MakeLane
from tests.interop.lane import CALLEE_HZ, CALLEE_SSRC, CALLER_HZ, CALLER_SSRC, PER_SECOND_MICRO, Lane, Recording
from tests.interop.rtp_phone import power_at, samples_of

pytestmark = pytest.mark.sipp


def assert_heard_each_other(lane: Lane) -> None:
    """Each heard what the other said, octet for octet, and nothing else."""
    assert lane.callee_voice.heard_from(CALLER_SSRC) == lane.caller_voice.sent
    assert lane.caller_voice.heard_from(CALLEE_SSRC) == lane.callee_voice.sent
    assert {packet.ssrc for packet in lane.callee_voice.heard} == {CALLER_SSRC}
    assert {packet.ssrc for packet in lane.caller_voice.heard} == {CALLEE_SSRC}


def assert_recorded(recording: Recording, lane: Lane) -> None:
    """Caller left, callee right, each sample where it was said and none lost, moved or mixed."""
    for channel, voice, hz, other_hz in (
        (recording.caller, lane.caller_voice, CALLER_HZ, CALLEE_HZ),
        (recording.callee, lane.callee_voice, CALLEE_HZ, CALLER_HZ),
    ):
        said = np.flatnonzero(channel)  # no G.711 code stands for 0
        assert len(said)
        heard = channel[said[0] : said[-1] + 1]
        assert np.array_equal(heard, samples_of(voice.sent))
        assert power_at(heard, hz) > 0.95
        assert power_at(heard, other_hz) < 0.01


def test_a_calls_x_and_speaks_with_b(lane: Lane) -> None:
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=2300)
    lane.talk(caller, callee, 1.6)
    lane.hear_out()
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["a_number"], cdr["b_number"]) == ("a_to_b", "+86" + lane.a, "+86" + lane.b)
    assert (cdr["cause"], cdr["release_side"], cdr["sip_status"], cdr["q850_cause"]) == ("normal", "caller", 200, 16)
    assert cdr["ringing_at_ms"] is not None
    recording = lane.assert_talked(cdr, 2.3)
    assert_heard_each_other(lane)
    assert_recorded(recording, lane)


def test_b_calls_x_and_speaks_with_a(lane: Lane) -> None:
    callee = lane.callee("callee_hangs_up", is_agent=True, duration_ms=2200)
    caller = lane.caller("caller_waits", is_customer=True)
    lane.talk(caller, callee, 1.6)
    lane.hear_out()
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["a_number"], cdr["b_number"]) == ("b_to_a", "+86" + lane.a, "+86" + lane.b)
    assert (cdr["cause"], cdr["release_side"], cdr["sip_status"], cdr["q850_cause"]) == ("normal", "callee", 200, 16)
    recording = lane.assert_talked(cdr, 2.2)
    assert_heard_each_other(lane)
    assert_recorded(recording, lane)


def test_each_side_sees_x_as_the_other(lane: Lane) -> None:
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=300)
    caller.wait()
    callee.wait()
    invite = callee.received("INVITE")[0]
    assert f"sip:{lane.x}@" in invite.header("From")
    assert f"sip:{lane.x}@" in invite.header("Contact")
    assert invite.start_line.startswith(f"INVITE sip:{lane.b}@")
    # A fresh dialog: nothing of the caller's own ids goes across.
    sent = next(message for message in caller.messages() if message.start_line.startswith("INVITE"))
    assert sent.header("Call-ID") != invite.header("Call-ID")
    assert invite.media[1] != lane.caller_voice.port
    assert int(invite.header("Max-Forwards")) < 70
    lane.assert_talked(lane.cdr(), 0.3)


def test_mu_law_is_recorded_as_what_it_is(lane: Lane) -> None:
    """One side speaks PCMU, the other PCMA: each is decoded by its packets' own payload type."""
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=1200)
    lane.caller_voice.law = "PCMU"
    lane.talk(caller, callee, 0.6)
    lane.hear_out()
    caller.wait()
    callee.wait()
    recording = lane.assert_talked(lane.cdr(), 1.2)
    assert_heard_each_other(lane)
    said = samples_of(lane.caller_voice.sent, "PCMU")
    spoken, heard = np.flatnonzero(said), np.flatnonzero(recording.caller)  # in PCMU there is a code for 0
    assert np.array_equal(recording.caller[heard[0] : heard[-1] + 1], said[spoken[0] : spoken[-1] + 1])


@pytest.mark.parametrize("spelling", ["{}", "+86{}", "86{}", "0086{}", "0{}"])
def test_caller_is_known_in_every_spelling_of_its_number(lane: Lane, spelling: str) -> None:
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", number=spelling.format(lane.a), duration_ms=200)
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["a_number"], cdr["cause"]) == ("+86" + lane.a, "normal")
    lane.assert_talked(cdr, 0.2)


@pytest.mark.parametrize("number_format", ["e164", "plain_86", "national"])
def test_trunk_gets_numbers_in_its_own_format(make_lane: MakeLane, number_format: str) -> None:
    lane = make_lane(number_format=number_format)
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=200)
    caller.wait()
    callee.wait()
    prefix = {"e164": "+86", "plain_86": "86", "national": ""}[number_format]
    shown = {"e164": "+86" + lane.x[1:], "plain_86": "86" + lane.x[1:], "national": lane.x}[number_format]
    invite = callee.received("INVITE")[0]
    assert invite.start_line.startswith(f"INVITE sip:{prefix}{lane.b}@")
    assert f"<sip:{shown}@" in invite.header("From")
    lane.assert_talked(lane.cdr(), 0.2)


def test_tel_uris_are_understood(lane: Lane) -> None:
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_tel_uri", number="+86" + lane.a, dialled="+86" + lane.x[1:], duration_ms=300)
    caller.wait()
    callee.wait()
    lane.assert_talked(lane.cdr(), 0.3)


def test_call_over_ipv6(make_lane: MakeLane) -> None:
    lane = make_lane(ipv6=True)
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=1500)
    lane.talk(caller, callee, 1.0)
    lane.hear_out()
    caller.wait()
    callee.wait()
    assert callee.received("INVITE")[0].media[0] == "::1"
    recording = lane.assert_talked(lane.cdr(), 1.5)
    assert_heard_each_other(lane)
    assert_recorded(recording, lane)


@pytest.mark.parametrize("callee_ipv6", [True, False], ids=["ipv4_calls_ipv6", "ipv6_calls_ipv4"])
def test_call_between_address_families(make_lane: MakeLane, callee_ipv6: bool) -> None:
    lane = make_lane(ipv6=not callee_ipv6, callee_ipv6=callee_ipv6)
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=1200)
    caller.wait_received("SIP/2.0 200", 1.0)
    lane.talk(caller, callee, 0.7)
    lane.hear_out()
    caller.wait()
    callee.wait()
    assert ("::1" in callee.received("INVITE")[0].media[0]) is callee_ipv6
    recording = lane.assert_talked(lane.cdr(), 1.2)
    assert_heard_each_other(lane)
    assert_recorded(recording, lane)


def test_digits_pass_and_are_no_noise_in_the_recording(lane: Lane) -> None:
    """telephone-event (RFC 4733) packets reach the other side as they are, and are silence in the recording."""
    keys_before = lane.site.status().counters.get("keys_pressed", 0)
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=900)
    target = caller.wait_received("SIP/2.0 200").media
    events = [bytes([5, 10 | (0x80 if number >= 10 else 0), 0, 16 * (number + 1)]) for number in range(13)]
    for number, event in enumerate(events):
        packet = Packet(101, number == 0, 700 + number, 8000, CALLER_SSRC, event)
        lane.caller_voice.socket.sendto(build(packet), target)
        time.sleep(0.02)
    caller.wait()
    callee.wait()
    assert [packet.payload for packet in lane.callee_voice.heard] == events
    assert {packet.payload_type for packet in lane.callee_voice.heard} == {101}
    assert {packet.timestamp for packet in lane.callee_voice.heard} == {8000}
    recording = lane.assert_talked(lane.cdr(), 0.9)
    assert not recording.caller.any()
    assert lane.site.status().counters["keys_pressed"] == keys_before + 1
    told = [line for path in lane.site.log_files() for line in path.read_text().splitlines() if '"call ended"' in line]
    (line,) = [json.loads(line) for line in told if f'"trunk":"{lane.code}"' in line]
    assert (line["caller_keys"], line.get("callee_keys", 0)) == (1, 0)


def test_call_is_charged_by_its_increments(make_lane: MakeLane) -> None:
    """6 seconds first, then 4 at a time: one of 1.2 s costs 6."""
    lane = make_lane(first_increment_seconds=6, next_increment_seconds=4)
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=1200)
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["billed_seconds"], cdr["charge_micro"]) == (6, 6 * PER_SECOND_MICRO)
    lane.assert_charged(6 * PER_SECOND_MICRO, cdr["id"])
    lane.recording(cdr)


def test_unknown_caller_is_put_through_to_the_owner(make_lane: MakeLane) -> None:
    lane = make_lane(unknown_caller_policy="owner", bound=False)
    callee = lane.callee("callee_answers", is_agent=True)
    caller = lane.caller("caller_hangs_up", is_customer=True, duration_ms=300)
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["direction"], cdr["binding_id"]) == ("b_to_a", None)
    assert (cdr["a_number"], cdr["b_number"]) == ("+86" + lane.a, "+86" + lane.b)
    lane.assert_talked(cdr, 0.3)
