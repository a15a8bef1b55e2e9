"""Calls between two user agents: the ordinary course, and what crosses or gets lost on the way."""

from __future__ import annotations

from sip_wire import A_HOP, B_HOP, SDP, Wire

from sip.core.events import Event, IncomingInvite, InviteAnswered
from sip.core.hop import Hop


def answering(wire: Wire) -> None:
    def react(hop: Hop, event: Event) -> None:
        agent = wire.agents[hop]
        if isinstance(event, IncomingInvite):
            agent.progress(event.session, 180, wire.now)
            agent.answer(event.session, wire.now, SDP)
        elif isinstance(event, InviteAnswered):
            agent.acknowledge(event.session, wire.now)

    wire.react = react


def test_plain_call_leaves_nothing_behind() -> None:
    wire = Wire()
    answering(wire)
    session = wire.call()
    wire.run(3)
    wire.a.bye(session, wire.now)
    wire.run(100)
    assert wire.told(A_HOP) == ["InviteProgress", "InviteAnswered", "DialogResponse"]
    assert wire.told(B_HOP) == ["IncomingInvite", "InviteAcknowledged", "SessionEnded"]
    assert wire.is_clean()
