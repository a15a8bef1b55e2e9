"""What tenants are told of and held to, and their agents."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.money.velocity import FACTOR
from engine.domain.month import ZONE
from engine.store.money.notice_store import notice_low
from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables.orders import AgentSpendCap, MoneyRules


async def read_rules(session: AsyncSession, scope: Scope, tenant_id: int) -> MoneyRules:
    """Those of a tenant for whom nothing is set hold him to nothing. The session does not have them."""
    row: MoneyRules | None = await session.scalar(
        select(MoneyRules).where(
            MoneyRules.tenant_id == tenant_id, within(scope, tenant=MoneyRules.tenant_id, agent=None)
        )
    )
    return row or MoneyRules(tenant_id=tenant_id, zone=ZONE, velocity_factor=FACTOR, velocity_stops_calls=False)


async def change_rules(
    session: AsyncSession, scope: Scope, tenant_id: int, values: dict[str, int | None], now_ms: int
) -> MoneyRules:
    """``values``: by column. Who is below a new threshold is told at once."""
    row = await read_rules(session, scope, tenant_id)
    for name, value in values.items():
        setattr(row, name, value)
    if row.low_balance_micro is None:
        row.low_since_ms = None
    session.add(row)
    await session.flush()
    await notice_low(await session.connection(), [tenant_id], now_ms)
    await session.refresh(row)
    return row


async def read_agent_caps(session: AsyncSession, scope: Scope, wanted: PageWanted) -> Sequence[AgentSpendCap]:
    mine = within(scope, tenant=AgentSpendCap.tenant_id, agent=AgentSpendCap.agent_id)
    return (await session.scalars(wanted.of(select(AgentSpendCap).where(mine)))).all()


async def read_agent_cap(session: AsyncSession, scope: Scope, agent_id: int) -> AgentSpendCap | None:
    """None where there is none in ``scope``."""
    row: AgentSpendCap | None = await session.scalar(
        select(AgentSpendCap).where(
            AgentSpendCap.agent_id == agent_id,
            within(scope, tenant=AgentSpendCap.tenant_id, agent=AgentSpendCap.agent_id),
        )
    )
    return row


async def set_agent_cap(
    session: AsyncSession, scope: Scope, tenant_id: int, agent_id: int, day_cap_micro: int
) -> AgentSpendCap:
    """Of an agent whom the caller knows to be the tenant's."""
    row = await read_agent_cap(session, scope, agent_id) or AgentSpendCap(agent_id=agent_id, tenant_id=tenant_id)
    row.day_cap_micro = day_cap_micro
    session.add(row)
    await session.flush()
    return row
