"""A tenant's agents: made, changed, suspended and woken. One leaves by ``services.staff.offboarding`` alone."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import NotNow, NotThere, Refusal
from engine.services.lines.bindings import end_bindings, live_bindings_of, move_a_side
from engine.services.staff.departments import known_department
from engine.store.listing import owned
from engine.store.scope import Scope, TenantScope
from engine.store.tables import Agent, Tenant

LiveBindings = Literal["move", "end"]
"""What becomes of an agent's bindings that are in force as his phone changes (docs/adr/0012)."""


async def agent_of(session: AsyncSession, scope: Scope, agent_id: int) -> Agent:
    """Raises NotThere."""
    agent = await session.scalar(select(Agent).where(Agent.id == agent_id, owned(scope, Agent)))
    if agent is None:
        raise NotThere("agent")
    return agent


async def create_agent(
    session: AsyncSession,
    scope: TenantScope,
    *,
    code: str,
    name: str,
    phone: str | None = None,
    department_id: int | None = None,
) -> Agent:
    """``phone`` is canonical. Raises Refusal."""
    if await session.get(Tenant, scope.tenant_id) is None:
        raise Refusal("tenant.unknown", "tenant_id", "is no tenant")
    if await _other(session, scope.tenant_id, None, Agent.code == code):
        raise NotNow("agent.code_taken", "code", "is taken")
    await _refuse_phone_taken(session, scope.tenant_id, None, phone)
    if department_id is not None:
        await known_department(session, scope, department_id, "department_id")
    agent = Agent(tenant_id=scope.tenant_id, code=code, name=name, phone=phone, department_id=department_id)
    session.add(agent)
    await session.flush()
    return agent


async def change_agent(
    session: AsyncSession,
    scope: Scope,
    agent_id: int,
    values: dict[str, Any],
    *,
    live_bindings: LiveBindings = "move",
    now_ms: int,
) -> Agent:
    """Changes name, phone (canonical), department_id or status, as ``values`` says. Raises NotThere, Refusal."""
    agent = await agent_of(session, scope, agent_id)
    if values.get("department_id") is not None:
        await known_department(session, TenantScope(agent.tenant_id), values["department_id"], "department_id")
    if "status" in values:
        _refuse_status(agent, values["status"])
    if "phone" in values and values["phone"] != agent.phone:
        await _change_phone(session, agent, values["phone"], live_bindings, now_ms)
    for name in ("name", "department_id", "status"):
        if name in values:
            setattr(agent, name, values[name])
    await session.flush()
    return agent


def _refuse_status(agent: Agent, status: str) -> None:
    if agent.status == "left" and status != "left":
        raise NotNow("agent.left", "status", "the agent has left", ["undo the offboarding"])
    if status == "left" and agent.status != "left":
        raise NotNow("agent.not_offboarded", "status", "an agent leaves by an offboarding", ["active", "suspended"])


async def _change_phone(
    session: AsyncSession, agent: Agent, phone: str | None, live_bindings: LiveBindings, now_ms: int
) -> None:
    """No binding keeps the old number as A: whoever gets that number next would be connected to the customers."""
    await _refuse_phone_taken(session, agent.tenant_id, agent.id, phone)
    # A binding may have been made with another A than the agent's phone; that one stays.
    bindings = [row for row in await live_bindings_of(session, agent.id, now_ms) if row.a_number == agent.phone]
    if phone is None or live_bindings == "end":
        await end_bindings(session, bindings, now_ms)
    else:
        for binding in bindings:
            await move_a_side(session, binding, phone, now_ms)
    agent.phone = phone
    await session.flush()


async def _refuse_phone_taken(session: AsyncSession, tenant_id: int, but_id: int | None, phone: str | None) -> None:
    if phone is not None and await _other(session, tenant_id, but_id, Agent.phone == phone):
        raise NotNow("agent.phone_taken", "phone", "is another agent's of the same tenant")


async def _other(session: AsyncSession, tenant_id: int, but_id: int | None, condition: Any) -> bool:
    statement = select(Agent.id).where(Agent.tenant_id == tenant_id, Agent.id != (but_id or 0), condition)
    return await session.scalar(statement.limit(1)) is not None
