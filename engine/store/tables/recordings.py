"""Recordings: where they are, how long they are kept, and why they are gone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    ForeignKey,
    Index,
    String,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table


class Recording(Table):
    """A closed recording. ``gaps_ms`` lists [side, start, end] where packets were missing."""

    __tablename__ = "recordings"
    cdr_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    path: Mapped[str] = mapped_column(String(255))
    duration_ms: Mapped[int]
    size_octets: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    gaps_ms: Mapped[list[Any]]
    engine_id: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))
    """Whose machine's disk it was recorded to; empty: of before this was known."""
    place: Mapped[str] = mapped_column(String(8), default="disk", server_default="disk")
    """disk | both (on its way) | storage"""
    tenant_id: Mapped[int | None]
    """This and the two below are the CDR's, put here as the recording is filed; None: not filed yet."""
    agent_id: Mapped[int | None]
    started_at_ms: Mapped[int | None]
    __table_args__ = (
        Index("recordings_by_tenant_and_time", "tenant_id", "started_at_ms", "cdr_id"),
        Index("recordings_by_place", "engine_id", "place", "cdr_id"),
    )


class RecordingManifest(Table):
    """A manifest to be kept: one for each machine, folder (a day) and tenant. To be written when it changed since."""

    __tablename__ = "recording_manifests"
    engine_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    folder: Mapped[str] = mapped_column(String(255), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    changed_at_ms: Mapped[int]
    written_at_ms: Mapped[int] = mapped_column(default=0, server_default="0")


class RecordingDeletion(Table):
    """A recording that was, and why it is no more. The row stays; ``deleted_at_ms`` is None until the file is gone."""

    __tablename__ = "recording_deletions"
    cdr_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    path: Mapped[str] = mapped_column(String(255))
    engine_id: Mapped[str] = mapped_column(String(64))
    place: Mapped[str] = mapped_column(String(8))
    tenant_id: Mapped[int | None]
    agent_id: Mapped[int | None]
    started_at_ms: Mapped[int | None]
    duration_ms: Mapped[int]
    size_octets: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(16))  # engine.store.records.retention_store.DeletionReason
    rule: Mapped[str] = mapped_column(String(200))
    decided_by: Mapped[str] = mapped_column(String(64))  # a login; empty: by the rule alone
    decided_at_ms: Mapped[int]
    deleted_at_ms: Mapped[int | None] = mapped_column(index=True)
    __table_args__ = (Index("recording_deletions_by_tenant", "tenant_id", "decided_at_ms", "cdr_id"),)


class RecordingRetention(Table):
    """How long a tenant's recordings are kept, in days; 0: for ever. The longer of the two counts."""

    __tablename__ = "recording_retentions"
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    platform_days: Mapped[int | None]  # None: as the settings say
    tenant_days: Mapped[int | None]


class LegalHold(Table):
    """Keeps recordings whatever their age: one, an agent's, or all of a tenant's."""

    __tablename__ = "legal_holds"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"))
    cdr_id: Mapped[str | None] = mapped_column(String(32), index=True)
    reason: Mapped[str] = mapped_column(String(200))
    by_platform: Mapped[bool] = mapped_column(Boolean)
    """Then the platform alone can release it."""
    placed_by: Mapped[str] = mapped_column(String(64))
    placed_at_ms: Mapped[int]
    released_by: Mapped[str | None] = mapped_column(String(64))
    released_at_ms: Mapped[int | None]
    release_reason: Mapped[str | None] = mapped_column(String(200))
    # Who holds an id must not find another's hold behind it.
    __table_args__ = ({"sqlite_autoincrement": True},)
