"""The table of offboardings: who left, and what of his went where. Times are as in ``tables``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table


class Offboarding(Table):
    """``moves`` are ``engine.services.staff.offboarding.Move`` as objects: all that an undo needs, also the phone."""

    __tablename__ = "offboardings"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id"), index=True)
    successor_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"))  # None: all went back to the pools
    moves: Mapped[list[Any]] = mapped_column(info={"secret": True})
    applied_at_ms: Mapped[int]
    undone_at_ms: Mapped[int | None]
    __table_args__ = (Index("offboardings_by_tenant", "tenant_id", "applied_at_ms", "id"),)
