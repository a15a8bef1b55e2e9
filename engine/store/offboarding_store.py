"""Reading who left."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables.offboarding import Offboarding


async def read_offboardings(
    session: AsyncSession, scope: Scope, agent_id: int | None, wanted: PageWanted
) -> Sequence[Offboarding]:
    statement = select(Offboarding).where(within(scope, tenant=Offboarding.tenant_id, agent=None))
    if agent_id is not None:
        statement = statement.where(Offboarding.agent_id == agent_id)
    return (await session.scalars(wanted.of(statement))).all()
