"""Reading who left."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.listing import PAGE_ROWS_MAX
from engine.store.scope import Scope, within
from engine.store.tables.offboarding import Offboarding


async def read_offboardings(
    session: AsyncSession, scope: Scope, agent_id: int | None, *, before: tuple[int, str] | None, limit: int
) -> Sequence[Offboarding]:
    """A page, newest first; ``before`` is (applied_at_ms, id) of the last row of the page before."""
    statement = select(Offboarding).where(within(scope, tenant=Offboarding.tenant_id, agent=None))
    if agent_id is not None:
        statement = statement.where(Offboarding.agent_id == agent_id)
    if before is not None:
        statement = statement.where(tuple_(Offboarding.applied_at_ms, Offboarding.id) < before)
    statement = statement.order_by(Offboarding.applied_at_ms.desc(), Offboarding.id.desc())
    return (await session.scalars(statement.limit(min(limit, PAGE_ROWS_MAX)))).all()
