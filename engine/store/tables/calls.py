"""CDRs, and their reconciliation with carriers' own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ForeignKey,
    Index,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import NUMBER_LENGTH_MAX, Table


class Cdr(Table):
    """One per call attempt. Written while the call runs, complete once ``state`` is ``ended``."""

    __tablename__ = "cdrs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    state: Mapped[str] = mapped_column(String(8))  # started | ringing | answered | ended
    tenant_id: Mapped[int | None]
    agent_id: Mapped[int | None]
    line_id: Mapped[int | None]
    trunk_id: Mapped[int | None]  # the trunk that the call was sent to, or else came from
    binding_id: Mapped[str | None] = mapped_column(String(32))
    direction: Mapped[str | None] = mapped_column(String(8))  # a_to_b | b_to_a
    a_number: Mapped[str | None] = mapped_column(String(NUMBER_LENGTH_MAX))
    x_number: Mapped[str | None] = mapped_column(String(NUMBER_LENGTH_MAX))
    b_number: Mapped[str | None] = mapped_column(String(NUMBER_LENGTH_MAX))
    started_at_ms: Mapped[int]
    ringing_at_ms: Mapped[int | None]
    answered_at_ms: Mapped[int | None]
    ended_at_ms: Mapped[int | None]
    billed_seconds: Mapped[int] = mapped_column(default=0)
    charge_micro: Mapped[int] = mapped_column(default=0)
    package_seconds: Mapped[int] = mapped_column(default=0, server_default="0")  # of the billed ones
    corrected_micro: Mapped[int | None]  # of charge_micro, what rerating added to what was charged first, or took
    cost_micro: Mapped[int | None]  # what the carrier takes; none where no buy rate is known
    rate_id: Mapped[int | None]
    rate_version: Mapped[int | None]
    release_side: Mapped[str | None] = mapped_column(String(8))  # caller | callee | platform
    cause: Mapped[str | None] = mapped_column(String(32))  # engine.domain.cause.Cause
    sip_status: Mapped[int | None]
    q850_cause: Mapped[int | None]
    recording_path: Mapped[str | None] = mapped_column(String(255))  # below the recordings folder
    unrecorded_because: Mapped[str | None] = mapped_column(String(16))  # engine.domain.cdr.Unrecorded
    first_leg_ms: Mapped[int | None]  # of a callback call: how long the agent's leg, dialled first, was up
    transferred_from: Mapped[str | None] = mapped_column(String(32))  # the CDR of the call that a transfer came out of
    __table_args__ = (
        Index("cdrs_by_tenant_and_time", "tenant_id", "started_at_ms", "id"),
        Index("cdrs_by_time", "started_at_ms", "id"),
    )


class CarrierRecordFormat(Table):
    """How a carrier writes its CDR files: ``engine.services.records.carrier_records.RecordFormat``."""

    __tablename__ = "carrier_record_formats"
    carrier_id: Mapped[int] = mapped_column(ForeignKey("carriers.id"), primary_key=True, autoincrement=False)
    content: Mapped[dict[str, Any]]


class Reconciliation(Table):
    """A carrier's CDRs compared with ours. The id is the SHA-256 of all that was compared."""

    __tablename__ = "reconciliations"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    trunk_id: Mapped[int] = mapped_column(ForeignKey("trunks.id"))
    line_id: Mapped[int | None] = mapped_column(ForeignKey("lines.id"))
    from_ms: Mapped[int]
    to_ms: Mapped[int]
    created_at_ms: Mapped[int]
    clock_offset_ms: Mapped[int]  # their clock less ours
    summary: Mapped[dict[str, Any]]
    __table_args__ = (Index("reconciliations_by_time", "created_at_ms", "id"),)


class ReconciliationDifference(Table):
    __tablename__ = "reconciliation_differences"
    reconciliation_id: Mapped[str] = mapped_column(ForeignKey("reconciliations.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(32))  # engine.domain.reconciliation.DifferenceKind
    cdr_id: Mapped[str | None] = mapped_column(String(32))
    content: Mapped[dict[str, Any]]
