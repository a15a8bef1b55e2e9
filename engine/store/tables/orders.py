"""The tables of packages, orders and payments. Money and times are as in ``tables``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table


class Package(Table):
    """What can be bought. Its terms are those of its newest version."""

    __tablename__ = "packages"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenants.id"), index=True)  # None: offered to all
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    on_sale: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    renewals_approved: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """The platform's standing approval: automatic renewals wait for nobody."""
    version: Mapped[int]
    created_at_ms: Mapped[int]
    __table_args__ = ({"sqlite_autoincrement": True},)


class PackageVersion(Table):
    """A package's terms as they were: who bought by them keeps them. Append-only."""

    __tablename__ = "package_versions"
    package_id: Mapped[int] = mapped_column(ForeignKey("packages.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    minutes: Mapped[int]
    line_ids: Mapped[list[Any]]  # empty: all
    numbers: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    """What it has beside minutes: objects with line_id and count."""
    price_micro: Mapped[int]
    period_unit: Mapped[str] = mapped_column(String(8))  # engine.domain.money.package.PeriodUnit
    period_count: Mapped[int]
    zone: Mapped[str] = mapped_column(String(64))
    created_at_ms: Mapped[int]
    __table_args__ = (
        CheckConstraint("minutes > 0 AND period_count > 0", name="package_not_empty"),
        CheckConstraint("price_micro >= 0", name="package_price_not_negative"),
    )


class PackageLine(Table):
    """A line that a bought package lets its tenant use, as long as it is in force."""

    __tablename__ = "package_lines"
    bucket_id: Mapped[int] = mapped_column(ForeignKey("minutes_buckets.id"), primary_key=True, autoincrement=False)
    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id"), primary_key=True, autoincrement=False)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    __table_args__ = (Index("package_lines_by_tenant", "tenant_id", "line_id"),)


class Order(Table):
    """A purchase, a return, a transfer or a renewal; ``engine.domain.money.order`` says how it goes on."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"), index=True)  # None: for all of the tenant's
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    key: Mapped[str] = mapped_column(String(64))  # its maker's name for it: sent again, it is not made again
    package_id: Mapped[int]
    package_version: Mapped[int]
    bucket_id: Mapped[int | None] = mapped_column(ForeignKey("minutes_buckets.id"), index=True)
    """The minutes that it bought, or that it is about."""
    to_agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"))  # of a transfer; None: to all
    first_order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))  # of a renewal: the purchase
    period_number: Mapped[int] = mapped_column(default=0)  # counted from 0 at the purchase
    anchor_ms: Mapped[int | None]  # where the purchase's first period began
    auto_renew: Mapped[bool] = mapped_column(Boolean, default=False)
    amount_micro: Mapped[int] = mapped_column(default=0)  # of a return, what was paid back
    refunded_seconds: Mapped[int | None]
    note: Mapped[str] = mapped_column(String(200), default="")
    created_at_ms: Mapped[int]
    decide_by_ms: Mapped[int]  # then it expires
    __table_args__ = (
        UniqueConstraint("tenant_id", "key", name="one_order_per_key"),
        Index("orders_by_first_order", "first_order_id", "period_number"),
        Index("orders_by_tenant", "tenant_id", "id"),
        Index("orders_by_state", "state", "decide_by_ms"),
        {"sqlite_autoincrement": True},
    )


class OrderEvent(Table):
    """An order's history. Append-only."""

    __tablename__ = "order_events"
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(String(16))  # that it came into
    at_ms: Mapped[int]
    by: Mapped[str] = mapped_column(String(64))  # a login; empty: by itself
    note: Mapped[str] = mapped_column(String(200), default="")


class Recharge(Table):
    """A payment that is to come, or has come; ``engine.services.money.recharges`` says how it goes on."""

    __tablename__ = "recharges"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    key: Mapped[str] = mapped_column(String(64))
    reference: Mapped[str] = mapped_column(String(32), unique=True)  # what the payment's provider calls our order
    provider: Mapped[str] = mapped_column(String(16))  # by_hand | hmac | wechat | alipay
    amount_micro: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))  # created | paid | credited | closed
    provider_trade: Mapped[str | None] = mapped_column(String(64))  # the provider's own number
    note: Mapped[str] = mapped_column(String(200), default="")
    created_by: Mapped[str] = mapped_column(String(64))
    created_at_ms: Mapped[int]
    paid_at_ms: Mapped[int | None]
    credited_at_ms: Mapped[int | None]
    confirmed_by: Mapped[str | None] = mapped_column(String(64))
    __table_args__ = (
        UniqueConstraint("tenant_id", "key", name="one_recharge_per_key"),
        UniqueConstraint("provider", "provider_trade", name="one_recharge_per_trade"),
        CheckConstraint("amount_micro > 0", name="recharge_above_zero"),
        {"sqlite_autoincrement": True},
    )


class OverdraftChange(Table):
    """Who changed an overdraft limit, and why. Append-only."""

    __tablename__ = "overdraft_changes"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    from_micro: Mapped[int]
    to_micro: Mapped[int]
    reason: Mapped[str] = mapped_column(String(200))
    by: Mapped[str] = mapped_column(String(64))
    at_ms: Mapped[int]
    __table_args__ = ({"sqlite_autoincrement": True},)


class MoneyRules(Table):
    """What a tenant is told of and held to. None: not at all."""

    __tablename__ = "money_rules"
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    zone: Mapped[str] = mapped_column(String(64), default="Asia/Shanghai", server_default="Asia/Shanghai")
    """Of its days and months."""
    low_balance_micro: Mapped[int | None]
    low_since_ms: Mapped[int | None]  # it has been told; None: it is not low
    day_cap_micro: Mapped[int | None]
    velocity_factor: Mapped[int] = mapped_column(default=5, server_default="5")
    """An alarm is raised beyond so many times the usual; 0: at none. The others are limits by themselves."""
    velocity_attempts_max: Mapped[int | None]
    velocity_spend_max_micro: Mapped[int | None]
    agent_velocity_attempts_max: Mapped[int | None]
    agent_velocity_spend_max_micro: Mapped[int | None]
    velocity_stops_calls: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())


class AgentSpendCap(Table):
    __tablename__ = "agent_spend_caps"
    agent_id: Mapped[int] = mapped_column(ForeignKey("agents.id"), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    day_cap_micro: Mapped[int]


class MoneyEvent(Table):
    """What a tenant was told of its money, once for each subject."""

    __tablename__ = "money_events"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))
    kind: Mapped[str] = mapped_column(String(16))  # engine.store.money.notice_store.NoticeKind
    subject: Mapped[str] = mapped_column(String(64))
    content: Mapped[dict[str, Any]]
    at_ms: Mapped[int]
    published_at_ms: Mapped[int | None]  # over MQTT
    __table_args__ = (
        UniqueConstraint("tenant_id", "kind", "subject", name="one_event_per_subject"),
        Index("money_events_by_tenant", "tenant_id", "id"),
        Index(
            "money_events_unpublished",
            "at_ms",
            sqlite_where=text("published_at_ms IS NULL"),
            postgresql_where=text("published_at_ms IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )


class ClosedMonth(Table):
    """A statement that does not change any more. Append-only.

    In it are the tenant's transactions before its end with ids up to ``last_transaction_id``, less those of the months
    before: a tenant's transactions get their ids under his account's lock, so none comes in below it later.
    """

    __tablename__ = "closed_months"
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)  # 2026-11
    ends_at_ms: Mapped[int]
    last_transaction_id: Mapped[int]
    closing_micro: Mapped[int]
    closed_at_ms: Mapped[int]
