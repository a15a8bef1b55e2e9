"""What a stranger with a made-up address can make us send."""

from __future__ import annotations

import pytest
from sip_wire import A_HOP, B_HOP, Wire

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
