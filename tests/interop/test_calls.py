"""Calls that come about: A → X → B and B → X → A, with voice."""

from __future__ import annotations

import numpy as np
import pytest

from tests.interop.lane import CALLEE_HZ, CALLEE_SSRC, CALLER_HZ, CALLER_SSRC, Lane, Recording
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
