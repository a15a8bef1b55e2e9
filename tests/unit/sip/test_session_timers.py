"""RFC 4028: sessions are refreshed, and those whose peer has died are noticed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sip_wire import A_HOP, B_HOP, SDP, Wire, user_agent

from sip.core.dialogs.session import Session, SessionState
from sip.core.dialogs.session_timer import COMPACT_FROM, SessionTimerQueue, TimerOffer, settle
from sip.core.events import DialogRequest, DialogResponse, Event, IncomingInvite, InviteAnswered, SessionExpired
from sip.core.hop import Hop
from sip.core.user_agents.settings import METHODS

NO_UPDATE = tuple(method for method in METHODS if method != "UPDATE")


def timed_wire(
    *,
    a: dict[str, object] | None = None,
    b: dict[str, object] | None = None,
) -> Wire:
    """`a` and `b` are settings over extensions=("timer",)."""
    wire = Wire()
    wire.agents = {
        A_HOP: user_agent(A_HOP, "a", **{"extensions": ("timer",), **(a or {})}),
        B_HOP: user_agent(B_HOP, "b", **{"extensions": ("timer",), **(b or {})}),
    }

    def react(hop: Hop, event: Event) -> None:
        agent = wire.agents[hop]
        if isinstance(event, IncomingInvite):
            agent.answer(event.session, wire.now, SDP)
        elif isinstance(event, InviteAnswered):
            agent.acknowledge(event.session, wire.now)
        elif isinstance(event, DialogRequest):
            agent.respond(event.transaction, 200, wire.now, SDP if event.request.body else b"")
        elif isinstance(event, SessionExpired):
            agent.bye(event.session, wire.now)

    wire.react = react
    return wire


def refreshes(wire: Wire, hop: Hop) -> list[tuple[float, str]]:
    return [
        (round(time), data.split(b" ")[0].decode())
        for time, where, data in wire.seen
        if where == hop and data.startswith((b"UPDATE", b"INVITE"))
    ]


def header(data: bytes, name: str) -> str:
    found = re.findall(rb"\r\n" + name.encode() + rb": ([^\r]*)", data)
    return found[0].decode() if found else ""


def incoming(wire: Wire) -> Session:
    return next(event.session for _, event in wire.events if isinstance(event, IncomingInvite))


def test_caller_refreshes_by_update_at_half_time_and_nobody_is_told() -> None:
    wire = timed_wire()
    session = wire.call()
    wire.run(3000)
    assert header(wire.sent(b"INVITE")[0], "Session-Expires") == "1800"
    assert header(wire.sent(b"SIP/2.0 200 OK")[0], "Session-Expires") == "1800;refresher=uac"
    assert header(wire.sent(b"SIP/2.0 200 OK")[0], "Require") == "timer"
    assert refreshes(wire, A_HOP) == [(0, "INVITE"), (900, "UPDATE"), (1800, "UPDATE"), (2700, "UPDATE")]
    assert refreshes(wire, B_HOP) == []
    assert header(wire.sent(b"UPDATE")[0], "Session-Expires") == "1800;refresher=uac"
    assert wire.told(A_HOP) == ["InviteAnswered"]
    wire.a.bye(session, wire.now)
    wire.run(100)
    assert wire.is_clean()
    assert wire.a.next_deadline() is None
    assert wire.b.next_deadline() is None


def test_refresh_is_a_reinvite_with_the_same_sdp_where_the_peer_takes_no_update() -> None:
    wire = timed_wire(b={"methods": NO_UPDATE})
    wire.call()
    wire.run(1000)
    assert refreshes(wire, A_HOP) == [(0, "INVITE"), (900, "INVITE")]
    first, again = wire.sent(b"INVITE")
    assert again.partition(b"\r\n\r\n")[2] == first.partition(b"\r\n\r\n")[2] == SDP
    assert wire.told(A_HOP) == ["InviteAnswered"]
    assert len(wire.sent(b"ACK")) == 2


def test_silent_refresher_is_noticed_by_the_other_side_before_the_interval_is_over() -> None:
    wire = timed_wire()
    wire.drop = lambda data, _: wire.now > 10
    wire.call()
    wire.run(3000)
    expired = [hop for hop, event in wire.events if isinstance(event, SessionExpired)]
    assert sorted(expired) == [A_HOP, B_HOP]
    assert {round(time) for time, _, data in wire.seen if data.startswith(b"BYE")} >= {900 + 32, 1800 - 32}
    assert not wire.a.sessions
    assert not wire.b.sessions


def test_session_unknown_to_the_peer_expires_at_its_first_refresh() -> None:
    wire = timed_wire()
    session = wire.call()
    wire.run(1)
    wire.b._end(incoming(wire))
    wire.run(1000)
    assert wire.told(A_HOP) == ["InviteAnswered", "SessionExpired", "DialogResponse"]
    assert session.state is SessionState.ENDED


def test_refresh_that_is_refused_for_the_moment_is_tried_again() -> None:
    wire = timed_wire()
    plain = wire.react
    refused = 0

    def react(hop: Hop, event: Event) -> None:
        nonlocal refused
        if isinstance(event, DialogRequest) and refused < 2:
            refused += 1
            wire.b.respond(event.transaction, 491, wire.now)
        else:
            plain(hop, event)

    wire.react = react
    wire.call()
    wire.run(1000)
    assert refreshes(wire, A_HOP) == [(0, "INVITE"), (900, "UPDATE"), (905, "UPDATE"), (910, "UPDATE")]
    wire.run(2000)
    assert not any(isinstance(event, SessionExpired) for _, event in wire.events)


def test_peer_without_the_extension_is_left_alone() -> None:
    for a, b in (((), ("timer",)), (("timer",), ())):
        wire = timed_wire(a={"extensions": a}, b={"extensions": b})
        wire.call()
        wire.run(4000)
        assert [method for _, method in refreshes(wire, A_HOP) + refreshes(wire, B_HOP)] == ["INVITE"]


def test_called_side_refreshes_for_a_caller_whose_proxy_wants_it() -> None:
    wire = timed_wire(a={"extensions": ()})
    wire.call(headers=[("Session-Expires", "600")])
    wire.run(1000)
    assert header(wire.sent(b"SIP/2.0 200 OK")[0], "Session-Expires") == "600;refresher=uas"
    assert header(wire.sent(b"SIP/2.0 200 OK")[0], "Require") == ""
    assert [round(time) for time, _ in refreshes(wire, B_HOP)] == [300, 600, 900]


def test_interval_too_small_is_422_and_the_caller_comes_back_with_more_in_the_same_call() -> None:
    wire = timed_wire(a={"session_expires_seconds": 120}, b={"session_expires_seconds_min": 400})
    wire.call()
    wire.run(500)
    first, again = wire.sent(b"INVITE")
    assert header(wire.sent(b"SIP/2.0 422")[0], "Min-SE") == "400"
    assert (header(again, "Session-Expires"), header(again, "Min-SE"), header(again, "CSeq")) == (
        "400",
        "400",
        "2 INVITE",
    )
    assert header(first, "Call-ID") == header(again, "Call-ID")
    assert header(first, "From") == header(again, "From")
    assert wire.told(A_HOP) == ["InviteAnswered"]
    assert wire.told(B_HOP)[0] == "IncomingInvite"
    assert [round(time) for time, _ in refreshes(wire, A_HOP)[2:]] == [200, 400]


def test_an_interval_that_the_peer_has_refused_does_not_come_back_by_its_own_request() -> None:
    """Our answer to its re-INVITE had the interval that it had refused before, and so had each refresh of ours."""
    wire = timed_wire(a={"session_expires_seconds": 120}, b={"session_expires_seconds_min": 400})
    wire.call()
    wire.run(10)
    wire.b.request(incoming(wire), "INVITE", wire.now, body=SDP)
    wire.run(1000)
    assert "SessionExpired" not in wire.told(A_HOP) + wire.told(B_HOP)
    assert header(wire.sent(b"SIP/2.0 200")[-1], "Session-Expires").startswith("400")


def test_a_refresh_asks_for_as_much_as_the_peer_demands_though_it_has_granted_less() -> None:
    wire = timed_wire(a={"session_expires_seconds": 120})
    session = wire.call()
    wire.run(10)
    session.interval_min = 400  # of an earlier 422
    wire.b.settings = replace(wire.b.settings, session_expires_seconds_min=400)
    wire.run(300)
    assert "SessionExpired" not in wire.told(A_HOP) + wire.told(B_HOP)


def test_422_without_end_is_not_followed() -> None:
    wire = timed_wire()
    wire.drop = lambda data, hop: hop == B_HOP
    wire.call()
    wire.run(0.01)
    invite = wire.sent(b"INVITE")[0]
    for minimum in (1000, 99_999_999_999):  # no more than was asked for; more than anyone can mean
        head = re.sub(rb"^[^\r]*", b"SIP/2.0 422 x", invite.partition(b"Content-Type")[0])
        answer = head.replace(b"\r\nTo: <sip:100@10.0.0.2>", b"\r\nTo: <sip:100@10.0.0.2>;tag=b")
        wire.a.receive_datagram(answer + b"Min-SE: %d\r\n\r\n" % minimum, B_HOP, wire.now)
    wire.run(0.01)
    assert len(wire.sent(b"INVITE")) == 1
    assert wire.told(A_HOP) == ["InviteFailed"]


def test_cancelled_call_does_not_come_back_after_422() -> None:
    wire = timed_wire(a={"session_expires_seconds": 120}, b={"session_expires_seconds_min": 400})
    session = wire.call()
    wire.a.cancel(session, wire.now)
    wire.run(100)
    assert len(wire.sent(b"INVITE")) == 1
    assert wire.told(A_HOP) == ["InviteFailed"]
    assert wire.is_clean()


def test_interval_of_one_second_does_not_make_us_refresh_without_end() -> None:
    wire = timed_wire()
    session = wire.call()
    wire.run(1)
    ok = wire.sent(b"SIP/2.0 200 OK")[0].replace(b"Session-Expires: 1800", b"Session-Expires: 1")
    wire = timed_wire()
    wire.drop = lambda data, hop: hop == B_HOP
    session = wire.call()
    wire.run(0.01)
    wire.a.receive_datagram(ok, B_HOP, wire.now)
    assert session.timer is not None
    assert session.timer.interval == 90


def test_renegotiation_of_the_transaction_user_counts_as_a_refresh() -> None:
    wire = timed_wire()
    session = wire.call()
    wire.run(800)
    wire.a.request(session, "INVITE", wire.now, b"v=0 new")
    wire.run(850)
    assert [event.status for _, event in wire.events if isinstance(event, DialogResponse)] == [200]
    assert session.local_sdp == b"v=0 new"
    assert refreshes(wire, A_HOP) == [(0, "INVITE"), (800, "INVITE")]
    wire.run(100)
    assert refreshes(wire, A_HOP)[-1] == (1700, "UPDATE")


def test_refused_offer_is_not_what_a_refresh_repeats() -> None:
    wire = timed_wire(b={"methods": NO_UPDATE})
    plain = wire.react
    wire.react = lambda hop, event: (
        wire.b.respond(event.transaction, 488, wire.now)
        if isinstance(event, DialogRequest) and event.request.body == b"v=0 new"
        else plain(hop, event)
    )
    session = wire.call()
    wire.run(10)
    wire.a.request(session, "INVITE", wire.now, b"v=0 new")
    wire.run(1000)
    assert wire.sent(b"INVITE")[-1].endswith(SDP)
    assert refreshes(wire, A_HOP)[-1] == (900, "INVITE")


@pytest.mark.parametrize(
    ("offer", "settled"),
    [
        (TimerOffer(0, 90, "", False), None),
        (TimerOffer(0, 90, "", True), (1800, "uac")),
        (TimerOffer(3600, 90, "uas", True), (1800, "uas")),
        (TimerOffer(3600, 2000, "", True), (2000, "uac")),
        (TimerOffer(600, 90, "uac", False), (600, "uas")),
        (TimerOffer(0, 4_000_000_000, "", True), (86_400, "uac")),
    ],
)
def test_settled_interval_keeps_within_both_sides_bounds(offer: TimerOffer, settled: tuple[int, str] | None) -> None:
    assert settle(offer, 1800) == settled


def test_alarms_of_ended_sessions_do_not_pile_up() -> None:
    queue = SessionTimerQueue()
    wire = timed_wire()
    session = wire.call()
    for number in range(10 * COMPACT_FROM):
        queue.set(float(number), session, is_expiry=False).session = None
    assert len(queue) <= COMPACT_FROM
    assert queue.next_deadline() is None


def test_refresh_waits_for_a_renegotiation_under_way() -> None:
    wire = timed_wire(b={"methods": NO_UPDATE})
    plain = wire.react
    wire.react = lambda hop, event: None if isinstance(event, DialogRequest) else plain(hop, event)
    session = wire.call()
    wire.run(895)
    wire.a.request(session, "INVITE", wire.now, b"v=0 new")
    wire.run(10)
    assert refreshes(wire, A_HOP)[-1] in ((895, "INVITE"), (896, "INVITE"), (898, "INVITE"), (902, "INVITE"))
    assert all(data.endswith(b"v=0 new") for data in wire.sent(b"INVITE")[1:])
