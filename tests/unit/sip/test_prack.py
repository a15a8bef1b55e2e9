"""100rel on either leg: what is lost, late, doubled or never acknowledged."""

from __future__ import annotations

import re

import pytest
from sip_wire import A_HOP, B_HOP, SDP, Wire, user_agent

from sip.core.dialogs.session import Session, SessionState
from sip.core.events import (
    DialogRequest,
    Event,
    IncomingInvite,
    InviteAnswered,
    InviteFailed,
    PrackMissing,
    ReliableOffer,
)
from sip.core.hop import Hop
from sip.errors import LocalFault


def reliable_wire(*, a: tuple[str, ...] = ("100rel",), b: tuple[str, ...] = ("100rel",), seed: int = 0) -> Wire:
    wire = Wire(seed)
    wire.agents = {A_HOP: user_agent(A_HOP, "a", extensions=a), B_HOP: user_agent(B_HOP, "b", extensions=b)}
    return wire


def on_invite(wire: Wire, *, then: str = "", body: bytes = SDP, reliable: bool | None = True) -> None:
    def react(hop: Hop, event: Event) -> None:
        if isinstance(event, IncomingInvite):
            wire.b.progress(event.session, 183, wire.now, body, reliable=reliable)
            if "ring" in then:
                wire.b.progress(event.session, 180, wire.now, reliable=reliable)
            if "answer" in then:
                wire.b.answer(event.session, wire.now, SDP)
        elif isinstance(event, InviteAnswered):
            wire.a.acknowledge(event.session, wire.now)
        elif isinstance(event, DialogRequest):
            wire.b.respond(event.transaction, 200, wire.now, SDP)

    wire.react = react


def incoming(wire: Wire) -> Session:
    return next(event.session for _, event in wire.events if isinstance(event, IncomingInvite))


def order(wire: Wire) -> list[str]:
    """Start lines as they were sent, shortened."""
    return [data.split(b" ")[1 if data.startswith(b"SIP") else 0].decode() for _, _, data in wire.seen]


def test_reliable_progress_is_acknowledged_by_itself_and_the_answer_waits_for_it() -> None:
    wire = reliable_wire()
    on_invite(wire, then="ring answer")
    session = wire.call()
    wire.run(1)
    assert order(wire) == ["INVITE", "100", "183", "PRACK", "200", "180", "PRACK", "200", "200", "ACK"]
    assert wire.told(A_HOP) == ["InviteProgress", "InviteProgress", "InviteAnswered"]
    assert wire.told(B_HOP) == ["IncomingInvite", "InviteAcknowledged"]
    rseqs = [int(re.findall(rb"\r\nRSeq: (\d+)", data)[0]) for data in wire.sent(b"SIP/2.0 18")]
    assert rseqs[1] == rseqs[0] + 1
    assert [re.findall(rb"\r\nRAck: (.*)\r\n", data) for data in wire.sent(b"PRACK")] == [
        [b"%d 1 INVITE" % rseq] for rseq in rseqs
    ]
    wire.a.bye(session, wire.now)
    wire.run(100)
    assert wire.is_clean()


def test_lost_reliable_progress_and_lost_prack_are_made_good() -> None:
    wire = reliable_wire()
    lost: list[bytes] = []

    def drop(data: bytes, _: Hop) -> bool:
        first = data[:11]
        if first.startswith((b"SIP/2.0 183", b"PRACK")) and first not in lost:
            lost.append(first)
            return True
        return False

    wire.drop = drop
    on_invite(wire, then="answer")
    session = wire.call()
    wire.run(5)
    assert session.state is SessionState.CONFIRMED
    assert wire.told(A_HOP) == ["InviteProgress", "InviteAnswered"]
    assert wire.told(B_HOP) == ["IncomingInvite", "InviteAcknowledged"]
    wire.a.bye(session, wire.now)
    wire.run(100)
    assert wire.is_clean()


def test_copied_reliable_progress_is_told_once() -> None:
    wire = reliable_wire()
    wire.drop = lambda data, _: data.startswith(b"PRACK") and wire.now < 3
    on_invite(wire)
    wire.call()
    wire.run(10)
    assert len(wire.sent(b"SIP/2.0 183")) == 4  # at 0, 0.5, 1.5, 3.5 s; PRACK itself is resent as a transaction
    assert wire.told(A_HOP) == ["InviteProgress"]


def test_without_prack_the_call_is_refused_after_64_t1() -> None:
    wire = reliable_wire()
    wire.drop = lambda data, _: data.startswith(b"PRACK")
    on_invite(wire, then="answer")
    wire.call()
    wire.run(200)
    assert wire.told(B_HOP) == ["IncomingInvite", "PrackMissing"]
    (failed,) = [event for _, event in wire.events if isinstance(event, InviteFailed)]
    assert failed.status == 504
    assert not any(isinstance(event, InviteAnswered | PrackMissing) for where, event in wire.events if where == A_HOP)
    assert wire.is_clean()


def test_cancel_ends_a_reliable_progress() -> None:
    wire = reliable_wire()
    wire.drop = lambda data, _: data.startswith(b"PRACK")
    on_invite(wire)
    session = wire.call()
    wire.run(1)
    wire.a.cancel(session, wire.now)
    wire.run(200)
    assert wire.told(B_HOP) == ["IncomingInvite", "InviteCancelled"]
    assert wire.is_clean()


def test_answer_does_not_wait_for_the_prack_of_a_mere_ringing_which_is_still_known_when_it_comes_late() -> None:
    wire = reliable_wire()
    wire.drop = lambda data, _: data.startswith(b"PRACK") and wire.now < 0.4
    on_invite(wire, then="answer", body=b"")
    wire.call()
    wire.run(3)
    assert wire.told(A_HOP) == ["InviteProgress", "InviteAnswered"]
    assert not wire.sent(b"SIP/2.0 481")
    assert len(wire.sent(b"SIP/2.0 183")) == 1  # not sent again after the answer


@pytest.mark.parametrize(("a", "reliable"), [((), True), (("100rel",), None), (("100rel",), False)])
def test_peer_that_cannot_or_is_not_asked_to_gets_plain_progress(a: tuple[str, ...], reliable: bool | None) -> None:
    wire = reliable_wire(a=a)
    on_invite(wire, then="answer", reliable=reliable)
    wire.call()
    wire.run(1)
    assert not wire.sent(b"PRACK")
    assert b"RSeq" not in wire.sent(b"SIP/2.0 183")[0]
    assert wire.told(A_HOP) == ["InviteProgress", "InviteAnswered"]


def test_peer_that_requires_it_gets_it_unasked() -> None:
    wire = reliable_wire()
    on_invite(wire, then="answer", reliable=None)
    wire.call(headers=[("Require", "100rel")])
    wire.run(1)
    assert len(wire.sent(b"PRACK")) == 1


def test_require_without_the_extension_is_420() -> None:
    wire = reliable_wire(b=())
    on_invite(wire)
    wire.call(headers=[("Require", "100rel")])
    wire.run(1)
    assert len(wire.sent(b"SIP/2.0 420")) == 1


def test_prack_of_nothing_is_481() -> None:
    wire = reliable_wire()
    on_invite(wire)
    wire.call()
    wire.run(1)
    prack = wire.sent(b"PRACK")[0]
    again = re.sub(rb"branch=\w+", b"branch=z9hG4bKother", prack).replace(b"CSeq: 2", b"CSeq: 3")
    wire.b.receive_datagram(again, A_HOP, wire.now)
    assert wire.b.datagrams[-1][0].startswith(b"SIP/2.0 481")
    garbled = re.sub(rb"RAck: .*\r\n", b"RAck: x\r\n", again).replace(b"CSeq: 3", b"CSeq: 4")
    wire.b.receive_datagram(garbled.replace(b"other", b"third"), A_HOP, wire.now)
    assert wire.b.datagrams[-1][0].startswith(b"SIP/2.0 400")


def test_offer_in_a_reliable_progress_is_answered_in_its_prack() -> None:
    wire = reliable_wire()
    on_invite(wire, then="answer")
    plain = wire.react

    def react(hop: Hop, event: Event) -> None:
        if isinstance(event, ReliableOffer):
            wire.a.prack(event.session, event.response, wire.now, b"v=0 answer")
        plain(hop, event)

    wire.react = react
    session = wire.a.invite(target="sip:100@10.0.0.2", hop=B_HOP, from_="<sip:a@x>", to="<sip:b@x>", now=wire.now)
    wire.run(1)
    assert wire.told(A_HOP) == ["ReliableOffer", "InviteProgress", "InviteAnswered"]
    assert wire.told(B_HOP) == ["IncomingInvite", "DialogRequest", "InviteAcknowledged"]
    assert wire.sent(b"PRACK")[0].endswith(b"v=0 answer")
    with pytest.raises(LocalFault):
        wire.a.prack(session, next(e.response for _, e in wire.events if isinstance(e, ReliableOffer)), wire.now, b"")


def test_progress_out_of_order_is_not_heard() -> None:
    wire = reliable_wire()
    on_invite(wire)
    wire.call()
    wire.run(0.1)
    first = wire.sent(b"SIP/2.0 183")[0]
    rseq = int(re.findall(rb"RSeq: (\d+)", first)[0])
    for number in (rseq + 2, rseq - 1):
        wire.a.receive_datagram(first.replace(b"RSeq: %d" % rseq, b"RSeq: %d" % number), B_HOP, wire.now)
    wire.run(0.1)
    assert wire.told(A_HOP) == ["InviteProgress"]
    assert len(wire.sent(b"PRACK")) == 1


@pytest.mark.parametrize("seed", range(25))
def test_bad_wire_makes_one_call_of_it(seed: int) -> None:
    wire = reliable_wire(seed=seed)
    wire.loss, wire.doubling, wire.jitter_seconds = 0.2, 0.2, 0.3
    on_invite(wire, then="ring answer")
    session = wire.call()
    wire.run(25)
    if session.state is SessionState.CONFIRMED:
        wire.a.bye(session, wire.now)
    wire.run(300)
    for agent_session in list(wire.b.sessions.values()):
        wire.b.bye(agent_session, wire.now)
    wire.run(300)
    assert wire.is_clean()
    assert wire.told(B_HOP).count("IncomingInvite") == 1


@pytest.mark.parametrize(
    ("name", "by"), [("RSeq", b"%d 1 INVITE"), ("CSeq", b"%d 9 INVITE"), ("method", b"%d 1 UPDATE")]
)
def test_prack_of_another_response_is_481_and_the_right_one_still_counts(name: str, by: bytes) -> None:
    wire = reliable_wire()
    wire.drop = lambda data, hop: data.startswith(b"PRACK")
    on_invite(wire, then="answer")
    wire.call()
    wire.run(0.1)
    prack = wire.sent(b"PRACK")[0]
    rseq = int(re.findall(rb"RAck: (\d+)", prack)[0])
    rack = by % (rseq + 1 if name == "RSeq" else rseq)
    wrong = re.sub(rb"RAck: [^\r]*", b"RAck: " + rack, re.sub(rb"branch=\w+", b"branch=z9hG4bKother", prack))
    wire.b.receive_datagram(wrong, A_HOP, wire.now)
    assert wire.b.datagrams[-1][0].startswith(b"SIP/2.0 481")
    wire.b.receive_datagram(prack, A_HOP, wire.now)
    wire.run(0.1)
    assert "InviteAnswered" in wire.told(A_HOP)
