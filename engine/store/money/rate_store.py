"""Rate plans in the database: from row to fact, and every version of each, kept as it was."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

import msgspec
from sqlalchemy import event, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import UOWTransaction

from engine.domain.facts import RateFacts
from engine.store.change_feed import FactSession
from engine.store.tables import Rate, RateVersion

_COLUMNS = tuple(field.name for field in fields(RateFacts))


def facts_of(values: Mapping[str, Any]) -> RateFacts:
    """A plan as an engine knows it, from its row's columns or from a version's content."""
    return msgspec.convert(dict(values), RateFacts)


async def read_version(connection: AsyncConnection, rate_id: int, version: int) -> RateFacts | None:
    """A plan as it was in one of its versions; None where there was none such."""
    content = await connection.scalar(
        select(RateVersion.content).where(RateVersion.rate_id == rate_id, RateVersion.version == version)
    )
    return None if content is None else facts_of(content)


async def read_versions(
    connection: AsyncConnection, rate_ids: Collection[int] | None = None
) -> list[tuple[int, RateFacts]]:
    """Every version of every plan, or of these plans, the oldest first, each with when it came into force."""
    statement = select(RateVersion.created_at_ms, RateVersion.content).order_by(
        RateVersion.rate_id, RateVersion.version
    )
    if rate_ids is not None:
        statement = statement.where(RateVersion.rate_id.in_(rate_ids))
    return [(created_at_ms, facts_of(content)) for created_at_ms, content in await connection.execute(statement)]


async def read_newest(connection: AsyncConnection) -> list[RateFacts]:
    """Every plan as it is now."""
    rows = await connection.execute(select(*(getattr(Rate, name) for name in _COLUMNS)))
    return [facts_of(row._asdict()) for row in rows]


@event.listens_for(FactSession, "before_flush")
def _count_versions(session: FactSession, _context: UOWTransaction, _instances: object) -> None:
    for row in (*session.new, *session.dirty):
        if isinstance(row, Rate) and (row in session.new or session.is_modified(row)):
            row.version = (row.version or 0) + 1


@event.listens_for(FactSession, "after_flush")
def _keep_versions(session: FactSession, _context: UOWTransaction) -> None:
    versions = []
    for row in (*session.new, *session.dirty):
        if isinstance(row, Rate) and (row in session.new or session.is_modified(row)):
            content = {name: getattr(row, name) for name in _COLUMNS}
            versions.append(
                {
                    "rate_id": inspect(row).mapper.primary_key_from_instance(row)[0],
                    "version": row.version,
                    "content": content,
                    "created_at_ms": session.info["now_ms"],
                }
            )
    if versions:
        session.connection().execute(insert(RateVersion), versions)
