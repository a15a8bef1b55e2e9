"""re-INVITE and UPDATE in mid-call: an offer from one leg is put to the other, and its answer brought back.

A re-INVITE without an offer asks the other leg for one in the same way: that leg's 200 holds the offer, and the ACK of
whoever asked holds the answer (RFC 3261 §14.1).

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
from engine.domain.cause import Cause
from engine.domain.events import Leg
from sip.core.events import DialogRequest, DialogResponse, InviteAcknowledged
from sip.core.transactions.server_transaction import ServerTransaction
from sip.core.user_agents.user_agent import UserAgent
from sip.errors import LocalFault

METHODS = ("INVITE", "UPDATE")


class Step(Enum):
    """What a renegotiation waits for."""

    OFFERED = "offered"  # the other leg's offer, where the one that asked made none
    OFFER_WRITTEN = "offer written"  # the media plane's version of the offer
    ANSWERED = "answered"  # the answer: the other leg's final response, or the ACK of the leg that asked
    ANSWER_WRITTEN = "answer written"  # the media plane's version of the answer


@dataclass(slots=True)
class Renegotiation:
    """``leg`` asked, by ``method`` in ``transaction``."""

    leg: Leg
    method: str
    transaction: ServerTransaction
    step: Step
    offered_by_other: bool = False


class Renegotiator:
    """Carries every call's renegotiation through its steps.

    ``changed`` is told where both legs stand anew, ``hang_up`` where they cannot come to terms any more.
    """

    def __init__(
        self,
        user_agent: UserAgent,
        media: MediaDesk,
        *,
        changed: Callable[[ActiveCall], None],
        hang_up: Callable[[ActiveCall, Cause, float], None],
    ) -> None:
        self._user_agent = user_agent
        self._media = media
        self._changed = changed
        self._hang_up = hang_up

    def asked(self, active: ActiveCall | None, event: DialogRequest, now: float) -> None:
        """A re-INVITE or UPDATE has come; ``active`` is None where its call is over."""
        request = event.request
        if active is None or active.call.state is not CallState.TALKING or _is_busy(active):
            self._user_agent.respond(event.transaction, 491, now)
        elif request.body:
            leg = active.leg_of(event.session)
            active.renegotiation = Renegotiation(leg, request.method, event.transaction, Step.OFFER_WRITTEN)
            self._media.offer(active, leg, request.body)
        elif request.method == "UPDATE":  # a session timer's refresh (RFC 4028 §7.4)
            self._user_agent.respond(event.transaction, 200, now)
        else:
            leg = active.leg_of(event.session)
            active.renegotiation = Renegotiation(leg, "INVITE", event.transaction, Step.OFFERED, offered_by_other=True)
            self._request(active, active.renegotiation, b"", now)

    def written(self, active: ActiveCall, sdp: bytes, now: float) -> None:
        """The media plane has rewritten the offer or the answer."""
        renegotiation = active.renegotiation
        if renegotiation is None:
            return
        if renegotiation.step is Step.ANSWER_WRITTEN:
            active.renegotiation = None
            if renegotiation.offered_by_other:
                self._acknowledge(active, renegotiation, sdp, now)
            else:
                self._user_agent.respond(renegotiation.transaction, 200, now, body=sdp)
            if active.call.state is CallState.TALKING:
                self._changed(active)
            return
        renegotiation.step = Step.ANSWERED
        if renegotiation.offered_by_other:
            self._user_agent.respond(renegotiation.transaction, 200, now, body=sdp)
        else:
            self._request(active, renegotiation, sdp, now)

    def refused(self, active: ActiveCall, now: float) -> None:
        """The media plane wants neither the offer nor the answer."""
        renegotiation = active.renegotiation
        self.end(active, 488, now)
        if renegotiation is not None and renegotiation.offered_by_other:
            self._hang_up(active, Cause.INCOMPATIBLE_MEDIA, now)  # one leg has answered 200 to what cannot be

    def answered(self, active: ActiveCall, event: DialogResponse, now: float) -> None:
        """The other leg's final response has come, or will not come."""
        renegotiation, response = active.renegotiation, event.response
        if renegotiation is None or event.session is not active.session(renegotiation.leg.other):
            return
        if renegotiation.step is not (Step.OFFERED if renegotiation.offered_by_other else Step.ANSWERED):
            return
        if event.status >= 300 or response is None or not response.body:
            if event.status < 300 and renegotiation.offered_by_other:
                self._acknowledge(active, renegotiation, b"", now)
            # The peer's own codes mean what they say here (488, 491, 500 …); redirections make no sense in a dialog.
            self.end(active, event.status if 400 <= event.status < 700 else 488, now)
        elif renegotiation.offered_by_other:
            renegotiation.step = Step.OFFER_WRITTEN
            self._media.offer(active, renegotiation.leg.other, response.body)
        else:
            renegotiation.step = Step.ANSWER_WRITTEN
            self._media.answer(active, renegotiation.leg.other, response.body)

    def acknowledged(self, active: ActiveCall, event: InviteAcknowledged, now: float) -> bool:
        """An ACK of the leg that asked; True if it was for its answer that the call waited."""
        renegotiation = active.renegotiation
        if (
            renegotiation is None
            or not renegotiation.offered_by_other
            or renegotiation.step is not Step.ANSWERED
            or event.session is not active.session(renegotiation.leg)
        ):
            return False
        if event.request.body:
            renegotiation.step = Step.ANSWER_WRITTEN
            self._media.answer(active, renegotiation.leg, event.request.body)
        else:
            self.refused(active, now)
        return True

    def end(self, active: ActiveCall, status: int, now: float) -> None:
        """It came to nothing: the leg that asked is told so, and its session stays as it was (§14.2)."""
        renegotiation, active.renegotiation = active.renegotiation, None
        if renegotiation is not None:
            self._user_agent.respond(renegotiation.transaction, status, now)

    def _request(self, active: ActiveCall, renegotiation: Renegotiation, sdp: bytes, now: float) -> None:
        session = active.session(renegotiation.leg.other)
        try:
            if session is None:
                raise LocalFault("the other leg is gone")
            self._user_agent.request(session, renegotiation.method, now, body=sdp)
        except LocalFault:
            self.end(active, 491, now)

    def _acknowledge(self, active: ActiveCall, renegotiation: Renegotiation, sdp: bytes, now: float) -> None:
        session = active.session(renegotiation.leg.other)
        if session is not None and session.client is not None:  # it may have hung up meanwhile
            self._user_agent.acknowledge(session, now, sdp)


def _is_busy(active: ActiveCall) -> bool:
    """Another offer is under way, or a transfer's."""
    referral = active.referral
    return (
        active.renegotiation is not None
        or active.merger is not None
        or (referral is not None and referral.call.state in (CallState.CONNECTING, CallState.CONFIRMING))
    )
