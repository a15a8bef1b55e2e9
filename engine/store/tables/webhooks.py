"""Tenants' webhooks, and the outbox of what they are told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table


class Webhook(Table):
    """A tenant's own system, which wants to be told. Its secret is sealed: ``engine.webhooks.secrets``."""

    __tablename__ = "webhooks"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"), index=True)
    url: Mapped[str] = mapped_column(String(2000))
    kinds: Mapped[list[Any]]  # engine.store.webhook_store.EventKind
    sealed_secret: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16), default="active")  # active | paused | suspended
    created_at_ms: Mapped[int]
    failing_since_ms: Mapped[int | None]
    last_error: Mapped[str | None] = mapped_column(String(100))
    leased_until_ms: Mapped[int] = mapped_column(default=0, server_default="0")
    """Until then one process alone delivers to it."""
    # An id that is given out again would get what was meant for the one before.
    __table_args__ = ({"sqlite_autoincrement": True},)


class WebhookDelivery(Table):
    """The outbox: what a webhook is to be told, written in the transaction of the fact, once for each fact."""

    __tablename__ = "webhook_deliveries"
    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id"))
    kind: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(String(64))  # the CDR's id …
    occurred_at_ms: Mapped[int]
    payload: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # None: read of the subject's row
    state: Mapped[str] = mapped_column(String(16))  # pending | delivered | dead
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at_ms: Mapped[int]
    give_up_at_ms: Mapped[int]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None] = mapped_column(String(100))
    delivered_at_ms: Mapped[int | None]
    __table_args__ = (
        UniqueConstraint("webhook_id", "kind", "subject_id", name="one_delivery_per_fact"),
        Index("webhook_deliveries_by_due_time", "webhook_id", "state", "next_attempt_at_ms"),
        Index("webhook_deliveries_by_time", "occurred_at_ms"),
        {"sqlite_autoincrement": True},
    )
