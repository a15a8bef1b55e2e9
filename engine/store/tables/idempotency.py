"""Requests that may come again: who sent which key, and what was answered."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table


class IdempotencyKey(Table):
    """``owner`` is who sent it, ``request_sha256`` of what; ``status`` is null until it is answered."""

    __tablename__ = "idempotency_keys"
    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    claim_id: Mapped[str] = mapped_column(String(32))
    request_sha256: Mapped[str] = mapped_column(String(64))
    has_written: Mapped[bool] = mapped_column(default=False)
    status: Mapped[int | None]
    content_type: Mapped[str] = mapped_column(String(100), default="")
    answer: Mapped[bytes] = mapped_column(default=b"", info={"secret": True})
    claimed_until_ms: Mapped[int]
    expires_at_ms: Mapped[int] = mapped_column(index=True)
