"""The call machine: events in, outputs out, with the time as an argument.

A call has a caller, who is there when it begins, and a callee, who is dialled. Which state answers which event, and
with which transition, is the table TRANSITIONS below; what is not in it is ignored, because peers repeat
themselves and cross each other. The machine never waits: what takes time comes back as an event.

A caller without an offer is passed on as one: the callee makes the offer, which goes to the caller with our answer, and
the caller's own answer to that comes last (RFC 3725 §4.1 joins two parties in this order).

Talk time begins when the caller's answer is sent (not when the callee answered: the caller hears nothing before), or
when his answer to the callee's offer is there, and ends with the first of: either side's hang-up, our own, or the end
of the granted time — to the millisecond, however late the timer is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.domain.call.base import CallPolicy, CallState, milliseconds
from engine.domain.call.credit import CREDIT_LEAD_SECONDS, CREDIT_WAIT_SECONDS
from engine.domain.call.setup import CallSetup
from engine.domain.cdr import Cdr
from engine.domain.events import (
    AckMissing,
    CalleeAnswered,
    CalleeFailed,
    CalleeRinging,
    CallerAnswered,
    CallerCancelled,
    CallEvent,
    CallOutput,
    CreditChanged,
    CreditGranted,
    CreditRefused,
    HungUp,
    Leg,
    MediaAnswered,
    MediaOffered,
    MediaRefused,
    MediaTimedOut,
    Milestone,
    MinutesGranted,
    PlatformHangUp,
    StartRecording,
    TimerFired,
)
from engine.domain.money.charging import Tariff

__all__ = [
    "CREDIT_LEAD_SECONDS",
    "CREDIT_WAIT_SECONDS",
    "TRANSITIONS",
    "Call",
    "CallPolicy",
    "CallState",
    "milliseconds",
]


class Call(CallSetup):
    """One call attempt that has a route. ``receive`` is the only way in; ``cdr`` is its record at any moment."""

    __slots__ = ()

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
        """What a resumed call must have held by now; slices of money after the first are in no record.

        Who lived on package minutes had held no more than his record says: of the time since, these are asked for
        first.
        """
        granted_seconds = self.granted_seconds
        seconds = min(max(granted_seconds, self.talked_seconds(now)), self._policy.duration_seconds_max)
        if self._tariff.minutes_wanted(seconds) and not self._tariff.minutes_wanted(granted_seconds):
            seconds = granted_seconds
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
