"""Departments and who is in them: "this department and below" as part of a query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import aliased

from engine.store.tables import Agent, Department, DepartmentHead

_Top = aliased(Department, name="top")


def below(tenant_id: int, department_ids: Collection[int]) -> Select[int]:
    """The ids of these departments of a tenant and of all below them; others' ids find nothing."""
    return (
        select(Department.id)
        # A path is digits and slashes: nothing in it is a wildcard.
        .join(_Top, Department.path.startswith(_Top.path))
        .where(_Top.id.in_(department_ids), _Top.tenant_id == tenant_id, Department.tenant_id == tenant_id)
    )


def agents_below(tenant_id: int, department_ids: Collection[int]) -> Select[int]:
    """The ids of a tenant's agents in these departments and below."""
    return select(Agent.id).where(
        Agent.tenant_id == tenant_id, Agent.department_id.in_(below(tenant_id, department_ids))
    )


async def headed_by(session: AsyncSession | AsyncConnection, agent_id: int) -> tuple[int, ...]:
    """The ids of the departments that an agent heads, without those below them."""
    statement = select(DepartmentHead.department_id).where(DepartmentHead.agent_id == agent_id)
    return tuple((await session.scalars(statement.order_by(DepartmentHead.department_id))).all())


async def heads_of(session: AsyncSession, department_ids: Collection[int]) -> dict[int, list[int]]:
    """The ids of each department's heads."""
    heads: defaultdict[int, list[int]] = defaultdict(list)
    statement = select(DepartmentHead.department_id, DepartmentHead.agent_id)
    statement = statement.where(DepartmentHead.department_id.in_(department_ids)).order_by(DepartmentHead.agent_id)
    for department_id, agent_id in await session.execute(statement):
        heads[department_id].append(agent_id)
    return heads


async def agent_counts(session: AsyncSession, department_ids: Collection[int]) -> dict[int, int]:
    """How many agents, those who left aside, are in each department and below it."""
    statement = (
        select(_Top.id, func.count())
        .join(Department, Department.path.startswith(_Top.path))
        .join(Agent, Agent.department_id == Department.id)
        .where(_Top.id.in_(department_ids), Department.tenant_id == _Top.tenant_id, Agent.status != "left")
        .group_by(_Top.id)
    )
    return {row[0]: row[1] for row in await session.execute(statement)}


async def subtree(session: AsyncSession, department: Department) -> Sequence[Department]:
    """A department and all below it."""
    statement = select(Department).where(
        Department.tenant_id == department.tenant_id, Department.path.startswith(department.path)
    )
    return (await session.scalars(statement)).all()
