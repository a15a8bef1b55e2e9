"""The record of one call attempt, as it grows from started to ended."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from engine.domain.cause import Cause, ReleaseSide
from engine.domain.lines.routing import Direction, Parties
from engine.domain.money.charging import Charge


class CdrState(StrEnum):
    STARTED = "started"
    RINGING = "ringing"
    ANSWERED = "answered"
    ENDED = "ended"


class Unrecorded(StrEnum):
    """Why a call that should have been recorded is not."""

    DISK_FULL = "disk_full"
    STORAGE = "storage"
    """The media worker could not make the file."""


class Cdr(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Field by field the table ``cdrs``. Times are milliseconds since the epoch, money is micro-units."""

    id: str
    state: CdrState = CdrState.STARTED
    tenant_id: int | None = None
    agent_id: int | None = None
    line_id: int | None = None
    trunk_id: int | None = None
    binding_id: str | None = None
    direction: Direction | None = None
    a_number: str | None = None
    x_number: str | None = None
    b_number: str | None = None
    started_at_ms: int
    ringing_at_ms: int | None = None
    answered_at_ms: int | None = None
    ended_at_ms: int | None = None
    billed_seconds: int = 0
    charge_micro: int = 0
    package_seconds: int = 0
    corrected_micro: int | None = None
    cost_micro: int | None = None
    rate_id: int | None = None
    rate_version: int | None = None
    release_side: ReleaseSide | None = None
    cause: Cause | None = None
    sip_status: int | None = None
    q850_cause: int | None = None
    recording_path: str | None = None
    unrecorded_because: Unrecorded | None = None
    first_leg_ms: int | None = None
    """Of a callback call: how long the agent's leg, which is dialled first, was up."""
    transferred_from: str | None = None
    """The call whose other party was joined to this one's callee; its recording holds what both say."""
    minutes_used: tuple[tuple[int, int], ...] = ()
    """(bucket, seconds), which make up ``package_seconds``; no column, but rows of ``minutes_uses``."""

    @classmethod
    def started(cls, call_id: str, parties: Parties, started_at_ms: int) -> Cdr:
        return cls(
            id=call_id,
            started_at_ms=started_at_ms,
            tenant_id=parties.tenant_id,
            agent_id=parties.agent_id,
            line_id=parties.line_id,
            trunk_id=parties.trunk_id,
            binding_id=parties.binding_id,
            direction=parties.direction,
            a_number=parties.a_number,
            x_number=parties.x_number,
            b_number=parties.b_number,
            rate_id=parties.rate_id,
            rate_version=parties.rate_version,
        )

    def take_charge(self, charge: Charge) -> None:
        self.billed_seconds = charge.billed_seconds
        self.package_seconds = charge.package_seconds
        self.charge_micro = charge.charge_micro
        self.cost_micro = charge.cost_micro
        self.minutes_used = charge.by_bucket

    @property
    def talk_ms(self) -> int:
        if self.answered_at_ms is None or self.ended_at_ms is None:
            return 0
        return self.ended_at_ms - self.answered_at_ms
