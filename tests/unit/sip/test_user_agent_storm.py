"""Many calls at once with random ends on a bad wire: whatever happens, each leg ends once and nothing is left."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from sip_wire import A_HOP, SDP, Wire

from sip.core.dialogs.session import Session, SessionState
from sip.core.events import (
    AckMissing,
    DialogRequest,
    DialogResponse,
    Event,
    IncomingInvite,
    InviteAnswered,
    InviteCancelled,
    InviteFailed,
    SessionEnded,
)
from sip.core.hop import Hop
from sip.errors import LocalFault

CALLS = 12


class Crowd:
    """Both transaction users: they answer, refuse, hang up and re-INVITE as the dice fall."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.wire = Wire(seed, loss=0.15, doubling=0.15, jitter_seconds=0.2)
        self.wire.react = self._react
        self.ends: Counter[int] = Counter()
        self.begun: dict[int, Session] = {}
        self.rejected: set[int] = set()

    def _react(self, hop: Hop, event: Event) -> None:
        agent, now = self.wire.agents[hop], self.wire.now
        if isinstance(event, IncomingInvite):
            self.begun[id(event.session)] = event.session
            agent.progress(event.session, self.dice.choice([180, 183]), now)
            self._decide(event.session)
        elif isinstance(event, InviteAnswered):
            if self.dice.random() < 0.9:
                agent.acknowledge(event.session, now)
            else:
                agent.bye(event.session, now)
        elif isinstance(event, AckMissing):
            agent.bye(event.session, now)
        elif isinstance(event, DialogRequest):
            agent.respond(event.transaction, self.dice.choice([200, 200, 488]), now, SDP)
        elif isinstance(event, InviteFailed | InviteCancelled | SessionEnded) or (
            isinstance(event, DialogResponse) and event.method == "BYE"
        ):
            self.ends[id(event.session)] += 1
            assert event.session.state is SessionState.ENDED

    def _decide(self, session: Session) -> None:
        roll = self.dice.random()
        if roll < 0.5:
            self.wire.b.answer(session, self.wire.now, SDP)
        elif roll < 0.6:
            self.rejected.add(id(session))
            self.wire.b.reject(session, 486, self.wire.now)

    def disturb(self) -> None:
        """One random act on one random session of one side."""
        hop, agent = self.dice.choice(list(self.wire.agents.items()))
        if not agent.sessions:
            return
        session = self.dice.choice(list(agent.sessions.values()))
        now, act = self.wire.now, self.dice.randrange(5)
        if act == 0:
            if not session.outgoing and session.state <= SessionState.EARLY:
                self.rejected.add(id(session))
            agent.bye(session, now)
        elif act == 1 and session.outgoing:
            agent.cancel(session, now)
        elif act == 2 and hop != A_HOP:
            self.wire.b.answer(session, now, SDP)
        else:
            try:
                agent.request(session, self.dice.choice(["INFO", "UPDATE", "INVITE"]), now, SDP)
            except LocalFault:
                return  # no dialog yet, or an INVITE pending: the agent says so and stays as it was


@pytest.mark.parametrize("seed", range(30))
def test_every_leg_ends_exactly_once_and_leaves_nothing(seed: int) -> None:
    crowd = Crowd(seed)
    wire = crowd.wire
    for _ in range(CALLS):
        session = wire.call()
        crowd.begun[id(session)] = session
        for _ in range(4):
            wire.run(crowd.dice.random() * 2)
            crowd.disturb()
    for _ in range(6):
        for agent in wire.agents.values():
            for session in list(agent.sessions.values()):
                if not session.outgoing and session.state <= SessionState.EARLY:
                    crowd.rejected.add(id(session))
                agent.bye(session, wire.now)
        wire.run(70)
    assert wire.is_clean()
    for key in crowd.begun:
        assert crowd.ends[key] == (0 if key in crowd.rejected else 1)
