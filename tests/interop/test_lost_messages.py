"""What UDP loses, doubles and crosses. Time-outs are a fifth of the RFC's (Site's T1)."""

from __future__ import annotations

import pytest

from tests.interop.lane import PER_SECOND_MICRO, Lane
from tests.interop.site import T1_SECONDS

pytestmark = pytest.mark.sipp


def test_lost_200_is_sent_again(lane: Lane) -> None:
    """No ACK for 0.6 s: the 200 comes again, doubling its distance, and once acknowledged no more."""
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_acknowledges_late", duration_ms=600)
    caller.wait()
    callee.wait()
    answers = [message for message in caller.received("SIP/2.0 200") if message.header("CSeq") == "1 INVITE"]
    assert 2 <= len(answers) <= 4  # after 0.1 s, 0.3 s and, if the ACK is late, 0.7 s
    assert len({message.octets for message in answers}) == 1
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "caller")
    lane.assert_talked(cdr, 1.1)


def test_lost_ack_is_sent_again(lane: Lane) -> None:
    """The callee's 200 comes again, so our ACK was lost: the same ACK, and neither a new call nor a new answer."""
    callee = lane.callee("callee_repeats_answer", options=("-nr",))
    caller = lane.caller("caller_hangs_up", duration_ms=800)
    caller.wait()
    callee.wait()
    acks = callee.received("ACK")
    assert len(acks) == 2
    assert acks[0].octets == acks[1].octets
    answers = [message for message in caller.received("SIP/2.0 200") if message.header("CSeq") == "1 INVITE"]
    assert len(answers) == 1
    lane.assert_talked(lane.cdr(), 0.8)


def test_caller_that_never_acknowledges_is_hung_up_on(lane: Lane) -> None:
    """After 64 × T1 the call ends by itself, on both sides (RFC 3261 §13.3.1.4)."""
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_never_acknowledges")
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"], cdr["q850_cause"]) == ("ack_missing", "platform", 102)
    lane.assert_talked(cdr, 64 * T1_SECONDS)


def test_retransmitted_invite_is_one_call(lane: Lane) -> None:
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_repeats_invite", duration_ms=400, options=("-pause_msg_ign",))
    caller.wait()
    callee.wait()
    assert len([message for message in caller.messages() if message.start_line.startswith("INVITE")]) == 3
    assert len({message.octets for message in callee.received("INVITE")}) == 1
    assert len({message.header("Call-ID") for message in callee.received()}) == 1
    lane.assert_talked(lane.cdr(), 0.4)


def test_both_hang_up_at_once(lane: Lane) -> None:
    """Both BYEs are on their way before either side hears of the other's; each is answered, and so are ours."""
    caller, callee = lane.phone(), lane.called_phone()
    caller.call(lane.a, lane.x, lane.caller_voice.port)
    callee.accept(lane.callee_voice.port)
    caller.acknowledge(caller.answer(least=200))
    callee.expect("ACK")
    caller.listen(0.2)
    caller.bye()
    callee.bye()
    for phone in (caller, callee):
        assert phone.answer(least=200).status == 200
    # The one whose BYE came first is asked no more; the other one's crossed ours.
    byes = caller.serve_byes(0.3) + callee.serve_byes(0.3)
    assert byes == 1
    cdr = lane.cdr()
    assert cdr["cause"] == "normal"
    assert cdr["ended_at_ms"] - cdr["answered_at_ms"] < 500
    lane.assert_charged(PER_SECOND_MICRO, cdr["id"])
    lane.recording(cdr)
