"""Callers without an offer: the callee's goes to them in the 200, their answer back in the ACK, and both are heard."""

from __future__ import annotations

import time

import pytest

from tests.interop.lane import CALLEE_HZ, CALLER_HZ, Lane
from tests.interop.rtp_phone import power_at
from tests.interop.wire import Message

pytestmark = pytest.mark.peer

TALK_SECONDS = 1.0


def begin(lane: Lane, *, answers: bool) -> tuple[Message, Message]:
    """A calls without an offer, B answers; returns what B was asked and what A was answered, ACK included."""
    caller, callee = lane.phone(), lane.called_phone()
    caller.offer(lane.a, lane.x, "")
    invite = callee.accept(lane.callee_voice.port)
    answer = caller.answer()
    assert answer.status == 200
    caller.acknowledge(answer, caller.description(lane.caller_voice.port) if answers else "")
    if answers:
        acknowledgement = callee.expect("ACK")
        lane.caller_voice.talk(answer.media, TALK_SECONDS)
        lane.callee_voice.talk(acknowledgement.media, TALK_SECONDS)
        lane.hear_out()
        caller.bye()
        assert caller.answer().status == 200
    callee.serve_byes(1.0)
    caller.serve_byes(0.2)
    return invite, answer


def test_both_sides_are_heard_without_an_offer_from_the_caller(lane: Lane) -> None:
    invite, answer = begin(lane, answers=True)
    assert (invite.body, "m=audio" in answer.body) == ("", True)
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "caller")
    recording = lane.assert_talked(cdr, TALK_SECONDS)
    assert power_at(recording.caller[1600:4800], CALLER_HZ) > 0.9
    assert power_at(recording.callee[1600:4800], CALLEE_HZ) > 0.9


def test_an_ack_without_an_answer_ends_the_call_uncharged(lane: Lane) -> None:
    begin(lane, answers=False)
    time.sleep(0.2)
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["sip_status"]) == ("incompatible_media", 488)
    lane.assert_never_talked(cdr)
