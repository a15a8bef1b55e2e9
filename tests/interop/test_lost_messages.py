"""What UDP loses, doubles and crosses. Time-outs are a fifth of the RFC's (Site's T1)."""

from __future__ import annotations

import pytest

from tests.interop.lane import CALLEE_SSRC, PER_SECOND_MICRO, Lane
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


def test_cancel_before_the_callee_was_heard_of(lane: Lane) -> None:
    """CANCEL may not be sent before a 1xx (RFC 3261 §9.1): it waits, and goes as soon as the callee rings."""
    callee = lane.called_phone()
    caller = lane.phone()
    caller.call(lane.a, lane.x, lane.caller_voice.port)
    invite = callee.expect("INVITE")
    caller.cancel()
    assert {caller.answer(least=200).status, caller.answer(least=200).status} == {200, 487}
    callee.listen(0.4)
    assert not [message for message in callee.received if message.start_line.startswith("CANCEL")]
    callee.respond(invite, "180 Ringing", to=f"{invite.header('To')};tag=late")
    cancel = callee.expect("CANCEL")
    assert cancel.header("Via") == invite.header("Via")
    callee.respond(cancel, "200 OK")
    callee.respond(invite, "487 Request Terminated", to=f"{invite.header('To')};tag=late")
    callee.expect("ACK")
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("cancelled", "caller")
    lane.assert_never_talked(cdr)


def test_answer_without_ringing(lane: Lane) -> None:
    caller, callee = lane.phone(), lane.called_phone()
    caller.call(lane.a, lane.x, lane.caller_voice.port)
    callee.accept(lane.callee_voice.port)
    caller.acknowledge(caller.answer(least=200))
    callee.expect("ACK")
    caller.listen(0.2)
    caller.bye()
    callee.expect("BYE")
    assert callee.serve_byes(0.1) == 1
    assert caller.answer(least=200).status == 200
    cdr = lane.cdr()
    assert cdr["ringing_at_ms"] is None
    lane.assert_talked(cdr, 0.2)


def test_early_media_is_the_answer(lane: Lane) -> None:
    """183 with a description, 200 without one: the first stands (RFC 3261 §13.2.1)."""
    caller, callee = lane.phone(), lane.called_phone()
    caller.call(lane.a, lane.x, lane.caller_voice.port)
    invite = callee.expect("INVITE")
    tagged = f"{invite.header('To')};tag=early"
    callee.respond(invite, "183 Session Progress", to=tagged, body=callee.description(lane.callee_voice.port))
    early = caller.answer()
    assert early.status == 183
    lane.callee_voice.talk(invite.media, 0.4)
    lane.hear_out()
    assert lane.caller_voice.heard_from(CALLEE_SSRC) == lane.callee_voice.sent  # an announcement before the answer
    callee.respond(invite, "200 OK", to=tagged)
    answer = caller.answer(least=200)
    assert (answer.status, answer.media) == (200, early.media)
    caller.acknowledge(answer)
    callee.expect("ACK")
    caller.listen(0.3)
    caller.bye()
    callee.expect("BYE")
    assert callee.serve_byes(0.1) == 1
    recording = lane.assert_talked(lane.cdr(), 0.3)
    assert not recording.callee.any()  # what was said before the answer is not in it


def test_caller_hangs_up_before_its_ack(lane: Lane) -> None:
    """A BYE that overtakes the ACK ends the call all the same; the ACK that comes then is for nobody."""
    caller, callee = lane.phone(), lane.called_phone()
    caller.call(lane.a, lane.x, lane.caller_voice.port)
    callee.accept(lane.callee_voice.port)
    answer = caller.answer(least=200)
    caller.listen(0.05)
    caller.take_dialog(answer)
    caller.bye()
    caller.acknowledge(answer)
    callee.expect("BYE")
    assert callee.serve_byes(0.1) == 1
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "caller")
    lane.assert_charged(PER_SECOND_MICRO, cdr["id"])
    lane.recording(cdr)


def test_repeated_bye_is_answered_again(lane: Lane) -> None:
    """Our 200 to the BYE was lost: the BYE comes again and gets the same answer; the call ended once."""
    caller, callee = lane.phone(), lane.called_phone()
    caller.call(lane.a, lane.x, lane.caller_voice.port)
    callee.accept(lane.callee_voice.port)
    caller.acknowledge(caller.answer(least=200))
    callee.expect("ACK")
    caller.listen(0.2)
    caller.bye()
    first = caller.answer(least=200)
    caller.repeat()
    second = caller.answer(least=200)
    assert first.octets == second.octets
    callee.expect("BYE")
    assert callee.serve_byes(0.2) == 1
    lane.assert_talked(lane.cdr(), 0.2)


def test_second_fork_that_answers_is_hung_up_on(lane: Lane) -> None:
    """Behind the trunk two phones answered: the first has the call, the other gets ACK and BYE at once."""
    caller, callee = lane.phone(), lane.called_phone()
    caller.call(lane.a, lane.x, lane.caller_voice.port)
    invite = callee.accept(lane.callee_voice.port)
    caller.acknowledge(caller.answer(least=200))
    callee.expect("ACK")
    body = callee.description(lane.callee_voice.port)
    callee.respond(invite, "200 OK", to=f"{invite.header('To')};tag=fork", body=body)
    callee.expect("BYE")
    assert callee.serve_byes(0.2) == 1
    assert callee.expect("BYE").header("To").endswith(";tag=fork")
    assert lane.live_calls() == 1
    caller.bye()
    callee.listen(0.2)
    assert callee.serve_byes(0.1) == 2  # the fork's, and now the call's
    lane.cdr()
