"""An attended transfer: of an agent's two calls, the two other parties are joined.

The party of the second call is asked for an offer, which the party of the first call answers, as in a blind transfer.
Then the second call's own media end, and with them its recording; its record and its charge go on until the two hang
up, for its line is in use until then.
"""

from __future__ import annotations

from enum import Enum

from engine.b2bua.transfer import Transfer
from sip.core.events import DialogResponse
from sip.core.transactions.states import State


class Step(Enum):
    """What a merger waits for."""

    OFFERED = "offered"  # the offer of the second call's party
    OFFER_WRITTEN = "offer written"
    ANSWERED = "answered"  # the answer of the first call's party
    ANSWER_WRITTEN = "answer written"


class Merger(Transfer):
    """``call`` is the second call, which talks, like the first."""

    def begin(self, now: float) -> None:
        self._step = Step.OFFERED
        self._new_party = self._call.session(self.new_leg)
        self._last_sdp = self._new_party.local_sdp if self._new_party is not None else b""
        self.first.merger = self._call.merger = self
        self._notify(100, now)
        self._note_subscription()
        self._ask(self._new_party, b"", now)

    def answered(self, event: DialogResponse, now: float) -> bool:
        asked = self._new_party if self._step is Step.OFFERED else self.first.session(self.leg.other)
        if event.session is not asked or self._step not in (Step.OFFERED, Step.ANSWERED):
            return False
        if self._asks_again(event.status, now):
            return True
        response = event.response
        if event.status >= 300 or response is None or not response.body:
            self._give_up(event.status if 400 <= event.status < 700 else 488, now)
        elif self._step is Step.OFFERED:
            self._step = Step.OFFER_WRITTEN
            self._executor.media.offer(self.first, self.leg, response.body)
        else:
            self._step = Step.ANSWER_WRITTEN
            self._executor.media.answer(self.first, self.leg.other, response.body)
        return True

    def written(self, sdp: bytes, now: float) -> None:
        """The media plane has rewritten the offer or the answer."""
        if self._step is Step.ANSWER_WRITTEN:
            self._acknowledge(sdp, now)
            self.join(now)
            return
        self._step = Step.ANSWERED
        self._ask(self.first.session(self.leg.other), sdp, now)

    def refused(self, now: float) -> None:
        """The media plane wants neither the offer nor the answer."""
        self._give_up(488, now)

    def given_up(self, now: float) -> None:
        """One of the two calls has ended meanwhile."""
        self._give_up(487, now)

    def join(self, now: float) -> None:
        call = self._call
        self.first.merger = call.merger = None
        own = call.session(self.new_leg.other)
        call.put(self.new_leg.other, None)
        self._executor.end_media(call, now)
        call.transfer = self
        call.call.cdr.transferred_from = self.first.call_id
        if own is not None:
            self.leaving.append(own)
        earlier, call.joined = call.joined, None
        if earlier is not None and earlier.transfer is not None:
            earlier.transfer.replaced(now)  # it had brought the agent into the second call
        super().join(now)
        self._executor.note(call)
        if own is not None:
            own.owner = self
            self._user_agent.bye(own, now)

    def _not_asked(self, now: float) -> None:
        self._give_up(491, now)

    def _give_up(self, status: int, now: float) -> None:
        """Both calls go on as they were, each with the agent."""
        self._acknowledge(self._last_sdp, now)
        self.first.merger = self._call.merger = None
        self._notify(status, now)
        self._note_subscription()

    def _acknowledge(self, sdp: bytes, now: float) -> None:
        session = self._new_party
        if session is not None and session.client is not None and session.client.state is State.ACCEPTED:
            self._user_agent.acknowledge(session, now, sdp)
