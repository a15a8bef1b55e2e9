"""The call machine once both are on the line: the talk begins, and somebody or something ends it."""

from __future__ import annotations

from engine.domain.call.base import CallState, milliseconds
from engine.domain.call.credit import CallCredit
from engine.domain.cause import Cause, ReleaseSide
from engine.domain.cdr import CdrState
from engine.domain.events import (
    AckMissing,
    AnswerMedia,
    CallerAnswered,
    CallOutput,
    ClearTimers,
    Confirm,
    HungUp,
    Leg,
    MediaAnswered,
    MediaRefused,
    MediaTimedOut,
    Milestone,
    PlatformHangUp,
    Release,
    StartRecording,
)


class CallTalk(CallCredit):
    """From the callee's offer in the caller's hands, or the caller's answer, to the end."""

    __slots__ = ()

    def _talk(self, now: float, last_word: CallOutput) -> list[CallOutput]:
        self.state = CallState.TALKING
        self.answered_at = now
        self.cdr.state = CdrState.ANSWERED
        self.cdr.answered_at_ms = milliseconds(now)
        outputs: list[CallOutput] = [last_word, ClearTimers()]
        if self.cdr.recording_path is not None:
            outputs.append(StartRecording(now))
        outputs.append(Milestone())
        return outputs + self._credit_timers()

    # Both are on the line, and the caller's answer to the callee's offer is to come ---------------------------------

    def _caller_answered(self, event: CallerAnswered, now: float) -> list[CallOutput]:
        if not event.media:
            return self._release_both(now, Cause.INCOMPATIBLE_MEDIA, ReleaseSide.PLATFORM)
        return [AnswerMedia(event.media, Leg.CALLER)]

    def _media_answered_confirming(self, event: MediaAnswered, now: float) -> list[CallOutput]:
        return self._talk(now, Confirm(event.media))

    def _media_refused_confirming(self, event: MediaRefused, now: float) -> list[CallOutput]:
        return self._release_both(now, event.cause, ReleaseSide.PLATFORM)

    def _hung_up_confirming(self, event: HungUp, now: float) -> list[CallOutput]:
        release = Release(Leg.CALLER, Cause.REJECTED)
        return self._end(now, Cause.REJECTED, ReleaseSide.CALLEE, [release], q850_cause=event.q850_cause)

    # Talking ------------------------------------------------------------------------------------------------------

    def _hung_up(self, event: HungUp, now: float) -> list[CallOutput]:
        release = Release(event.leg.other, Cause.NORMAL)
        return self._end(now, Cause.NORMAL, ReleaseSide(event.leg), [release], q850_cause=event.q850_cause)

    def _ack_missing(self, event: AckMissing, now: float) -> list[CallOutput]:
        return self._release_both(now, Cause.ACK_MISSING, ReleaseSide.PLATFORM)

    def _media_timed_out(self, event: MediaTimedOut, now: float) -> list[CallOutput]:
        return self._release_both(now, Cause.MEDIA_TIMEOUT, ReleaseSide.PLATFORM)

    def _platform_talking(self, event: PlatformHangUp, now: float) -> list[CallOutput]:
        return self._release_both(now, event.cause, ReleaseSide.PLATFORM)
