"""Phones that name their own number wherever they can: the other side sees none of it.

What each side received is looked at after every test of the suite (``Lane.assert_numbers_stayed_hidden``); here the
phones give that check something to find.
"""

from __future__ import annotations

import pytest

from tests.interop.lane import Lane

pytestmark = pytest.mark.sipp


@pytest.mark.parametrize("is_customer", [False, True], ids=["a_calls_b", "b_calls_a"])
def test_numbers_named_in_headers_and_descriptions_stay_behind(lane: Lane, is_customer: bool) -> None:
    callee = lane.callee("callee_tells_all", is_agent=is_customer)
    caller = lane.caller("caller_tells_all", is_customer=is_customer, duration_ms=300)
    caller.wait()
    callee.wait()
    own, other = (lane.b, lane.a) if is_customer else (lane.a, lane.b)
    told = b"".join(message.octets for message in caller.messages() if not message.received)
    assert told.count(own.encode()) > 30, "the phone did not tell"
    told = b"".join(message.octets for message in callee.messages() if not message.received)
    assert told.count(other.encode()) > 60, "the phone did not tell"
    assert caller.received("SIP/2.0 183")[0].media[1] != lane.callee_voice.port
    cdr = lane.cdr()
    assert cdr["cause"] == "normal"
    lane.assert_talked(cdr, 0.3)


@pytest.mark.parametrize("line", ["486 {} is busy", "603 {} declines", "500 {} is broken", "302 {} moved"])
def test_refusal_that_names_the_callee_is_put_in_our_own_words(lane: Lane, line: str) -> None:
    callee = lane.called_phone()
    caller = lane.caller("caller_refused")
    invite = callee.expect("INVITE")
    callee.respond(
        invite,
        line.format(lane.b),
        to=f"{invite.header('To')};tag=callee-{lane.b}",
        headers=(f'Warning: 399 example.com "{lane.b}"', f'Reason: SIP;cause=486;text="{lane.b}"', f"Server: {lane.b}"),
    )
    callee.expect("ACK")
    caller.wait()
    lane.assert_never_talked(lane.cdr())


def test_hang_up_that_names_the_callee(lane: Lane) -> None:
    callee = lane.called_phone()
    caller = lane.caller("caller_waits")
    callee.accept(lane.callee_voice.port)
    callee.expect("ACK")
    callee.listen(0.3)
    callee.bye(headers=(f'Reason: Q.850;cause=16;text="{lane.b}"', f"User-Agent: {lane.b}"))
    assert callee.answer(least=200).status == 200
    caller.wait()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "callee")
    lane.assert_talked(cdr, 0.3)
