"""Reading who left."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables.offboarding import Offboarding


async def read_offboardings(
    session: AsyncSession, scope: Scope, *conditions: ColumnElement[bool], wanted: PageWanted
) -> Sequence[Offboarding]:
    mine = within(scope, tenant=Offboarding.tenant_id, agent=None)
    return (await session.scalars(wanted.of(select(Offboarding).where(mine, *conditions)))).all()
