"""Phones with the vices of the field. Each draws its conduct from the seed before its call."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from sip.core import events as sip_events
from sip.core.hop import Hop
from sip.core.session import Session
from tests.sim.node import Node
from tests.sim.timeline import Timeline

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
)
FINAL_FAILURES = (404, 408, 480, 486, 488, 500, 503, 600, 603, 302)


@dataclass(frozen=True)
class CalleeConduct:
    """Seconds are from the INVITE's arrival; None means never."""

    ring_after: float | None
    early_media: bool
    answer_after: float | None
    fail_status: int | None
    hang_up_after: float | None
    """From its answer."""
    answers_without_sdp: bool

    @classmethod
    def draw(cls, random: Random) -> CalleeConduct:
        fails = random.random() < 0.2
        return cls(
            ring_after=random.choice((None, 0.05, 0.5)),
            early_media=random.random() < 0.2,
            answer_after=None if fails or random.random() < 0.1 else random.choice((0.0, 0.3, 2.0, 5.0)),
            fail_status=random.choice(FINAL_FAILURES) if fails else None,
            hang_up_after=random.choice((None, None, None, None, 0.0, 0.01, 3.0, 70.0)),
            answers_without_sdp=random.random() < 0.05,
        )


@dataclass(frozen=True)
class CallerConduct:
    """Seconds are from the INVITE; ``hang_up_after`` from the answer."""

    cancel_after: float | None
    hang_up_after: float | None
    holds_after: float | None
    never_acknowledges: bool
    is_silent_after_invite: bool

    @classmethod
    def draw(cls, random: Random) -> CallerConduct:
        return cls(
            cancel_after=random.choice((None,) * 14 + (0.0, 0.31, 2.0, 2.02, 5.0, 5.04)),
            hang_up_after=random.choice((None, None, None, 0.0, 0.02, 1.0, 59.99, 60.0, 61.0, 130.0)),
            holds_after=random.choice((None, None, None, 0.5)),
            never_acknowledges=random.random() < 0.05,
            is_silent_after_invite=random.random() < 0.03,
        )


GIVES_UP_SECONDS = 300.0
"""However a phone is drawn to behave, nobody listens for ever: this ends calls that both sides would leave open."""


class CallerPhone:
    def __init__(self, node: Node, timeline: Timeline, conduct: CallerConduct) -> None:
        self.node = node
        self._timeline = timeline
        self._conduct = conduct
        self._session: Session | None = None
        self.over = False
        self._is_held = False
        node.put_above(self)
        if conduct.never_acknowledges:
            node.outgoing_filter = lambda data: not data.startswith(b"ACK ")
        if conduct.is_silent_after_invite:
            node.outgoing_filter = lambda data: data.startswith(b"INVITE ")

    def call(self, own_number: str, number: str, engine: Hop) -> None:
        conduct, now = self._conduct, self._timeline.now
        self._session = self.node.user_agent.invite(
            target=f"sip:{number}@{engine.host}",
            hop=engine,
            from_=f"<sip:{own_number}@{self.node.hop.host}>",
            to=f"<sip:{number}@{engine.host}>",
            now=now,
            body=SDP,
            headers=[("Require", "100rel")] if "100rel" in self.node.user_agent.settings.extensions else [],
        )
        self.node.flush()
        if conduct.cancel_after is not None:
            self._timeline.after(conduct.cancel_after, self._cancel)
        self._timeline.after(GIVES_UP_SECONDS, self._hang_up)

    def receive(self, event: sip_events.Event, now: float) -> None:
        agent = self.node.user_agent
        match event:
            case sip_events.InviteAnswered(session=session):
                agent.acknowledge(session, now)
                if self._conduct.hang_up_after is not None:
                    self._timeline.after(self._conduct.hang_up_after, self._hang_up)
                if self._conduct.holds_after is not None:
                    self._timeline.after(self._conduct.holds_after, self._hold)
            case sip_events.InviteFailed() | sip_events.SessionEnded():
                self.over = True
            case sip_events.SessionExpired(session=session):
                agent.bye(session, now)
            case sip_events.DialogRequest(transaction=transaction):
                agent.respond(transaction, 200, now, body=SDP)
            case _:
                pass

    def fire_timers(self, now: float) -> None:
        pass

    def next_deadline(self) -> float | None:
        return None

    def commit(self, now: float) -> None:
        pass

    def _cancel(self) -> None:
        if self._session is not None:
            self.node.user_agent.cancel(self._session, self._timeline.now)
            self.node.flush()

    def _hang_up(self) -> None:
        if self._session is not None:
            self.node.user_agent.bye(self._session, self._timeline.now)
            self.node.flush()

    def _hold(self) -> None:
        if self._session is not None and not self.over and not self._is_held:
            self._is_held = True
            offer = SDP + b"a=sendonly\r\n"
            if self._session.state.name == "CONFIRMED" and not self._session.pending_client:
                self.node.user_agent.request(self._session, "INVITE", self._timeline.now, body=offer)
                self.node.flush()


class CalleePhone:
    """Stands at the trunk's address for one callee number; several calls to it are its several sessions."""

    def __init__(self, node: Node, timeline: Timeline, random: Random) -> None:
        self.node = node
        self._timeline = timeline
        self._random = random
        node.put_above(self)

    def receive(self, event: sip_events.Event, now: float) -> None:
        match event:
            case sip_events.IncomingInvite(session=session):
                self._ring(session, CalleeConduct.draw(self._random))
            case sip_events.DialogRequest(transaction=transaction, request=request):
                status = 491 if self._random.random() < 0.2 else 200
                self.node.user_agent.respond(transaction, status, now, body=request.body and SDP)
            case sip_events.AckMissing(session=session) | sip_events.SessionExpired(session=session):
                self.node.user_agent.bye(session, now)
            case _:
                pass

    def fire_timers(self, now: float) -> None:
        pass

    def next_deadline(self) -> float | None:
        return None

    def commit(self, now: float) -> None:
        pass

    def _ring(self, session: Session, conduct: CalleeConduct) -> None:
        agent, timeline = self.node.user_agent, self._timeline

        def ring() -> None:
            body = SDP if conduct.early_media else b""
            status = 183 if conduct.early_media else 180
            agent.progress(session, status, timeline.now, body=body, reliable="100rel" in agent.settings.extensions)
            self.node.flush()

        def answer() -> None:
            agent.answer(session, timeline.now, b"" if conduct.answers_without_sdp else SDP)
            if conduct.hang_up_after is not None:
                timeline.after(conduct.hang_up_after, hang_up)
            self.node.flush()

        def fail(status: int) -> None:
            agent.reject(session, status, timeline.now)
            self.node.flush()

        def hang_up() -> None:
            agent.bye(session, timeline.now)
            self.node.flush()

        if conduct.ring_after is not None:
            timeline.after(conduct.ring_after, ring)
        if conduct.answer_after is not None:
            timeline.after(conduct.answer_after, answer)
        if conduct.fail_status is not None:
            status = conduct.fail_status
            timeline.after(self._random.choice((0.0, 0.1, 3.0)), lambda: fail(status))
