"""What tenants and agents are held to: their spend caps."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.month import ZONE
from engine.store.scope import Scope, within
from engine.store.tables.orders import AgentSpendCap, MoneyRules


async def read_rules(session: AsyncSession, scope: Scope, tenant_id: int) -> MoneyRules:
    """Those of a tenant for whom nothing is set hold him to nothing. Not of the session: ``set_day_cap`` is."""
    row: MoneyRules | None = await session.scalar(
        select(MoneyRules).where(
            MoneyRules.tenant_id == tenant_id, within(scope, tenant=MoneyRules.tenant_id, agent=None)
        )
    )
    return row or MoneyRules(tenant_id=tenant_id, zone=ZONE)


async def set_day_cap(session: AsyncSession, scope: Scope, tenant_id: int, day_cap_micro: int | None) -> MoneyRules:
    row = await read_rules(session, scope, tenant_id)
    row.day_cap_micro = day_cap_micro
    session.add(row)
    await session.flush()
    return row


async def read_agent_caps(
    session: AsyncSession, scope: Scope, *, above_id: int | None, limit: int
) -> Sequence[AgentSpendCap]:
    """By agent, those with an id above ``above_id``."""
    statement = select(AgentSpendCap).where(
        within(scope, tenant=AgentSpendCap.tenant_id, agent=AgentSpendCap.agent_id),
        AgentSpendCap.agent_id > (above_id or 0),
    )
    return (await session.scalars(statement.order_by(AgentSpendCap.agent_id).limit(limit))).all()


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
