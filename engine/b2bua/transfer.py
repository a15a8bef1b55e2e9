"""One transfer: a call that is made for a party of another one, and then takes its agent's place there.

The new callee is called without an offer. What it offers is put to the party that stays, in a re-INVITE, and what that
answers goes back to the new callee (RFC 3725 §4.1, flow I). From then on the first call holds the sessions of both; the
call that the transfer has made goes on beside it, for its record and its charge, and the two end together.
"""

from __future__ import annotations

from enum import Enum

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.call_executor import CallExecutor
from engine.b2bua.media_desk import NOTHING_KNOWN
from engine.domain.call import CallState, milliseconds
from engine.domain.cause import CODES, Cause, ReleaseSide
from engine.domain.events import CallerAnswered, CallEvent, HungUp, Leg, PlatformHangUp
from sip.core.dialogs.refer import SIPFRAG, outcome_body, subscription_state
from sip.core.dialogs.session import Session, SessionState
from sip.core.events import DialogResponse
from sip.core.user_agents.user_agent import UserAgent
from sip.errors import LocalFault

GLARES_MAX = 3
"""How often a party that has asked for a change itself (491) is asked again; the transfer fails at the next."""


class Progress(Enum):
    CALLING = "calling"
    ASKING = "asking"  # the party that stays has the new callee's offer
    JOINED = "joined"
    OVER = "over"


class Transfer:
    """``leg`` is the transferor's in ``first``, ``new_leg`` that of the new party in ``call``.

    ``event`` is the Event of the REFER's subscription, "" for none.
    """

    def __init__(
        self,
        user_agent: UserAgent,
        executor: CallExecutor,
        *,
        first: ActiveCall,
        leg: Leg,
        event: str,
        call: ActiveCall,
        new_leg: Leg = Leg.CALLEE,
    ) -> None:
        self.first = first
        self.leg = leg
        self.new_leg = new_leg
        self._user_agent = user_agent
        self._executor = executor
        self._event = event
        self._call = call
        self._transferor: Session | None = first.session(leg)
        self._progress = Progress.CALLING
        self._has_rung = False
        self._rings = False
        """The party that stays hears it."""
        self._asked: tuple[Session, bytes] | None = None
        """Who was asked in a re-INVITE last, and with which offer."""
        self._glares = 0
        self.joined_at_ms: int | None = None
        self.leaving: list[Session] = []
        """Once joined: sessions that are out of the call, and may not have ended yet."""

    def rejoin(self, joined_at_ms: int) -> None:
        """An engine before us has joined the two parties."""
        self._progress = Progress.JOINED
        self._transferor = None
        self.joined_at_ms = joined_at_ms
        self._call.transfer = self
        self.first.joined = self._call

    def begin(self, now: float) -> None:
        active = self._call
        active.transfer = self
        active.media_needs[Leg.CALLER] = self.first.media_needs.get(self.leg.other, NOTHING_KNOWN)
        self.first.referral = active
        self._notify(100, now)
        self._note_subscription()
        self._executor.begin(active, now)

    # What the new call's machine asks for -----------------------------------------------------------------------------

    @property
    def subscription(self) -> str:
        """The Event of the notices that the transferor still waits for; "" for none."""
        return self._event if self._transferor is not None else ""

    @property
    def may_offer(self) -> bool:
        """False where the first call is about to change by itself."""
        return self.first.renegotiation is None and self.first.call.state is CallState.TALKING

    def ringing(self, now: float) -> None:
        if not self._has_rung:  # however often the callee says so
            self._has_rung = self._rings = True
            self._notify(180, now)
            # Nothing comes from the new callee before its answer, and the transferor is on hold or gone.
            self._executor.media.play_ringback(self.first, self.leg.other)

    def offered(self, sdp: bytes, now: float) -> None:
        """The new callee's offer goes to the party that stays."""
        self._stop_ringing()
        self._progress = Progress.ASKING
        self._ask(self.first.session(self.leg.other), sdp, now)

    def answered(self, event: DialogResponse, now: float) -> bool:
        """The response of the party that stays; False if none was waited for."""
        if self._progress is not Progress.ASKING or event.session is not self.first.session(self.leg.other):
            return False
        if self._asks_again(event.status, now):
            return True
        self._progress = Progress.CALLING
        response = event.response
        if event.status < 300 and response is not None and response.body:
            self._executor.feed(self._call, CallerAnswered(response.body), now)
        else:
            self._executor.feed(self._call, PlatformHangUp(Cause.INCOMPATIBLE_MEDIA), now)
        return True

    def ask_again(self, now: float) -> None:
        """Time enough has passed since the last 491."""
        if self._asked is not None:
            self._ask(*self._asked, now)

    def _stop_ringing(self) -> None:
        if self._rings:
            self._rings = False
            if self.first.call.state is CallState.TALKING:  # else its media are gone
                self._executor.media.stop_tone(self.first, self.leg.other)

    def _ask(self, session: Session | None, sdp: bytes, now: float) -> None:
        """A re-INVITE, with an offer or for one."""
        if session is None:
            self._not_asked(now)
            return
        self._asked = session, sdp
        try:
            self._user_agent.request(session, "INVITE", now, body=sdp)
        except LocalFault:  # one of the party's own is pending, or it has hung up, of which we shall hear
            if not self._asks_again(491, now):
                self._not_asked(now)

    def _asks_again(self, status: int, now: float) -> bool:
        """True where the party's own re-INVITE has crossed ours (RFC 3261 §14.1), and ours is to come again."""
        if status != 491 or self._asked is None or self._glares == GLARES_MAX:
            return False
        self._glares += 1
        self._executor.wait_out_glare(self.first, self._asked[0], now)
        return True

    def _not_asked(self, now: float) -> None:
        self._executor.feed(self._call, PlatformHangUp(Cause.UNAVAILABLE), now)

    def join(self, now: float) -> None:
        """Both have what the other says: the new callee takes the transferor's place."""
        self._progress = Progress.JOINED
        self.joined_at_ms = milliseconds(now)
        if self._transferor is not None:
            self.leaving.append(self._transferor)
        first, call, session = self.first, self._call, self._call.session(self.new_leg)
        call.put(self.new_leg, None)
        if session is not None:
            session.owner = first
        first.put(self.leg, session)
        first.media_needs[self.leg] = call.media_needs.get(self.new_leg, NOTHING_KNOWN)
        first.softphones.pop(self.leg, None)
        if self.new_leg in call.softphones:
            first.softphones[self.leg] = call.softphones[self.new_leg]
        first.referral = None
        earlier, first.joined = first.joined, call
        if earlier is not None and earlier.transfer is not None:
            earlier.transfer.replaced(now)
        self._executor.note(first)
        transferor = self._transferor
        if transferor is not None:
            transferor.owner = self
            self._notify(200, now)
            if not self._event:
                self._user_agent.bye(transferor, now)

    def failed(self, cause: Cause, now: float) -> None:
        """The new call has ended by itself. Not yet joined, that is the transfer's failure and no more."""
        if self._progress is Progress.JOINED:
            self._progress = Progress.OVER
            self.first.joined = None
            self._executor.feed(self.first, PlatformHangUp(cause), now)
        elif self._progress is not Progress.OVER:
            self._progress = Progress.OVER
            self.first.referral = None
            self._stop_ringing()
            self._notify(CODES[cause].sip_status, now)
            self._note_subscription()
            if self._transferor is None:
                self._executor.feed(self.first, HungUp(self.leg), now)

    # What becomes of the first call -----------------------------------------------------------------------------------

    def transferor_left(self) -> None:
        """It hung up without waiting for the outcome (RFC 5589 §6.1): the other party stays for the new callee."""
        self._transferor = None

    def replaced(self, now: float) -> None:
        """The party that this transfer brought was itself put out of the call, by another one."""
        self._progress = Progress.OVER
        self._executor.feed(self._call, HungUp(self.new_leg), now)

    def end_of_first(self) -> CallEvent:
        """How the end of the first call, with which the joined one ends, looks from there."""
        self._progress = Progress.OVER
        cdr = self.first.call.cdr
        if cdr.release_side is ReleaseSide.PLATFORM:
            return PlatformHangUp(cdr.cause or Cause.UNKNOWN)
        return HungUp(self.new_leg if cdr.release_side is ReleaseSide(self.leg) else self.new_leg.other)

    # The transferor ---------------------------------------------------------------------------------------------------

    def notified(self, session: Session, now: float) -> None:
        """It has heard of the outcome, or will not: if it does not hang up by itself, we do."""
        if self._progress is Progress.CALLING or self._progress is Progress.ASKING:
            return
        if session.owner is self and session.state < SessionState.ENDING:
            self._user_agent.bye(session, now)

    def _note_subscription(self) -> None:
        """That somebody waits for notices, or no longer: an engine after us has to end what it finds."""
        if self.subscription and self.first.call.state is CallState.TALKING:
            self._executor.note(self.first)

    def _notify(self, status: int, now: float) -> None:
        session = self._transferor
        if session is None or not self._event or session.state >= SessionState.ENDING:
            return
        notify(self._user_agent, session, self._event, status, now)


def notify(user_agent: UserAgent, session: Session, event: str, status: int, now: float) -> None:
    """Tells a transferor how the transfer stands; with a final ``status`` for the last time. Raises LocalFault."""
    headers = [("Event", event), ("Subscription-State", subscription_state(status))]
    user_agent.request(session, "NOTIFY", now, body=outcome_body(status), content_type=SIPFRAG, headers=headers)
