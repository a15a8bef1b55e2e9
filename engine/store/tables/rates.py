"""Rate plans with their versions, and package minutes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    ForeignKey,
    String,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table


class Rate(Table):
    """A rate plan: its entries, and the price of every number that none of them covers, unless those are refused.

    Price by time: the first increment is charged whole, then each following one.
    ``engine.store.money.rate_store`` keeps every version of it.
    """

    __tablename__ = "rates"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    per_minute_micro: Mapped[int]
    first_increment_seconds: Mapped[int] = mapped_column(default=60)
    next_increment_seconds: Mapped[int] = mapped_column(default=60)
    minimum_seconds: Mapped[int] = mapped_column(default=0)
    connect_fee_micro: Mapped[int] = mapped_column(default=0, server_default="0")
    rounding: Mapped[str] = mapped_column(String(8), default="half_up", server_default="half_up")  # half_up | up | down
    rounded_to_micro: Mapped[int] = mapped_column(default=1, server_default="1")
    zone: Mapped[str] = mapped_column(String(64), default="Asia/Shanghai", server_default="Asia/Shanghai")
    entries: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    """Objects, as ``engine.domain.money.rate_plan.RateEntry`` says; of one prefix the first goes first."""
    others_refused: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    loss_allowed: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    callback_legs: Mapped[str] = mapped_column(String(8), default="both", server_default="both")  # both | callee
    version: Mapped[int] = mapped_column(default=0, server_default="1")
    __table_args__ = (
        CheckConstraint("per_minute_micro >= 0", name="price_not_negative"),
        CheckConstraint("first_increment_seconds > 0 AND next_increment_seconds > 0", name="increments_positive"),
    )


class RateVersion(Table):
    """A plan as it was: by it a call is priced again, whatever the plan says by now. Append-only."""

    __tablename__ = "rate_versions"
    rate_id: Mapped[int] = mapped_column(ForeignKey("rates.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[dict[str, Any]]  # engine.domain.facts.RateFacts
    created_at_ms: Mapped[int]


class MinutesBucket(Table):
    """Package minutes that a tenant has bought: seconds are left, leased to engines, or used."""

    __tablename__ = "minutes_buckets"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"))  # None: any of the tenant's
    line_ids: Mapped[list[Any]] = mapped_column(default=list)  # empty: all
    cause_id: Mapped[str] = mapped_column(String(64), unique=True)  # the order that paid for it
    seconds_bought: Mapped[int]
    seconds_left: Mapped[int]  # neither leased nor used
    starts_at_ms: Mapped[int]
    expires_at_ms: Mapped[int]
    wanted_seconds: Mapped[int] = mapped_column(default=0, server_default="0")
    """An engine is short of it: the others give back what no call of theirs holds."""
    __table_args__ = (CheckConstraint("seconds_left >= 0", name="seconds_left_not_negative"),)


class MinutesLease(Table):
    """What an engine may hold of a bucket without asking again."""

    __tablename__ = "minutes_leases"
    engine_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    bucket_id: Mapped[int] = mapped_column(ForeignKey("minutes_buckets.id"), primary_key=True)
    seconds: Mapped[int]
    expires_at_ms: Mapped[int] = mapped_column(default=0, server_default="0")
    """Put off by its engine while that lives; past it an operator may void the lease."""
    __table_args__ = (CheckConstraint("seconds >= 0", name="minutes_lease_not_negative"),)


class MinutesUse(Table):
    """What a call used of a bucket, once for each CDR. Append-only."""

    __tablename__ = "minutes_uses"
    cdr_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    bucket_id: Mapped[int] = mapped_column(ForeignKey("minutes_buckets.id"), primary_key=True)
    seconds: Mapped[int]
    created_at_ms: Mapped[int]
