"""Two phones and an engine in virtual time: A calls B over X, and the test says what each of them does."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from engine.domain.cdr import Cdr, CdrState
from engine.domain.facts import TrunkFacts
from sip.core import events as sip_events
from sip.core.dialogs.session import Session
from sip.core.hop import Hop
from tests.sim.calm import calm_engine
from tests.sim.engine import ENGINE, TIMERS
from tests.sim.network import Network, Weather
from tests.sim.node import Node
from tests.sim.phones import SDP
from tests.sim.timeline import Timeline
from tests.sim.world import a_number, host

X = "+861065600000"


class Phone:
    """Does what the test says, and keeps what it hears."""

    def __init__(self, name: str, hop: Hop, timeline: Timeline, network: Network) -> None:
        self.node = Node(name, hop, timeline, network, TIMERS)
        self._timeline = timeline
        self.heard: list[sip_events.Event] = []
        self.session: Session | None = None
        self.answers = True
        self.refuses = 0
        self.reinvite_status = 200
        self.reinvites_refused_max = 1_000
        """How often; then one is answered."""
        self.answer_in_ack = SDP
        self.node.put_above(self)

    def dial(self, number: str, caller: str, *, body: bytes = SDP, headers: Iterable[tuple[str, str]] = ()) -> Session:
        """Calls ``number`` through the engine, as ``caller``."""
        session = self.node.user_agent.invite(
            target=f"sip:{number}@{ENGINE.host}",
            hop=ENGINE,
            from_=f"<sip:{caller}@{host(0)}>",
            to=f"<sip:x@{ENGINE.host}>",
            now=self._timeline.now,
            body=body,
            headers=[*headers],
        )
        self.node.flush()
        return session

    def receive(self, event: sip_events.Event, now: float) -> None:
        self.heard.append(event)
        agent = self.node.user_agent
        match event:
            case sip_events.IncomingInvite(session=session):
                self.session = session
                if self.refuses:
                    agent.reject(session, self.refuses, now)
                elif self.answers:
                    agent.answer(session, now, SDP)
            case sip_events.InviteAnswered(session=session):
                agent.acknowledge(session, now, b"" if session.local_sdp else self.answer_in_ack)
            case sip_events.DialogResponse(session=session, method="INVITE", status=200) if session.client is not None:
                agent.acknowledge(session, now, self.answer_in_ack)
            case sip_events.DialogRequest(transaction=transaction, request=request):
                refuses = self.reinvite_status != 200 and len(self.requests("INVITE")) <= self.reinvites_refused_max
                if request.method == "INVITE" and refuses:
                    agent.respond(transaction, self.reinvite_status, now)
                else:
                    agent.respond(transaction, 200, now, body=SDP if request.method == "INVITE" else b"")
            case _:
                pass

    def fire_timers(self, now: float) -> None:
        pass

    def next_deadline(self) -> float | None:
        return None

    def commit(self, now: float) -> None:
        pass

    def responses(self, method: str) -> list[int]:
        return [
            event.status
            for event in self.heard
            if isinstance(event, sip_events.DialogResponse) and event.method == method
        ]

    def requests(self, method: str) -> list[sip_events.DialogRequest]:
        return [
            event
            for event in self.heard
            if isinstance(event, sip_events.DialogRequest) and event.request.method == method
        ]


class World:
    """A calls B over X, both on a good network; the world of the simulator's first pair."""

    def __init__(self, trunk: TrunkFacts | None = None) -> None:
        self.timeline = Timeline()
        self.network = Network(self.timeline, Random(0), Weather())
        self.engine = calm_engine(self.timeline, self.network, trunk=trunk)
        self.a = Phone("a", Hop("udp", host(0), 5070), self.timeline, self.network)
        self.b = Phone("b", Hop("udp", host(0), 5080), self.timeline, self.network)

    def call(self, body: bytes = SDP, headers: Iterable[tuple[str, str]] = (), seconds: float = 2.0) -> Session:
        session = self.a.dial(X, a_number(0), body=body, headers=headers)
        self.pass_seconds(seconds)
        return session

    def ended(self) -> Cdr:
        (cdr,) = [each for each in self.engine.records if each.state is CdrState.ENDED]
        return cdr

    def pass_seconds(self, seconds: float) -> None:
        self.timeline.pass_seconds(seconds)

    def kill_engine(self, away_seconds: float = 1.0, then_seconds: float = 1.0) -> None:
        """It dies at once; the next one takes up the calls after ``away_seconds``, and has when this returns."""
        self.engine._away = away_seconds
        self.engine.die()
        self.pass_seconds(away_seconds + then_seconds)

    def in_dialog(self, session: Session, method: str, body: bytes, content_type: str | None = None) -> None:
        self.a.node.user_agent.request(session, method, self.timeline.now, body=body, content_type=content_type)
        self.a.node.flush()
        self.pass_seconds(1)
