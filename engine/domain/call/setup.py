"""The call machine until the callee is joined to the caller: credit, media, dialling, ringing, the answer."""

from __future__ import annotations

from engine.domain.call.base import CallState, milliseconds
from engine.domain.call.talk import CallTalk
from engine.domain.cause import Cause, ReleaseSide
from engine.domain.cdr import CdrState
from engine.domain.events import (
    Accept,
    AnswerMedia,
    CalleeAnswered,
    CalleeFailed,
    CalleeRinging,
    CallerCancelled,
    CallOutput,
    CancelDial,
    CreditGranted,
    CreditRefused,
    Dial,
    HungUp,
    Leg,
    MediaAnswered,
    MediaOffered,
    MediaRefused,
    Milestone,
    OfferMedia,
    PlatformHangUp,
    Refuse,
    Release,
    Ring,
    SetTimer,
    TimerFired,
    TimerKind,
)


class CallSetup(CallTalk):
    """Whatever ends a call here, nobody has talked, so that nobody pays."""

    __slots__ = ()

    def _credit_granted_first(self, event: CreditGranted, now: float) -> list[CallOutput]:
        self._grant(event)
        if self._offered_by_callee:
            return self._dial(b"", now)
        self.state = CallState.OFFERING
        self._media_taken = True
        offer, self._offer = self._offer, b""
        return [OfferMedia(offer)]

    def _credit_refused_first(self, event: CreditRefused, now: float) -> list[CallOutput]:
        return self._end(now, event.cause, ReleaseSide.PLATFORM, [Refuse(event.cause)])

    def _media_offered(self, event: MediaOffered, now: float) -> list[CallOutput]:
        return self._dial(event.media, now)

    def _dial(self, offer: bytes, now: float) -> list[CallOutput]:
        self.state = CallState.DIALLING
        return [Dial(offer), SetTimer(TimerKind.RING, now + self._policy.ring_seconds_max)]

    def _media_refused_before_dial(self, event: MediaRefused, now: float) -> list[CallOutput]:
        self._media_taken = False
        return self._end(now, event.cause, ReleaseSide.PLATFORM, [Refuse(event.cause)])

    def _media_refused_after_dial(self, event: MediaRefused, now: float) -> list[CallOutput]:
        return self._end(now, event.cause, ReleaseSide.PLATFORM, [CancelDial(), Refuse(event.cause)])

    def _callee_ringing(self, event: CalleeRinging, now: float) -> list[CallOutput]:
        outputs: list[CallOutput] = []
        if self.state is CallState.DIALLING:
            self.state = CallState.RINGING
            self.cdr.state = CdrState.RINGING
            self.cdr.ringing_at_ms = milliseconds(now)
            outputs.append(Milestone())
        if event.media and not self._offered_by_callee:  # an offer that early would want an answer before the call's
            self._answers_pending += 1
            outputs.append(AnswerMedia(event.media))
        else:
            outputs.append(Ring())
        return outputs

    def _early_media_answered(self, event: MediaAnswered, now: float) -> list[CallOutput]:
        self._answers_pending -= 1
        self._answer = event.media
        return [Ring(event.media)]

    def _callee_answered(self, event: CalleeAnswered, now: float) -> list[CallOutput]:
        self.state = CallState.CONNECTING
        if event.media and self._offered_by_callee:
            self._media_taken = True
            return [OfferMedia(event.media, Leg.CALLEE)]
        if event.media:
            self._answers_pending += 1
            return [AnswerMedia(event.media)]
        if self._answers_pending:
            return []
        if self._answer:
            return self._connect(now)  # its early media is the answer
        return self._release_connecting(now, Cause.INCOMPATIBLE_MEDIA, ReleaseSide.PLATFORM, caller_waits=True)

    def _callee_failed(self, event: CalleeFailed, now: float) -> list[CallOutput]:
        return self._end(
            now,
            event.cause,
            ReleaseSide.CALLEE,
            [Refuse(event.cause)],
            sip_status=event.sip_status,
            q850_cause=event.q850_cause,
        )

    def _ring_timer(self, event: TimerFired, now: float) -> list[CallOutput]:
        if event.kind is not TimerKind.RING:
            return []
        return self._end(now, Cause.NO_ANSWER, ReleaseSide.PLATFORM, [CancelDial(), Refuse(Cause.NO_ANSWER)])

    def _cancelled_before_dial(self, event: CallerCancelled, now: float) -> list[CallOutput]:
        return self._end(now, Cause.CANCELLED, ReleaseSide.CALLER, [], q850_cause=event.q850_cause)

    def _cancelled_after_dial(self, event: CallerCancelled, now: float) -> list[CallOutput]:
        return self._end(now, Cause.CANCELLED, ReleaseSide.CALLER, [CancelDial()], q850_cause=event.q850_cause)

    def _platform_before_dial(self, event: PlatformHangUp, now: float) -> list[CallOutput]:
        return self._end(now, event.cause, ReleaseSide.PLATFORM, [Refuse(event.cause)])

    def _platform_after_dial(self, event: PlatformHangUp, now: float) -> list[CallOutput]:
        return self._end(now, event.cause, ReleaseSide.PLATFORM, [CancelDial(), Refuse(event.cause)])

    # The callee is on the line, the caller not yet ----------------------------------------------------------------

    def _media_answered(self, event: MediaAnswered, now: float) -> list[CallOutput]:
        self._answers_pending -= 1
        self._answer = event.media
        # The first of two may be that of early media; the callee's final word is the last.
        return self._connect(now) if self._answers_pending == 0 else []

    def _callees_media_offered(self, event: MediaOffered, now: float) -> list[CallOutput]:
        self.state = CallState.CONFIRMING
        return [Accept(event.media)]

    def _connect(self, now: float) -> list[CallOutput]:
        answer, self._answer = self._answer, b""
        return self._talk(now, Accept(answer))

    def _release_connecting(
        self, now: float, cause: Cause, side: ReleaseSide, caller_waits: bool, q850_cause: int | None = None
    ) -> list[CallOutput]:
        outputs: list[CallOutput] = [Release(Leg.CALLEE, cause)]
        if caller_waits:
            outputs.append(Refuse(cause))
        return self._end(now, cause, side, outputs, q850_cause=q850_cause)

    def _cancelled_connecting(self, event: CallerCancelled, now: float) -> list[CallOutput]:
        side = ReleaseSide.CALLER
        return self._release_connecting(now, Cause.CANCELLED, side, caller_waits=False, q850_cause=event.q850_cause)

    def _media_refused_connecting(self, event: MediaRefused, now: float) -> list[CallOutput]:
        if self._offered_by_callee:
            self._media_taken = False  # it was the first offer that was refused
        return self._release_connecting(now, event.cause, ReleaseSide.PLATFORM, caller_waits=True)

    def _hung_up_connecting(self, event: HungUp, now: float) -> list[CallOutput]:
        refusal = Refuse(Cause.REJECTED)
        return self._end(now, Cause.REJECTED, ReleaseSide.CALLEE, [refusal], q850_cause=event.q850_cause)

    def _platform_connecting(self, event: PlatformHangUp, now: float) -> list[CallOutput]:
        return self._release_connecting(now, event.cause, ReleaseSide.PLATFORM, caller_waits=True)
