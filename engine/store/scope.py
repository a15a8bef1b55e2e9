"""Whose data a query may touch. Each query of a repository takes one, so that none can be written without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, false, select, true
from sqlalchemy.orm import InstrumentedAttribute, aliased

from engine.store.tables import Agent, Department, DepartmentHead


@dataclass(frozen=True, slots=True)
class Platform:
    """Everything: the operator's administrators, and the engine itself."""


@dataclass(frozen=True, slots=True)
class TenantScope:
    tenant_id: int


@dataclass(frozen=True, slots=True)
class DepartmentScope:
    """The agents of the departments that agent ``head_id`` heads, with all below them, and what is theirs."""

    tenant_id: int
    head_id: int


@dataclass(frozen=True, slots=True)
class AgentScope:
    tenant_id: int
    agent_id: int


Scope = Platform | TenantScope | DepartmentScope | AgentScope

IdColumn = InstrumentedAttribute[int] | InstrumentedAttribute[int | None]


def within(scope: Scope, *, tenant: IdColumn, agent: IdColumn | None) -> ColumnElement[bool]:
    """The condition that a row is in ``scope``; ``agent=None`` where rows of the table are no agent's: he sees none."""
    match scope:
        case Platform():
            return true()
        case TenantScope(tenant_id):
            return tenant == tenant_id
        case DepartmentScope(tenant_id, _):
            return false() if agent is None else (tenant == tenant_id) & agent.in_(agents_below(scope))
        case AgentScope(tenant_id, agent_id):
            return false() if agent is None else (tenant == tenant_id) & (agent == agent_id)


def agents_below(scope: DepartmentScope) -> Select[int]:
    """The ids of the agents in the departments that the scope's agent heads, and below them."""
    headed = aliased(Department)
    return (
        select(Agent.id)
        .join(Department, Department.id == Agent.department_id)
        # An id's slashes on both sides keep department 1 from heading 10.
        .join(headed, Department.path.startswith(headed.path))
        .join(DepartmentHead, DepartmentHead.department_id == headed.id)
        .where(
            Agent.tenant_id == scope.tenant_id,
            headed.tenant_id == scope.tenant_id,
            DepartmentHead.agent_id == scope.head_id,
        )
    )


def tenant_of(scope: Scope) -> dict[str, Any]:
    """For the engine's commands: the tenant_id and agent_id that they may touch."""
    match scope:
        case Platform():
            return {}
        case TenantScope(tenant_id):
            return {"tenant_id": tenant_id}
        case DepartmentScope():
            raise ValueError("the engine knows no departments: ask for the tenant's, and pick")
        case AgentScope(tenant_id, agent_id):
            return {"tenant_id": tenant_id, "agent_id": agent_id}
