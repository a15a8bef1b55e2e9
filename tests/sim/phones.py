"""Phones that behave as they please. Each draws its conduct from the seed before its call.

What they do here a user agent may do; what none may do are the vices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from sip.core import events as sip_events
from sip.core.authorization import Accounts
from sip.core.dialogs.session import Session, SessionState
from sip.core.hop import Hop
from sip.errors import LocalFault
from tests.sim.node import Node
from tests.sim.timeline import Timeline

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
)
TAKES_EVENTS = b"a=rtpmap:101 telephone-event/8000\r\n"
FINAL_FAILURES = (404, 408, 480, 486, 488, 500, 503, 600, 603, 302)
REFUSALS_IN_DIALOG = (491, 491, 491, 405, 481, 488, 500, 503)
GLARE_TRIES_MAX = 5
TRANSFERS_AFTER = (0.0, 0.3, 2.0, 8.0, 30.0)
GIVES_UP_SECONDS = 300.0
"""However a phone is drawn to behave, nobody listens for ever: this ends calls that both sides would leave open."""


@dataclass(frozen=True)
class CalleeConduct:
    """Seconds are from the INVITE's arrival; None means never."""

    ring_after: float | None
    rings: int
    early_media: bool
    answer_after: float | None
    fail_status: int | None
    hang_up_after: float | None
    """From its answer."""
    answers_without_sdp: bool
    transfers_after: float | None = None
    """From its answer; to a colleague, or, where it has two calls, of one to the other."""

    @classmethod
    def draw(cls, random: Random) -> CalleeConduct:
        fails = random.random() < 0.15
        return cls(
            ring_after=random.choice((None, 0.05, 0.5)),
            rings=random.choice((1, 1, 1, 3)),
            early_media=random.random() < 0.2,
            answer_after=None if fails or random.random() < 0.07 else random.choice((0.0, 0.3, 2.0, 5.0)),
            fail_status=random.choice(FINAL_FAILURES) if fails else None,
            hang_up_after=random.choice((None,) * 8 + (0.0, 0.01, 3.0, 70.0)),
            answers_without_sdp=random.random() < 0.05,
        )


@dataclass(frozen=True)
class CallerConduct:
    """Seconds are from the INVITE; ``hang_up_after`` and what comes after it from the answer."""

    cancel_after: float | None
    hang_up_after: float | None
    holds_after: float | None
    offers: bool
    """Else the offer is the callee's to make, and the answer stands in the ACK …"""
    answers_offers: bool
    """… where this phone knows that."""
    crossing: tuple[float, str, str] | None
    """When both phones act at once, and what the caller and the callee do."""

    @classmethod
    def draw(cls, random: Random) -> CallerConduct:
        return cls(
            cancel_after=random.choice((None,) * 40 + (0.0, 0.31, 2.0, 2.02, 5.0, 5.04)),
            hang_up_after=random.choice((None, None, None, 0.0, 0.02, 1.0, 20.0, 59.99, 60.0, 61.0, 130.0)),
            holds_after=random.choice((None, None, None, 0.5)),
            offers=random.random() >= 0.15,
            answers_offers=random.random() >= 0.1,
            crossing=random.choice((None, None, (random.choice((0.0, 0.05, 1.0, 8.0)), _act(random), _act(random)))),
        )


def _act(random: Random) -> str:
    return random.choice(("INVITE", "INVITE", "offerless INVITE", "BYE", "BYE", "UPDATE", "INFO", "OPTIONS", "REFER"))


class Phone:
    """What callers and callees have in common: how they act in mid-call, and answer what comes."""

    def __init__(self, node: Node, timeline: Timeline, random: Random) -> None:
        self.node = node
        self.timeline = timeline
        self.random = random
        self.left_on_the_line: list[float] = []
        """When it gave up calls that its peer had never ended."""
        self.left_waiting = 0
        """How often it gave up calls that had no final answer, or rang for nobody."""
        self.refuses = random.random() < 0.15
        """Whether it refuses every other request in mid-call, refreshes of the session too."""
        self.unacknowledged = 0
        self.expired = 0
        self._glares = 0
        self._sessions: list[Session] = []
        self.sdp = SDP + TAKES_EVENTS if random.random() < 0.5 else SDP
        node.put_above(self)

    def receive(self, event: sip_events.Event, now: float) -> None:
        agent, random = self.node.user_agent, self.random
        match event:
            case sip_events.DialogRequest(transaction=transaction, request=request):
                status = random.choice(REFUSALS_IN_DIALOG) if self.refuses and random.random() < 0.5 else 200
                is_offer = request.body or request.method == "INVITE"
                agent.respond(transaction, status, now, body=self.sdp if status == 200 and is_offer else b"")
            case sip_events.DialogResponse(session=session, method="INVITE", status=491):
                self._try_again(session)
            case sip_events.DialogResponse(session=session, method="INVITE", status=status):
                self._answer_offer(session, status)
            case sip_events.AckMissing(session=session):
                self.unacknowledged += 1
                agent.bye(session, now)
            case sip_events.SessionExpired(session=session):
                self.expired += 1
                agent.bye(session, now)
            case _:
                pass

    def fire_timers(self, now: float) -> None:
        pass

    def next_deadline(self) -> float | None:
        return None

    def commit(self, now: float) -> None:
        pass

    def act(self, session: Session, what: str) -> None:
        """Sends a request in mid-call, where there is one still."""
        agent, now = self.node.user_agent, self.timeline.now
        if session.state is SessionState.ENDED:
            return
        try:
            match what:
                case "BYE":
                    agent.bye(session, now)
                case "INVITE":
                    agent.request(session, "INVITE", now, body=self.sdp + b"a=sendonly\r\n")
                case "offerless INVITE":
                    agent.request(session, "INVITE", now)
                case "UPDATE":
                    agent.request(session, "UPDATE", now, body=self.sdp)
                case "REFER":
                    agent.request(session, what, now, headers=[("Refer-To", self._refers_to(session))])
                case "INFO":
                    key = b"Signal=5\r\nDuration=160\r\n"
                    agent.request(session, "INFO", now, body=key, content_type="application/dtmf-relay")
                case _:
                    agent.request(session, what, now)
        except LocalFault:
            pass  # a phone's own user agent would not do it now
        self.node.flush()

    def _refers_to(self, session: Session) -> str:
        """The party of another call of this phone's, or a colleague."""
        for other in self._sessions:
            if other is not session and other.state is SessionState.CONFIRMED:
                tags = f"to-tag%3D{other.remote_tag}%3Bfrom-tag%3D{other.local_tag}"
                return f"<sip:x@{self.node.hop.host}?Replaces={other.call_id}%3B{tags}>"
        return f"<sip:agent{self.random.randrange(6)}@{self.node.hop.host}>"

    def _try_again(self, session: Session) -> None:
        """RFC 3261 §14.1: whoever owns the Call-ID waits longer."""
        self._glares += 1
        if self._glares > GLARE_TRIES_MAX:
            return
        wait = self.random.uniform(2.1, 4.0) if session.outgoing else self.random.uniform(0.0, 2.0)
        self.timeline.after(wait, lambda: self.act(session, "INVITE"))

    def _answer_offer(self, session: Session, status: int) -> None:
        if 200 <= status < 300 and session.client is not None and session.state is SessionState.CONFIRMED:
            self.node.user_agent.acknowledge(session, self.timeline.now, self.sdp)

    def _give_up(self, session: Session) -> None:
        if session.state is SessionState.CONFIRMED:
            self.left_on_the_line.append(self.timeline.now)
        elif session.state <= SessionState.EARLY:
            self.left_waiting += 1
        self.node.user_agent.bye(session, self.timeline.now)
        self.node.flush()


class CallerPhone(Phone):
    """``together(what)`` has the callee act at the same moment."""

    def __init__(
        self,
        node: Node,
        timeline: Timeline,
        random: Random,
        together: Callable[[str], None],
        conduct: CallerConduct | None = None,
    ) -> None:
        super().__init__(node, timeline, random)
        self._conduct = conduct or CallerConduct.draw(random)
        self._together = together
        self.session: Session | None = None
        self.was_answered = False

    def call(self, own_number: str, number: str, engine: Hop, accounts: Accounts | None = None) -> None:
        conduct, agent = self._conduct, self.node.user_agent
        self.session = session = agent.invite(
            target=f"sip:{number}@{engine.host}",
            hop=engine,
            from_=f"<sip:{own_number}@{self.node.hop.host}>",
            to=f"<sip:{number}@{engine.host}>",
            now=self.timeline.now,
            body=self.sdp if conduct.offers else b"",
            headers=[("Require", "100rel")] if conduct.offers and "100rel" in agent.settings.extensions else [],
            accounts=accounts,
            reliable=conduct.offers,
        )
        self.node.flush()
        if conduct.cancel_after is not None:
            self.timeline.after(conduct.cancel_after, lambda: self._cancel(session))
        self.timeline.after(GIVES_UP_SECONDS, lambda: self._give_up(session))

    def receive(self, event: sip_events.Event, now: float) -> None:
        match event:
            case sip_events.InviteAnswered(session=session):
                self._answered(session, now)
            case _:
                super().receive(event, now)

    def _answered(self, session: Session, now: float) -> None:
        self.was_answered = True
        self._sessions.append(session)
        conduct, after = self._conduct, self.timeline.after
        answer = b"" if conduct.offers or not conduct.answers_offers else self.sdp
        self.node.user_agent.acknowledge(session, now, answer)
        if conduct.hang_up_after is not None:
            after(conduct.hang_up_after, lambda: self.act(session, "BYE"))
        if conduct.holds_after is not None:
            after(conduct.holds_after, lambda: self.act(session, "INVITE"))
        if conduct.crossing is not None:
            seconds, own, other = conduct.crossing
            after(seconds, lambda: self.act(session, own))
            after(seconds + self.random.uniform(-0.01, 0.01), lambda: self._together(other))

    def _cancel(self, session: Session) -> None:
        self.node.user_agent.cancel(session, self.timeline.now)
        self.node.flush()


class CalleePhone(Phone):
    """Stands at the trunk's address for one callee number; several calls to it are its several sessions.

    Without ``conduct`` each call draws its own; ``transfers`` is the chance that it transfers one.
    """

    def __init__(
        self,
        node: Node,
        timeline: Timeline,
        random: Random,
        conduct: CalleeConduct | None = None,
        *,
        transfers: float = 0.0,
    ) -> None:
        super().__init__(node, timeline, random)
        self._conduct = conduct
        self._transfers = transfers
        self._answered: Session | None = None

    def act_together(self, what: str) -> None:
        """Does it in the call that it answered last."""
        if self._answered is not None:
            self.act(self._answered, what)

    def receive(self, event: sip_events.Event, now: float) -> None:
        match event:
            case sip_events.IncomingInvite(session=session, request=request):
                self._ring(session, self._conduct or self._draw_conduct(), has_offer=bool(request.body))
            case _:
                super().receive(event, now)

    def _draw_conduct(self) -> CalleeConduct:
        conduct = CalleeConduct.draw(self.random)
        if self._transfers and self.random.random() < self._transfers:
            return replace(conduct, transfers_after=self.random.choice(TRANSFERS_AFTER))
        return conduct

    def _ring(self, session: Session, conduct: CalleeConduct, *, has_offer: bool) -> None:
        agent, timeline = self.node.user_agent, self.timeline

        def ring() -> None:
            body = self.sdp if conduct.early_media else b""
            status = 183 if conduct.early_media else 180
            reliable = has_offer and "100rel" in agent.settings.extensions
            agent.progress(session, status, timeline.now, body=body, reliable=reliable)
            self.node.flush()

        def answer() -> None:
            self._answered = session
            self._sessions.append(session)
            agent.answer(session, timeline.now, b"" if conduct.answers_without_sdp else self.sdp)
            if conduct.hang_up_after is not None:
                timeline.after(conduct.hang_up_after, hang_up)
            if conduct.transfers_after is not None:
                timeline.after(conduct.transfers_after, lambda: self.act(session, "REFER"))
            self.node.flush()

        def fail(status: int) -> None:
            agent.reject(session, status, timeline.now)
            self.node.flush()

        def hang_up() -> None:
            agent.bye(session, timeline.now)
            self.node.flush()

        timeline.after(GIVES_UP_SECONDS, lambda: self._give_up(session))
        if conduct.ring_after is not None:
            for ringing in range(conduct.rings):
                timeline.after(conduct.ring_after * (1 + ringing), ring)
        if conduct.answer_after is not None:
            timeline.after(conduct.answer_after, answer)
        if conduct.fail_status is not None:
            status = conduct.fail_status
            timeline.after(self.random.choice((0.0, 0.1, 3.0)), lambda: fail(status))
