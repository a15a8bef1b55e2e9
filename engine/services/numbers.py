"""X numbers go from the platform to a tenant, and from the tenant to an agent."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.scope import Scope, within
from engine.store.tables import Agent, Binding, Tenant, XNumber


class XNumberNotFound(Exception):
    """There is no such X number, or it is somebody else's: the answer is the same."""


class XNumberInUse(Exception):
    """There are live bindings on the number; it stays with the tenant whose they are."""


class OwnerNotFound(Exception):
    """There is no such tenant or agent for a number to go to; ``field`` says which."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field}: is not known")
        self.field = field


async def refuse_bound(session: AsyncSession, x_number: XNumber, now_ms: int) -> None:
    """Raises XNumberInUse where a live binding is on the number."""
    live = await session.scalar(
        select(Binding.id)
        .where(
            Binding.x_number_id == x_number.id,
            Binding.ended_at_ms.is_(None),
            Binding.expires_at_ms.is_(None) | (Binding.expires_at_ms > now_ms),
        )
        .limit(1)
    )
    if live is not None:
        raise XNumberInUse


async def _x_number(session: AsyncSession, scope: Scope, x_number_id: int) -> XNumber:
    x_number = await session.scalar(
        select(XNumber).where(
            XNumber.id == x_number_id, within(scope, tenant=XNumber.tenant_id, agent=XNumber.agent_id)
        )
    )
    if x_number is None:
        raise XNumberNotFound
    return x_number


async def allocate_to_tenant(
    session: AsyncSession, scope: Scope, x_number_id: int, tenant_id: int | None, now_ms: int
) -> XNumber:
    """Gives a number to a tenant, or takes it back with ``None``; the agent who had it loses it.

    Raises XNumberNotFound, OwnerNotFound, XNumberInUse.
    """
    x_number = await _x_number(session, scope, x_number_id)
    if x_number.tenant_id == tenant_id:
        return x_number
    if tenant_id is not None and await session.get(Tenant, tenant_id) is None:
        raise OwnerNotFound("tenant_id")
    await refuse_bound(session, x_number, now_ms)
    x_number.tenant_id = tenant_id
    x_number.agent_id = None
    await session.flush()
    return x_number


async def allocate_to_agent(session: AsyncSession, scope: Scope, x_number_id: int, agent_id: int | None) -> XNumber:
    """Makes an agent of the number's tenant its owner, ``None`` for nobody. Raises XNumberNotFound, OwnerNotFound."""
    x_number = await _x_number(session, scope, x_number_id)
    if agent_id is not None:
        agent = await session.scalar(
            select(Agent.id).where(Agent.id == agent_id, Agent.tenant_id == x_number.tenant_id)
        )
        if agent is None:
            raise OwnerNotFound("agent_id")
    x_number.agent_id = agent_id
    await session.flush()
    return x_number
