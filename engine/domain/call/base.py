"""What every part of the call machine stands on: its state, what the operator set, and the one way out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engine.domain.cause import CODES, Cause, ReleaseSide
from engine.domain.cdr import Cdr, CdrState
from engine.domain.events import (
    CallOutput,
    ClearTimers,
    DeleteMedia,
    Leg,
    Milestone,
    PostCredit,
    PostMinutes,
    Release,
)
from engine.domain.money.charging import Tariff


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


class CallBase:
    """Its parts are in files of their own: credit, talk, set-up; ``engine.domain.call`` has the table."""

    __slots__ = (
        "_answer",
        "_answers_pending",
        "_is_capped",
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
        self._is_capped = False
        """What was granted last, or refused, was so by a spend cap."""
        self._overdue = False
        """The granted time is over, and the slice that was asked for is waited for."""

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
