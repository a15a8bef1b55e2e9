"""re-INVITE and UPDATE in mid-call: an offer from one leg is put to the other, and its answer brought back.

One at a time for a call: a second one from either side meets 491 (RFC 3261 §14.1), as does one from the other side
while ours is on its way there. The talk, its charge and its recording go on meanwhile; the media plane takes an offer
into force only when it is answered, so a refusal leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.media_desk import MediaDesk
from engine.domain.call import CallState
from engine.domain.events import Leg
from sip.core.events import DialogRequest, DialogResponse
from sip.core.transactions.server_transaction import ServerTransaction
from sip.core.user_agent import UserAgent
from sip.errors import LocalFault

METHODS = ("INVITE", "UPDATE")


class Step(Enum):
    """What a renegotiation waits for."""

    OFFER_WRITTEN = "offer written"  # the media plane's version of the offer, for the other leg
    ANSWERED = "answered"  # the other leg's final response
    ANSWER_WRITTEN = "answer written"  # the media plane's version of the answer, for the leg that asked


@dataclass(slots=True)
class Renegotiation:
    """``leg`` asked, by ``method`` in ``transaction``."""

    leg: Leg
    method: str
    transaction: ServerTransaction
    step: Step = Step.OFFER_WRITTEN


class Renegotiator:
    """Carries every call's renegotiation through its steps; ``changed`` is told where both legs stand anew."""

    def __init__(self, user_agent: UserAgent, media: MediaDesk, changed: Callable[[ActiveCall], None]) -> None:
        self._user_agent = user_agent
        self._media = media
        self._changed = changed

    def asked(self, active: ActiveCall | None, event: DialogRequest, now: float) -> None:
        """A re-INVITE or UPDATE has come; ``active`` is None where its call is over."""
        request = event.request
        if active is None or active.call.state is not CallState.TALKING or active.renegotiation is not None:
            self._user_agent.respond(event.transaction, 491, now)
        elif request.body:
            leg = active.leg_of(event.session)
            active.renegotiation = Renegotiation(leg, request.method, event.transaction)
            self._media.offer(active, leg, request.body)
        elif request.method == "UPDATE":  # a session timer's refresh (RFC 4028 §7.4)
            self._user_agent.respond(event.transaction, 200, now)
        else:  # a re-INVITE without offer asks us for one, which only the other leg could make
            self._user_agent.respond(event.transaction, 488, now)

    def written(self, active: ActiveCall, sdp: bytes, now: float) -> None:
        """The media plane has rewritten the offer or the answer."""
        renegotiation = active.renegotiation
        if renegotiation is None:
            return
        if renegotiation.step is Step.ANSWER_WRITTEN:
            active.renegotiation = None
            self._user_agent.respond(renegotiation.transaction, 200, now, body=sdp)
            self._changed(active)
            return
        session = active.session(renegotiation.leg.other)
        renegotiation.step = Step.ANSWERED
        try:
            if session is None:
                raise LocalFault("the other leg is gone")
            self._user_agent.request(session, renegotiation.method, now, body=sdp)
        except LocalFault:
            self.end(active, 491, now)

    def answered(self, active: ActiveCall, event: DialogResponse, now: float) -> None:
        """The other leg's final response has come, or will not come."""
        renegotiation = active.renegotiation
        if renegotiation is None or renegotiation.step is not Step.ANSWERED:
            return
        response = event.response
        if event.status >= 300 or response is None or not response.body:
            # The peer's own codes mean what they say here (488, 491, 500 …); redirections make no sense in a dialog.
            self.end(active, event.status if 400 <= event.status < 700 else 488, now)
            return
        renegotiation.step = Step.ANSWER_WRITTEN
        self._media.answer(active, renegotiation.leg.other, response.body)

    def end(self, active: ActiveCall, status: int, now: float) -> None:
        """It came to nothing: the leg that asked is told so, and its session stays as it was (§14.2)."""
        renegotiation, active.renegotiation = active.renegotiation, None
        if renegotiation is not None:
            self._user_agent.respond(renegotiation.transaction, status, now)
