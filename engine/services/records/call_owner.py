"""Whose a call over an X number was, at the time of the call: the number may be another's by the time it is told of."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.lines.routing import Direction
from engine.services.lines.number_allocation import MoveKind
from engine.store.tables import Agent, Binding, XNumber
from engine.store.tables.numbers import NumberMove

CLOCK_SLACK_MS = 2_000
"""A call that begins as its binding is made may seem to have begun before it, by a clock that is not quite right."""
_HELD = (MoveKind.ALLOCATED.value, MoveKind.ASSIGNED.value)


@dataclass(frozen=True, slots=True)
class Owner:
    """``tenant_id`` None: the number was nobody's."""

    tenant_id: int | None
    agent_id: int | None
    binding_id: str | None
    direction: Direction


async def owner_at(session: AsyncSession, x_number: XNumber, caller: str, callee: str, at_ms: int) -> Owner:
    """By the binding that was in force, or else by who had the number."""
    binding = await session.scalar(
        select(Binding)
        .where(
            Binding.x_number_id == x_number.id,
            Binding.created_at_ms <= at_ms + CLOCK_SLACK_MS,
            or_(Binding.ended_at_ms.is_(None), Binding.ended_at_ms > at_ms - CLOCK_SLACK_MS),
            or_(Binding.expires_at_ms.is_(None), Binding.expires_at_ms > at_ms - CLOCK_SLACK_MS),
            # By the customer's number alone: the agent's own may have changed since, and the binding with it.
            Binding.b_number.in_((caller, callee)),
        )
        .order_by(Binding.created_at_ms.desc(), Binding.id)
        .limit(1)
    )
    if binding is not None:
        direction = Direction.B_TO_A if caller == binding.b_number else Direction.A_TO_B
        return Owner(binding.tenant_id, binding.agent_id, binding.id, direction)
    tenant_id, agent_id = await _holder_at(session, x_number, at_ms)
    if tenant_id is None:
        return Owner(None, None, None, Direction.A_TO_B)
    phones = select(Agent.phone, Agent.id).where(Agent.tenant_id == tenant_id, Agent.phone.in_((caller, callee)))
    agents = {row.phone: row.id for row in await session.execute(phones)}
    direction = Direction.A_TO_B if caller in agents else Direction.B_TO_A
    return Owner(tenant_id, agents.get(caller, agents.get(callee, agent_id)), None, direction)


async def _holder_at(session: AsyncSession, x_number: XNumber, at_ms: int) -> tuple[int | None, int | None]:
    moves = select(NumberMove).where(NumberMove.x_number_id == x_number.id).order_by(NumberMove.id.desc()).limit(1)
    latest = await session.scalar(moves.where(NumberMove.at_ms <= at_ms))
    if latest is not None:
        return (latest.tenant_id, latest.to_agent_id) if latest.kind in _HELD else (None, None)
    if await session.scalar(moves) is not None:
        return None, None  # its history begins later: it was nobody's
    return x_number.tenant_id, x_number.agent_id
