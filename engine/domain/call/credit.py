"""The call machine's dealings with credit: a slice of time held ahead of the talk, renewed while it lasts."""

from __future__ import annotations

from engine.domain.call.base import CallBase, milliseconds
from engine.domain.cause import Cause, ReleaseSide
from engine.domain.events import (
    CallOutput,
    CreditChanged,
    CreditGranted,
    CreditRefused,
    HoldCredit,
    HoldMinutes,
    Milestone,
    MinutesGranted,
    PlayWarning,
    PostCredit,
    PostMinutes,
    SetTimer,
    TimerFired,
    TimerKind,
)

CREDIT_LEAD_SECONDS = 3.0
"""A slice is renewed this long before the warning would be due, so that a slow ledger costs nobody a tone or a call."""
CREDIT_WAIT_SECONDS = 2.0
"""A slice that was asked for may come so long after the granted time: an engine that stood still, or took the call up
from a dead one, asks late. What is talked meanwhile is charged if the slice comes, and given away if it does not."""


class CallCredit(CallBase):
    """Package minutes first, then money."""

    __slots__ = ()

    def talked_seconds(self, now: float) -> int:
        """Begun ones count; 0 before the answer."""
        return 0 if self.answered_at is None else -(-milliseconds(now - self.answered_at) // 1000)

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
        self._is_capped = event.is_capped
        self.held_micro += event.amount_micro
        wanted_seconds = self.granted_seconds + self._policy.slice_seconds
        self.granted_seconds = self._tariff.seconds_for(self.held_micro, self._policy.duration_seconds_max)
        self.final_unit = self.granted_seconds < min(wanted_seconds, self._policy.duration_seconds_max)

    def _credit_granted_talking(self, event: CreditGranted, now: float) -> list[CallOutput]:
        self._grant(event)
        return self._credit_timers()

    def _credit_granted_late(self, event: CreditGranted, now: float) -> list[CallOutput]:
        # The answer to a hold that outlived its call: all of it is given back.
        return [PostCredit(event.amount_micro, 0)]

    def _credit_refused_talking(self, event: CreditRefused, now: float) -> list[CallOutput]:
        self._renewing = False
        self._is_capped = event.cause is Cause.SPEND_CAP
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
            case TimerKind.CREDIT:  # late, where no engine was there for a while
                reached_seconds = max(self.granted_seconds, self.talked_seconds(now))
                return [self._hold_for(reached_seconds + self._policy.slice_seconds)]
            case TimerKind.WARNING:
                return [PlayWarning(self.warning_leg)] if self.final_unit else []
            case TimerKind.CUT if self._renewing and not self._overdue:
                self._overdue = True
                return [SetTimer(TimerKind.CUT, now + CREDIT_WAIT_SECONDS)]
            case TimerKind.CUT:
                return self._release_both(now, self._cut_cause(), ReleaseSide.PLATFORM)
            case _:
                return []

    def _cut_cause(self) -> Cause:
        if self.granted_seconds >= self._policy.duration_seconds_max:
            return Cause.DURATION_LIMIT
        return Cause.SPEND_CAP if self._is_capped else Cause.CREDIT_EXHAUSTED
