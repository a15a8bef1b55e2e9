"""Whose data a query may touch. Each query of a repository takes one, so that none can be written without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, false, true
from sqlalchemy.orm import InstrumentedAttribute


@dataclass(frozen=True, slots=True)
class Platform:
    """Everything: the operator's administrators, and the engine itself."""


@dataclass(frozen=True, slots=True)
class TenantScope:
    tenant_id: int


@dataclass(frozen=True, slots=True)
class AgentScope:
    tenant_id: int
    agent_id: int


Scope = Platform | TenantScope | AgentScope

IdColumn = InstrumentedAttribute[int] | InstrumentedAttribute[int | None]


def within(scope: Scope, *, tenant: IdColumn, agent: IdColumn | None) -> ColumnElement[bool]:
    """The condition that a row is in ``scope``; ``agent=None`` where rows of the table are no agent's: he sees none."""
    match scope:
        case Platform():
            return true()
        case TenantScope(tenant_id):
            return tenant == tenant_id
        case AgentScope(tenant_id, agent_id):
            return false() if agent is None else (tenant == tenant_id) & (agent == agent_id)


def tenant_of(scope: Scope) -> dict[str, Any]:
    """For the engine's commands: the tenant_id and agent_id that they may touch."""
    match scope:
        case Platform():
            return {}
        case TenantScope(tenant_id):
            return {"tenant_id": tenant_id}
        case AgentScope(tenant_id, agent_id):
            return {"tenant_id": tenant_id, "agent_id": agent_id}
