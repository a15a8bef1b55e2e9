"""The change feed that engines follow."""

from __future__ import annotations

from sqlalchemy import (
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from engine.store.tables.base import Table


class Change(Table):
    """The change feed: which facts an engine must read again. Written in the transaction that changes them."""

    __tablename__ = "changes"
    id: Mapped[int] = mapped_column(primary_key=True)
    entity: Mapped[str] = mapped_column(String(32))  # a table's name
    entity_id: Mapped[str] = mapped_column(String(64))
    at_ms: Mapped[int]
    # SQLite would give the ids of pruned rows out again, and an engine that is past them would never look.
    __table_args__ = ({"sqlite_autoincrement": True},)
