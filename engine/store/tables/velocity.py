"""The tables of the velocity alarm. Money and times are as in ``tables``; ``agent_id`` 0 is the tenant's whole."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Index, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table


class VelocityWindow(Table):
    """What one engine's calls did within the window that ended at ``at_ms``: by these engines know of each other's."""

    __tablename__ = "velocity_windows"
    engine_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    agent_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempts: Mapped[int]
    spent_micro: Mapped[int]
    at_ms: Mapped[int] = mapped_column(index=True)


class VelocityDay(Table):
    """The fastest window of a day with calls, all engines together; what is usual is made of these."""

    __tablename__ = "velocity_days"
    tenant_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    agent_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    starts_at_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempts: Mapped[int]
    spent_micro: Mapped[int]
    __table_args__ = (Index("velocity_days_by_time", "starts_at_ms"),)


class VelocityAlarm(Table):
    """Raised once, and not again for the same spender until somebody has acknowledged it."""

    __tablename__ = "velocity_alarms"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"))  # None: the tenant's whole
    measure: Mapped[str] = mapped_column(String(16))  # engine.domain.money.velocity.Measure
    limited_by: Mapped[str] = mapped_column(String(8))  # engine.domain.money.velocity.LimitedBy
    value: Mapped[int]
    limit: Mapped[int]
    usual: Mapped[int | None]
    stops_calls: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    raised_at_ms: Mapped[int]
    acknowledged_at_ms: Mapped[int | None]
    acknowledged_by: Mapped[str | None] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(String(200), default="", server_default=text("''"))
    __table_args__ = (
        Index("velocity_alarms_by_spender", "tenant_id", "agent_id", "id"),
        Index("velocity_alarms_open", "acknowledged_at_ms"),
        {"sqlite_autoincrement": True},
    )
