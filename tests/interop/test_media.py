"""Packets that have no business in a call, and calls whose packets stay away."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest

from media.rtp.dtmf import DigitCollector, KeyPress, read_event, write_event
from media.rtp.packet import Packet, build
from tests.interop.lane import CALLEE_SSRC, CALLER_SSRC, Lane
from tests.interop.rtp_phone import samples_of

pytestmark = pytest.mark.sipp

EVENTS = 101
INTRUDER_HOST = "127.0.0.4"
INTRUDER_OCTET = 0x2A
"""The loudest sample of PCMA: not to be overlooked in a recording."""


def test_third_party_is_heard_by_nobody(lane: Lane) -> None:
    """From an address that is neither phone's, with the right SSRC and numbers, to both ports, all through the call."""
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=2200)
    lane.talk(caller, callee, 1.6)
    time.sleep(0.1)
    targets = [
        (caller.received("SIP/2.0 200")[0].media, CALLER_SSRC),
        (callee.received("INVITE")[0].media, CALLEE_SSRC),
    ]
    heard = b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as intruder:
        intruder.bind((INTRUDER_HOST, 0))
        intruder.settimeout(0.001)
        for number in range(60):
            for target, ssrc in targets:
                forged = Packet(
                    8, False, 1010 + number, 160_000 + 160 * (10 + number), ssrc, bytes([INTRUDER_OCTET]) * 160
                )
                intruder.sendto(build(forged), target)
            try:
                heard += intruder.recv(2048)
            except TimeoutError:
                pass
            time.sleep(0.02)
    lane.hear_out()
    caller.wait()
    callee.wait()
    assert heard == b""  # nor is he sent anything
    assert [packet.payload for packet in lane.callee_voice.heard] == lane.caller_voice.sent
    assert [packet.payload for packet in lane.caller_voice.heard] == lane.callee_voice.sent
    recording = lane.assert_talked(lane.cdr(), 2.2)
    for channel, voice in ((recording.caller, lane.caller_voice), (recording.callee, lane.callee_voice)):
        said = np.flatnonzero(channel)
        assert np.array_equal(channel[said[0] : said[-1] + 1], samples_of(voice.sent))


def test_lost_packets_are_gaps_in_place(lane: Lane) -> None:
    """Half a second of the caller's is lost: what follows stays where it was said, and the row tells of the gap."""
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=2000)
    target = caller.wait_received("SIP/2.0 200").media
    lane.callee_voice.talk(callee.received("INVITE")[0].media, 1.6)
    payload = bytes([INTRUDER_OCTET]) * 160
    start = time.monotonic()
    for number in range(80):
        if not 30 <= number < 55:
            packet = Packet(8, False, number, number * 160, CALLER_SSRC, payload)
            lane.caller_voice.socket.sendto(build(packet), target)
        time.sleep(max(0.0, start + (number + 1) * 0.02 - time.monotonic()))
    lane.hear_out()
    caller.wait()
    callee.wait()
    recording = lane.assert_talked(lane.cdr(), 2.0)
    said = np.flatnonzero(recording.caller)
    assert said[-1] + 1 - said[0] == 80 * 160
    silent = recording.caller[said[0] + 30 * 160 : said[0] + 55 * 160]
    assert not silent.any()
    assert np.count_nonzero(recording.caller) == 55 * 160
    first_ms = said[0] / 8
    inner = [gap for gap in recording.row_gaps() if gap[0] == "caller" and abs(gap[1] - (first_ms + 600)) <= 21]
    assert [round(end - start, -1) for _, start, end in inner] == [500]


def test_a_key_by_info_reaches_a_phone_that_takes_events_as_one(lane: Lane) -> None:
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_presses_by_info", duration_ms=800)
    lane.talk(caller, callee, 1.2)
    lane.hear_out()
    caller.wait()
    callee.wait()
    events = [packet for packet in lane.callee_voice.heard if packet.payload_type == EVENTS]
    collector = DigitCollector()
    keys = [key for each in events for key in collector.receive(each.timestamp, read_event(each.payload), 0.0)]
    assert keys == [KeyPress("5", 960)]
    assert callee.received("INFO") == []
    lane.assert_talked(lane.cdr(), 1.6)


def test_a_key_by_events_reaches_a_phone_that_takes_none_by_info(lane: Lane) -> None:
    """The caller's phone sends them whatever has been agreed on."""
    callee = lane.callee("callee_takes_info")
    caller = lane.caller("caller_hangs_up", duration_ms=1500)
    lane.talk(caller, callee, 1.2)
    time.sleep(0.3)
    target = caller.received("SIP/2.0 200")[0].media
    for number, (duration, end) in enumerate([(160, False), (320, False), (480, True), (480, True), (480, True)]):
        event = Packet(EVENTS, number == 0, 5000 + number, 900_000, CALLER_SSRC, write_event("7", duration, end=end))
        lane.caller_voice.socket.sendto(build(event), target)
        time.sleep(0.02)
    lane.hear_out()
    caller.wait()
    callee.wait()
    (info,) = callee.received("INFO")
    assert info.body == "Signal=7\r\nDuration=60\r\n"
    assert not [packet for packet in lane.callee_voice.heard if packet.payload_type == EVENTS]


def test_a_key_by_info_reaches_a_phone_that_takes_no_events_by_info(lane: Lane) -> None:
    callee = lane.callee("callee_takes_info")
    caller = lane.caller("caller_presses_by_info", duration_ms=800)
    lane.talk(caller, callee, 1.2)
    lane.hear_out()
    caller.wait()
    callee.wait()
    (info,) = callee.received("INFO")
    assert info.body.startswith("Signal=5")
