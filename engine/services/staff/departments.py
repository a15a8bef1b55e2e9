"""A tenant's departments: made, moved with all below them, given heads, taken away when empty.

Sessions that write take turns (``writing_session``), so that two moves at once cannot make a ring.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.people.department import (
    DEPARTMENTS_MAX,
    DEPTH_MAX,
    HEADS_MAX,
    DepartmentCycle,
    DepartmentTooDeep,
    moved,
    path_of,
)
from engine.domain.refusal import NotNow, NotThere, Refusal
from engine.store.department_store import subtree
from engine.store.scope import TenantScope
from engine.store.tables import Agent, Department, DepartmentHead, XNumber
from engine.store.tables.numbers import UsableLines


def _too_deep() -> Refusal:
    return Refusal("department.too_deep", "parent_id", f"departments are at most {DEPTH_MAX} deep")


async def department_of(session: AsyncSession, scope: TenantScope, department_id: int) -> Department:
    """Raises NotThere."""
    department = await session.scalar(
        select(Department).where(Department.id == department_id, Department.tenant_id == scope.tenant_id)
    )
    if department is None:
        raise NotThere("department")
    return department


async def known_department(session: AsyncSession, scope: TenantScope, department_id: int, field: str) -> Department:
    """A department that a request's ``field`` names. Raises Refusal where it is none of the tenant's."""
    try:
        return await department_of(session, scope, department_id)
    except NotThere:
        raise Refusal("department.unknown", field, "is no department of yours") from None


async def create_department(
    session: AsyncSession, scope: TenantScope, *, name: str, parent_id: int | None, now_ms: int
) -> Department:
    """Raises Refusal."""
    own = select(func.count()).select_from(Department).where(Department.tenant_id == scope.tenant_id)
    if (await session.scalar(own) or 0) >= DEPARTMENTS_MAX:
        raise NotNow("department.too_many", "name", f"a tenant has at most {DEPARTMENTS_MAX} departments")
    parent = None if parent_id is None else await known_department(session, scope, parent_id, "parent_id")
    await _refuse_taken(session, scope, name, parent_id, None)
    department = Department(tenant_id=scope.tenant_id, parent_id=parent_id, path="", name=name, created_at_ms=now_ms)
    session.add(department)
    await session.flush()
    try:
        department.path = path_of(None if parent is None else parent.path, department.id)
    except DepartmentTooDeep:
        raise _too_deep() from None
    await session.flush()
    return department


async def rename_department(session: AsyncSession, scope: TenantScope, department_id: int, name: str) -> Department:
    """Raises NotThere, Refusal."""
    department = await department_of(session, scope, department_id)
    await _refuse_taken(session, scope, name, department.parent_id, department_id)
    department.name = name
    await session.flush()
    return department


async def move_department(
    session: AsyncSession, scope: TenantScope, department_id: int, parent_id: int | None
) -> Department:
    """Hangs a department, with all below it, under another one, or at the top. Raises NotThere, Refusal."""
    department = await department_of(session, scope, department_id)
    parent = None if parent_id is None else await known_department(session, scope, parent_id, "parent_id")
    await _refuse_taken(session, scope, department.name, parent_id, department_id)
    rows = await subtree(session, department)
    try:
        paths = moved([row.path for row in rows], department.path, None if parent is None else parent.path)
    except DepartmentTooDeep:
        raise _too_deep() from None
    except DepartmentCycle:
        raise NotNow("department.cycle", "parent_id", "is the department itself, or below it") from None
    department.parent_id = parent_id
    for row in rows:
        row.path = paths[row.path]
    await session.flush()
    return department


async def delete_department(session: AsyncSession, scope: TenantScope, department_id: int) -> None:
    """Takes an empty department away. Raises NotThere, and NotNow while something is in it."""
    department = await department_of(session, scope, department_id)
    for what, row in (
        ("departments", select(Department.id).where(Department.parent_id == department_id)),
        ("agents", select(Agent.id).where(Agent.department_id == department_id)),
        ("numbers", select(XNumber.id).where(XNumber.department_id == department_id)),
    ):
        if await session.scalar(row.limit(1)) is not None:
            raise NotNow("department.not_empty", "department_id", f"there are {what} in it", [f"move its {what}"])
    await _set_heads(session, department_id, ())
    for usable in (await session.scalars(select(UsableLines).where(UsableLines.department_id == department_id))).all():
        await session.delete(usable)
        await session.flush()
    await session.delete(department)
    await session.flush()


async def set_heads(
    session: AsyncSession, scope: TenantScope, department_id: int, agent_ids: Collection[int]
) -> Department:
    """Makes these agents, and nobody else, the heads of a department. Raises NotThere, Refusal."""
    department = await department_of(session, scope, department_id)
    wanted = set(agent_ids)
    if len(wanted) > HEADS_MAX:
        raise Refusal("department.heads_too_many", "agent_ids", f"a department has at most {HEADS_MAX} heads")
    known = await session.scalars(
        select(Agent.id).where(Agent.id.in_(wanted), Agent.tenant_id == scope.tenant_id, Agent.status != "left")
    )
    if wanted - set(known):
        raise Refusal("agent.unknown", "agent_ids", "names somebody who is no agent of yours")
    await _set_heads(session, department_id, wanted)
    return department


async def _set_heads(session: AsyncSession, department_id: int, agent_ids: Collection[int]) -> None:
    heads = await session.scalars(select(DepartmentHead).where(DepartmentHead.department_id == department_id))
    missing = set(agent_ids)
    for head in heads.all():
        if head.agent_id in missing:
            missing.discard(head.agent_id)
        else:
            await session.delete(head)
    session.add_all(DepartmentHead(department_id=department_id, agent_id=agent_id) for agent_id in sorted(missing))
    await session.flush()


async def _refuse_taken(
    session: AsyncSession, scope: TenantScope, name: str, parent_id: int | None, but_id: int | None
) -> None:
    taken = await session.scalar(
        select(Department.id)
        .where(
            Department.tenant_id == scope.tenant_id,
            Department.parent_id.is_not_distinct_from(parent_id),
            Department.name == name,
            Department.id != (but_id or 0),
        )
        .limit(1)
    )
    if taken is not None:
        raise NotNow("department.name_taken", "name", "is a sister department's")
