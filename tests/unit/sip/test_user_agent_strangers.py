"""What a stranger with a made-up address can make us send."""

from __future__ import annotations

import re

import pytest
from sip_wire import A_HOP, B_HOP, SDP, Wire

from sip.core.events import Event, IncomingInvite
from sip.core.hop import Hop


@pytest.fixture
def wire() -> Wire:
    """B challenges each INVITE, once; A's side of the wire never hears of it."""
    made = Wire()

    def challenge(hop: Hop, event: Event) -> None:
        if isinstance(event, IncomingInvite):
            made.b.reject(event.session, 401, made.now, once=True)

    made.react = challenge
    made.drop = lambda data, destination: destination == A_HOP
    return made


def invites_and_answers(wire: Wire) -> tuple[int, int]:
    return len(wire.sent(b"INVITE ", A_HOP)), len(wire.sent(b"SIP/2.0 401 ", B_HOP))


def test_one_made_up_invite_does_not_bring_its_victim_eleven_answers(wire: Wire) -> None:
    wire.call()
    wire.run(0.1)
    wire.drop = lambda data, destination: True
    assert invites_and_answers(wire) == (1, 1)
    wire.run(40)
    assert invites_and_answers(wire)[1] == 1
    assert not wire.b._layer.servers, "nothing of it is left after 64 × T1"


def test_a_lost_challenge_comes_again_with_the_invites_own_copy(wire: Wire) -> None:
    wire.call()
    wire.run(1.0)
    assert invites_and_answers(wire) == (2, 2)
    wire.drop = lambda data, destination: False
    wire.run(60)
    assert wire.told(A_HOP) == ["InviteFailed"]
    assert wire.is_clean()


@pytest.mark.parametrize(("is_at_once", "answers"), [(True, [b"401"]), (False, [b"100", b"401"])])
def test_no_trying_goes_before_a_challenge_that_is_sent_at_once(is_at_once: bool, answers: list[bytes]) -> None:
    """pyVoIP takes a 100 for the end of authentication and never reads the 401 behind it: its calls came to nothing."""
    wire = Wire()
    wire.call()
    (invite, _), *_ = wire.a.datagrams
    wire.b.receive_datagram(invite, A_HOP, 0.0)
    sent: list[bytes] = []
    if not is_at_once:
        sent += [data for data, _ in wire.b.datagrams]
        wire.b.datagrams.clear()
    (event,) = wire.b.events
    assert isinstance(event, IncomingInvite)
    wire.b.reject(event.session, 401, 0.0)
    sent += [data for data, _ in wire.b.datagrams]
    assert [data[8:11] for data in sent] == answers


@pytest.mark.parametrize(("from_tag", "is_counted"), [("", True), ("of-somebody-else", False)])
def test_ack_with_a_made_up_to_tag_is_told_by_the_branch(from_tag: str, is_counted: bool) -> None:
    """pyVoIP's ACK to a 2xx has its INVITE's branch, and a To tag that nobody gave (RFC 6026 §7.1)."""
    wire = Wire()
    wire.react = lambda hop, event: (
        wire.b.answer(event.session, wire.now, SDP) if isinstance(event, IncomingInvite) else None
    )
    wire.call()
    wire.run(0.1)
    head = wire.sent(b"INVITE ", A_HOP)[0].partition(b"\r\n\r\n")[0].decode()
    lines = [line for line in head.split("\r\n")[1:] if line.split(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq")]
    ack = "\r\n".join(["ACK sip:100@10.0.0.2 SIP/2.0", *lines, "Max-Forwards: 70", "Content-Length: 0", "", ""])
    ack = re.sub("(?m)^(To:.*?)\r", "\\1;tag=made-up\r", ack).replace("INVITE", "ACK")
    if from_tag:
        ack = re.sub("(?m)^(From:.*;tag=).*\r", f"\\1{from_tag}\r", ack)
    wire.b.receive_datagram(ack.encode(), A_HOP, wire.now)
    wire.run(40)
    assert ("InviteAcknowledged" in wire.told(B_HOP), "AckMissing" in wire.told(B_HOP)) == (is_counted, not is_counted)
