"""The call machine: events in, outputs out, with the time as an argument.

A call has a caller, who is there when it begins, and a callee, who is dialled. Which state answers which event, and
with which transition, is the table TRANSITIONS at the end; what is not in it is ignored, because peers repeat
themselves and cross each other. The machine never waits: what takes time comes back as an event.

A caller without an offer is passed on as one: the callee makes the offer, which goes to the caller with our answer, and
the caller's own answer to that comes last (RFC 3725 §4.1 joins two parties in this order).

Talk time begins when the caller's answer is sent (not when the callee answered: the caller hears nothing before), or
when his answer to the callee's offer is there, and ends with the first of: either side's hang-up, our own, or the end
of the granted time — to the millisecond, however late the timer is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from engine.domain.cause import CODES, Cause, ReleaseSide
from engine.domain.cdr import Cdr, CdrState
from engine.domain.charging import Tariff
from engine.domain.events import (
    Accept,
    AckMissing,
    AnswerMedia,
    CalleeAnswered,
    CalleeFailed,
    CalleeRinging,
    CallerAnswered,
    CallerCancelled,
    CallEvent,
    CallOutput,
    CancelDial,
    ClearTimers,
    Confirm,
    CreditChanged,
    CreditGranted,
    CreditRefused,
    DeleteMedia,
    Dial,
    HoldCredit,
    HoldMinutes,
    HungUp,
    Leg,
    MediaAnswered,
    MediaOffered,
    MediaRefused,
    MediaTimedOut,
    Milestone,
    MinutesGranted,
    OfferMedia,
    PlatformHangUp,
    PlayWarning,
    PostCredit,
    PostMinutes,
    Refuse,
    Release,
    Ring,
    SetTimer,
    StartRecording,
    TimerFired,
    TimerKind,
)

CREDIT_LEAD_SECONDS = 3.0
"""A slice is renewed this long before the warning would be due, so that a slow ledger costs nobody a tone or a call."""
CREDIT_WAIT_SECONDS = 2.0
"""A slice that was asked for may come so long after the granted time: an engine that stood still, or took the call up
from a dead one, asks late. What is talked meanwhile is charged if the slice comes, and given away if it does not."""


class CallState(StrEnum):
    AUTHORISING = "authorising"  # waits for credit
    OFFERING = "offering"  # waits for the media plane's offer
    DIALLING = "dialling"
    RINGING = "ringing"
    CONNECTING = "connecting"  # the callee answered; waits for the media plane
    CONFIRMING = "confirming"  # the caller has the callee's offer; waits for what he answers
    TALKING = "talking"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """What the operator set for all calls; seconds, but for the tone."""

    ring_seconds_max: float
    duration_seconds_max: int
    slice_seconds: int
    warning_seconds: float


class Call:
    """One call attempt that has a route. ``receive`` is the only way in; ``cdr`` is its record at any moment."""

    __slots__ = (
        "_answer",
        "_answers_pending",
        "_media_taken",
        "_offer",
        "_offered_by_callee",
        "_overdue",
        "_policy",
        "_renewing",
        "_tariff",
        "_wanted_seconds",
        "answered_at",
        "cdr",
        "final_unit",
        "granted_seconds",
        "held_micro",
        "state",
        "warning_leg",
    )

    def __init__(self, cdr: Cdr, *, tariff: Tariff, policy: CallPolicy, agent_leg: Leg, offer: bytes) -> None:
        self.cdr = cdr
        self.state = CallState.AUTHORISING
        self.held_micro = 0
        self.granted_seconds = 0
        self.final_unit = False
        self.answered_at: float | None = None
        self._tariff = tariff
        self._wanted_seconds = 0
        self._policy = policy
        self.warning_leg = agent_leg
        self._offer = offer
        self._offered_by_callee = not offer
        self._answer = b""
        self._answers_pending = 0
        self._media_taken = False
        self._renewing = False
        self._overdue = False
        """The granted time is over, and the slice that was asked for is waited for."""

    @classmethod
    def resumed(cls, cdr: Cdr, *, tariff: Tariff, policy: CallPolicy, agent_leg: Leg, granted_seconds: int) -> Call:
        """A call that talks, taken up by another engine than it began with. It goes on with ``resume``."""
        assert cdr.answered_at_ms is not None
        call = cls(cdr, tariff=tariff, policy=policy, agent_leg=agent_leg, offer=b"")
        call.state = CallState.TALKING
        call.answered_at = cdr.answered_at_ms / 1000
        call.granted_seconds = granted_seconds
        call._media_taken = True
        return call

    def held_before_micro(self, now: float) -> int:
        """What a resumed call must have held by now; slices after the first are in no record."""
        assert self.answered_at is not None
        talked_ms = milliseconds(now - self.answered_at)
        seconds = min(max(self.granted_seconds, -(-talked_ms // 1000)), self._policy.duration_seconds_max)
        return self._tariff.charge_micro(seconds * 1000)

    def resume(self, held_micro: int) -> list[CallOutput]:
        """Goes on as far as ``held_micro`` reaches; the next slice is asked for in time, or now."""
        assert self.answered_at is not None
        self.granted_seconds = 0
        self._grant(CreditGranted(held_micro))
        self.final_unit = False  # less than it had held says nothing of the account, which is asked
        outputs = self._credit_timers()
        # The plane refuses a second recording: asked again, lest the first engine died before it could.
        return [StartRecording(self.answered_at), *outputs] if self.cdr.recording_path is not None else outputs

    def start(self, now: float) -> list[CallOutput]:
        return [Milestone(), self._hold_for(self._policy.slice_seconds)]

    def receive(self, event: CallEvent, now: float) -> list[CallOutput]:
        """What the event makes the call ask for; nothing for an event that its state does not know."""
        transition = TRANSITIONS[self.state].get(type(event))
        return transition(self, event, now) if transition is not None else []

    # Credit -------------------------------------------------------------------------------------------------------

    def _hold_for(self, seconds: int) -> HoldMinutes | HoldCredit:
        """Asks for what is missing to talk ``seconds`` in all: package minutes first, then money for the rest."""
        self._renewing = True
        self._wanted_seconds = min(seconds, self._policy.duration_seconds_max)
        missing = self._tariff.minutes_wanted(self._wanted_seconds)
        return HoldMinutes(self._tariff.buckets, missing) if missing else self._hold_money()

    def _hold_money(self) -> HoldCredit:
        """At least for one increment more than granted so far: nothing where minutes have brought that already."""
        least = self._tariff.charge_micro(self.granted_seconds * 1000 + 1) - self.held_micro
        wanted = self._tariff.charge_micro(self._wanted_seconds * 1000) - self.held_micro
        least = max(least, 0)
        return HoldCredit(wanted_micro=max(wanted, least), least_micro=least)

    def _minutes_granted_first(self, event: MinutesGranted, now: float) -> list[CallOutput]:
        self._tariff.hold(event.parts)
        return [self._hold_money()]

    def _minutes_granted_talking(self, event: MinutesGranted, now: float) -> list[CallOutput]:
        self._tariff.hold(event.parts)
        # The next engine could not tell from the CDR which minutes are the call's.
        return [Milestone(), self._hold_money()]

    def _minutes_granted_late(self, event: MinutesGranted, now: float) -> list[CallOutput]:
        return [PostMinutes(event.parts, ())]

    def _grant(self, event: CreditGranted) -> None:
        self._renewing = self._overdue = False
        self.held_micro += event.amount_micro
        wanted_seconds = self.granted_seconds + self._policy.slice_seconds
        self.granted_seconds = self._tariff.seconds_for(self.held_micro, self._policy.duration_seconds_max)
        self.final_unit = self.granted_seconds < min(wanted_seconds, self._policy.duration_seconds_max)

    def _credit_granted_first(self, event: CreditGranted, now: float) -> list[CallOutput]:
        self._grant(event)
        if self._offered_by_callee:
            return self._dial(b"", now)
        self.state = CallState.OFFERING
        self._media_taken = True
        offer, self._offer = self._offer, b""
        return [OfferMedia(offer)]

    def _credit_granted_talking(self, event: CreditGranted, now: float) -> list[CallOutput]:
        self._grant(event)
        return self._credit_timers()

    def _credit_granted_late(self, event: CreditGranted, now: float) -> list[CallOutput]:
        # The answer to a hold that outlived its call: all of it is given back.
        return [PostCredit(event.amount_micro, 0)]

    def _credit_refused_first(self, event: CreditRefused, now: float) -> list[CallOutput]:
        return self._end(now, Cause.NO_CREDIT, ReleaseSide.PLATFORM, [Refuse(Cause.NO_CREDIT)])

    def _credit_refused_talking(self, event: CreditRefused, now: float) -> list[CallOutput]:
        self._renewing = False
        self.final_unit = True
        return self._credit_timers()

    def _credit_changed(self, event: CreditChanged, now: float) -> list[CallOutput]:
        if not self.final_unit or self._renewing:
            return []
        return [self._hold_for(self.granted_seconds + self._policy.slice_seconds)]

    def _credit_timers(self) -> list[CallOutput]:
        """The granted time's end, and what comes before it: another slice, or the warning."""
        assert self.answered_at is not None
        ends_at = self.answered_at + self.granted_seconds
        warning_at = ends_at - self._policy.warning_seconds
        cut = SetTimer(TimerKind.CUT, ends_at)
        if self.granted_seconds >= self._policy.duration_seconds_max:
            return [cut]
        if self.final_unit:
            return [SetTimer(TimerKind.WARNING, warning_at), cut]
        return [SetTimer(TimerKind.CREDIT, warning_at - CREDIT_LEAD_SECONDS), cut]

    def _timer_fired_talking(self, event: TimerFired, now: float) -> list[CallOutput]:
        match event.kind:
            case TimerKind.CREDIT:
                return [self._hold_for(self.granted_seconds + self._policy.slice_seconds)]
            case TimerKind.WARNING:
                return [PlayWarning(self.warning_leg)] if self.final_unit else []
            case TimerKind.CUT if self._renewing and not self._overdue:
                self._overdue = True
                return [SetTimer(TimerKind.CUT, now + CREDIT_WAIT_SECONDS)]
            case TimerKind.CUT:
                limit = self.granted_seconds >= self._policy.duration_seconds_max
                cause = Cause.DURATION_LIMIT if limit else Cause.CREDIT_EXHAUSTED
                return self._release_both(now, cause, ReleaseSide.PLATFORM)
            case _:
                return []

    # Setting up ---------------------------------------------------------------------------------------------------

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

    # The end ------------------------------------------------------------------------------------------------------

    def _release_both(self, now: float, cause: Cause, side: ReleaseSide) -> list[CallOutput]:
        return self._end(now, cause, side, [Release(Leg.CALLER, cause), Release(Leg.CALLEE, cause)])

    def _end(
        self,
        now: float,
        cause: Cause,
        side: ReleaseSide,
        outputs: list[CallOutput],
        *,
        sip_status: int | None = None,
        q850_cause: int | None = None,
    ) -> list[CallOutput]:
        """The one way out: from here the record is complete, the money posted and the media gone.

        ``q850_cause`` is the far end's own; where it gave none, ours stands for it.
        """
        self.state = CallState.ENDED
        cdr = self.cdr
        cdr.state = CdrState.ENDED
        cdr.ended_at_ms = milliseconds(now)
        if self.answered_at is not None and cdr.answered_at_ms is not None:
            # In whole milliseconds: a float's last digit must not buy another increment.
            cdr.ended_at_ms = min(cdr.ended_at_ms, cdr.answered_at_ms + self.granted_seconds * 1000)
            now = min(now, self.answered_at + self.granted_seconds)
        cdr.cause, cdr.release_side = cause, side
        cdr.q850_cause = CODES[cause].q850_cause if q850_cause is None else q850_cause
        cdr.sip_status = 200 if cdr.answered_at_ms is not None else sip_status or CODES[cause].sip_status
        cdr.take_charge(self._tariff.charge(cdr.talk_ms))
        if cdr.answered_at_ms is None:
            cdr.recording_path = None
        outputs.append(ClearTimers())
        if self._media_taken:
            outputs.append(DeleteMedia(now))
        if self.held_micro:
            outputs.append(PostCredit(self.held_micro, cdr.charge_micro))
            self.held_micro = 0
        if self._tariff.held:
            outputs.append(PostMinutes(tuple(self._tariff.held.items()), cdr.minutes_used))
            self._tariff.held.clear()
        outputs.append(Milestone())
        return outputs


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


Transition = Callable[..., list[CallOutput]]
"""(call, event, now) → outputs; each takes the very event that its key names, which the table's test holds."""

_BEFORE_DIAL: Mapping[type, Transition] = {
    CallerCancelled: Call._cancelled_before_dial,
    PlatformHangUp: Call._platform_before_dial,
}
_AFTER_DIAL: Mapping[type, Transition] = {
    CalleeRinging: Call._callee_ringing,
    CalleeAnswered: Call._callee_answered,
    CalleeFailed: Call._callee_failed,
    CallerCancelled: Call._cancelled_after_dial,
    MediaAnswered: Call._early_media_answered,
    MediaRefused: Call._media_refused_after_dial,
    PlatformHangUp: Call._platform_after_dial,
    TimerFired: Call._ring_timer,
}

TRANSITIONS: Mapping[CallState, Mapping[type, Transition]] = {
    CallState.AUTHORISING: {
        **_BEFORE_DIAL,
        CreditGranted: Call._credit_granted_first,
        MinutesGranted: Call._minutes_granted_first,
        CreditRefused: Call._credit_refused_first,
    },
    CallState.OFFERING: {
        **_BEFORE_DIAL,
        MediaOffered: Call._media_offered,
        MediaRefused: Call._media_refused_before_dial,
    },
    CallState.DIALLING: _AFTER_DIAL,
    CallState.RINGING: _AFTER_DIAL,
    CallState.CONNECTING: {
        MediaAnswered: Call._media_answered,
        MediaRefused: Call._media_refused_connecting,
        CallerCancelled: Call._cancelled_connecting,
        HungUp: Call._hung_up_connecting,
        MediaOffered: Call._callees_media_offered,
        PlatformHangUp: Call._platform_connecting,
    },
    CallState.CONFIRMING: {
        CallerAnswered: Call._caller_answered,
        MediaAnswered: Call._media_answered_confirming,
        MediaRefused: Call._media_refused_confirming,
        CallerCancelled: Call._cancelled_connecting,
        AckMissing: Call._ack_missing,
        HungUp: Call._hung_up_confirming,
        PlatformHangUp: Call._platform_talking,
    },
    CallState.TALKING: {
        HungUp: Call._hung_up,
        AckMissing: Call._ack_missing,
        MediaTimedOut: Call._media_timed_out,
        PlatformHangUp: Call._platform_talking,
        TimerFired: Call._timer_fired_talking,
        CreditGranted: Call._credit_granted_talking,
        MinutesGranted: Call._minutes_granted_talking,
        CreditRefused: Call._credit_refused_talking,
        CreditChanged: Call._credit_changed,
    },
    CallState.ENDED: {
        CreditGranted: Call._credit_granted_late,
        MinutesGranted: Call._minutes_granted_late,
    },
}
