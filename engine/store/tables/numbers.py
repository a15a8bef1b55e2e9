"""Tables of number pools, numbers' histories, and who may use which carrier. Times are as in ``tables``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table


class CarrierPermission(Table):
    """A tenant may use all of a carrier's lines."""

    __tablename__ = "carrier_permissions"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    carrier_id: Mapped[int] = mapped_column(ForeignKey("carriers.id"), index=True)
    granted_at_ms: Mapped[int]
    __table_args__ = (
        UniqueConstraint("tenant_id", "carrier_id", name="one_permission_per_carrier"),
        {"sqlite_autoincrement": True},
    )


class LinePermission(Table):
    """A tenant may use one line, whether or not he may use the carrier's others."""

    __tablename__ = "line_permissions"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id"), index=True)
    granted_at_ms: Mapped[int]
    by_package: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """It ends with the last package that has the line (``PackageLine``)."""
    __table_args__ = (
        UniqueConstraint("tenant_id", "line_id", name="one_permission_per_line"),
        {"sqlite_autoincrement": True},
    )


class UsableLines(Table):
    """What one agent may use, or one department with all below it that has no list of its own.

    Of what the tenant may use: a list permits nothing that the tenant may not.
    """

    __tablename__ = "usable_lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    department_id: Mapped[int | None] = mapped_column(ForeignKey("departments.id"))
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"))
    line_ids: Mapped[list[Any]]
    carrier_ids: Mapped[list[Any]]
    """All lines of these carriers, those that come later too."""
    changed_at_ms: Mapped[int]
    __table_args__ = (
        UniqueConstraint("department_id", name="one_list_per_department"),
        UniqueConstraint("agent_id", name="one_list_per_agent"),
        CheckConstraint("(department_id IS NULL) <> (agent_id IS NULL)", name="list_of_one_holder"),
        {"sqlite_autoincrement": True},
    )


class NumberPool(Table):
    """A part of a line's numbers, as the carrier knows it by its pool key."""

    __tablename__ = "number_pools"
    id: Mapped[int] = mapped_column(primary_key=True)
    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id"))
    code: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(200))
    pool_key: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))
    created_at_ms: Mapped[int]
    __table_args__ = (
        UniqueConstraint("line_id", "code", name="pool_code_in_line"),
        {"sqlite_autoincrement": True},
    )


class NumberMove(Table):
    """One step in a number's history. Append-only.

    ``tenant_id`` is the one tenant whom it concerns: a number that goes from one to another takes two steps, so that
    none reads of the other.
    """

    __tablename__ = "number_moves"
    id: Mapped[int] = mapped_column(primary_key=True)
    x_number_id: Mapped[int] = mapped_column(ForeignKey("x_numbers.id"))
    kind: Mapped[str] = mapped_column(String(16))  # engine.services.lines.number_allocation.MoveKind
    at_ms: Mapped[int]
    tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id"))
    from_department_id: Mapped[int | None]
    from_agent_id: Mapped[int | None]
    to_department_id: Mapped[int | None]
    to_agent_id: Mapped[int | None]
    reason: Mapped[str] = mapped_column(String(200), default="", server_default=text("''"))
    by_user_id: Mapped[int | None]  # None: a machine's work
    by_platform: Mapped[bool]
    __table_args__ = (
        Index("number_moves_by_x_number", "x_number_id", "id"),
        Index("number_moves_by_time", "at_ms"),
        {"sqlite_autoincrement": True},
    )
