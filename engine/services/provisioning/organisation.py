"""Sections of the provisioning file: roles, departments and their heads, and who may use which line."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET
from sqlalchemy import select

from engine.domain.people.permission import Audience, at_most
from engine.domain.refusal import Refusal
from engine.services.lines.carriers import permit
from engine.services.lines.usable_lines import set_usable
from engine.services.provisioning.entries import DepartmentEntry, PermissionEntry, RoleEntry, UsableLinesEntry
from engine.services.provisioning.rows import Loading
from engine.services.staff.departments import create_department, set_heads
from engine.store.scope import TenantScope
from engine.store.tables import Agent, Carrier, Department, DepartmentHead, Line, Role, Tenant
from engine.store.tables.numbers import CarrierPermission, LinePermission, UsableLines


async def load_roles(loading: Loading, entries: list[tuple[str, RoleEntry]]) -> None:
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries if entry.tenant))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        tenant_id = await loading.owner(place, tenants, entry.tenant)
        if tenant_id is UNSET or loading.twice(place, "name", (entry.tenant, entry.audience, entry.name), seen):
            continue
        audience = Audience(entry.audience)
        if (audience is Audience.PLATFORM_ADMIN) != (tenant_id is None):
            loading.problem(place, "tenant", "goes with every audience but platform_admin, and only with them")
            continue
        known = {permission.value for permission in at_most(audience)}
        if unknown := sorted(set(entry.permissions) - known):
            loading.problem(place, "permissions", f"nobody of {audience} has {unknown[0]!r}")
            continue
        row = await loading.role(tenant_id, entry.audience, entry.name)
        if row is not None and row.built_in:
            loading.problem(place, "name", "is a built-in role's")
            continue
        values = {"tenant_id": tenant_id, "audience": entry.audience, "name": entry.name}
        loading.write(Role, row, values | {"permissions": sorted(set(entry.permissions))})


async def load_departments(loading: Loading, entries: list[tuple[str, DepartmentEntry]]) -> None:
    """Without their heads, who come with the agents."""
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries))
    known: dict[str, dict[tuple[str, ...], int]] = {}
    seen: dict[Any, str] = {}
    for place, entry in entries:
        tenant = loading.referred(place, "tenant", tenants, entry.tenant, entry.tenant)
        if tenant is None or loading.twice(place, "path", (entry.tenant, entry.path), seen):
            continue
        there = known.get(entry.tenant)
        if there is None:
            there = known[entry.tenant] = await loading.departments_of(tenant)
        names = tuple(part.strip() for part in entry.path.split("/"))
        if names in there:
            loading.counts.unchanged += 1
            continue
        for depth in range(1, len(names) + 1):
            if names[:depth] not in there:
                parent_id = there.get(names[: depth - 1])
                try:
                    row = await create_department(
                        loading.session,
                        TenantScope(tenant.id),
                        name=names[depth - 1],
                        parent_id=parent_id,
                        now_ms=loading.now_ms,
                    )
                except Refusal as refusal:
                    loading.problem(place, "path", refusal.reason)
                    break
                there[names[:depth]] = row.id
                loading.counts.created += 1


async def load_heads(loading: Loading, entries: list[tuple[str, DepartmentEntry]]) -> None:
    """The departments' heads, once there are agents. Counted as changes of departments."""
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries))
    agents = await loading.agents_of(tenants)
    for place, entry in entries:
        tenant = tenants.get(entry.tenant)
        if tenant is None or entry.heads is UNSET:
            continue
        department = await loading.department(place, "path", tenant, entry.path)
        heads = [
            loading.referred(place, "heads", agents, (entry.tenant, code), code) for code in dict.fromkeys(entry.heads)
        ]
        if department is None or None in heads:
            continue
        wanted = {agent.id for agent in heads if agent is not None}
        there = select(DepartmentHead.agent_id).where(DepartmentHead.department_id == department.id)
        if set(await loading.session.scalars(there)) == wanted:
            continue
        try:
            await set_heads(loading.session, TenantScope(tenant.id), department.id, wanted)
        except Refusal as refusal:
            loading.problem(place, "heads", refusal.reason)
            continue
        loading.counts.changed += 1


async def load_permissions(loading: Loading, entries: list[tuple[str, PermissionEntry]]) -> None:
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries))
    carriers = await loading.rows(Carrier, "code", (entry.carrier for _, entry in entries if entry.carrier))
    lines = await loading.rows(Line, "code", (entry.line for _, entry in entries if entry.line))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        tenant = loading.referred(place, "tenant", tenants, entry.tenant, entry.tenant)
        if bool(entry.carrier) == bool(entry.line):
            loading.problem(place, "line", "is named, or a carrier: one of the two")
            continue
        if tenant is None or loading.twice(place, "line", (entry.tenant, entry.carrier, entry.line), seen):
            continue
        if entry.carrier:
            carrier = loading.referred(place, "carrier", carriers, entry.carrier, entry.carrier)
            if carrier is None:
                continue
            condition = (CarrierPermission.tenant_id == tenant.id) & (CarrierPermission.carrier_id == carrier.id)
            is_there = await loading.session.scalar(select(CarrierPermission.id).where(condition))
            await permit(loading.session, tenant.id, Carrier, carrier.id, loading.now_ms)
        else:
            line = loading.referred(place, "line", lines, entry.line, entry.line)
            if line is None:
                continue
            condition = (LinePermission.tenant_id == tenant.id) & (LinePermission.line_id == line.id)
            is_there = await loading.session.scalar(select(LinePermission.id).where(condition))
            await permit(loading.session, tenant.id, Line, line.id, loading.now_ms)
        loading.counts.created += is_there is None
        loading.counts.unchanged += is_there is not None


async def load_usable_lines(loading: Loading, entries: list[tuple[str, UsableLinesEntry]]) -> None:
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries))
    agents = await loading.agents_of(tenants)
    lines = await loading.rows(Line, "code", (code for _, entry in entries for code in entry.lines))
    carriers = await loading.rows(Carrier, "code", (code for _, entry in entries for code in entry.carriers))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        tenant = loading.referred(place, "tenant", tenants, entry.tenant, entry.tenant)
        if bool(entry.agent) == bool(entry.department):
            loading.problem(place, "agent", "is named, or a department: one of the two")
            continue
        if tenant is None or loading.twice(place, "agent", (entry.tenant, entry.agent, entry.department), seen):
            continue
        holder: Agent | Department | None
        if entry.agent:
            holder = loading.referred(place, "agent", agents, (entry.tenant, entry.agent), entry.agent)
        else:
            holder = await loading.department(place, "department", tenant, entry.department)
        on_lines = [loading.referred(place, "lines", lines, code, code) for code in entry.lines]
        of_carriers = [loading.referred(place, "carriers", carriers, code, code) for code in entry.carriers]
        if holder is None or None in on_lines or None in of_carriers:
            continue
        line_ids = sorted(row.id for row in on_lines if row is not None)
        carrier_ids = sorted(row.id for row in of_carriers if row is not None)
        own = UsableLines.agent_id == holder.id if entry.agent else UsableLines.department_id == holder.id
        there = await loading.session.scalar(select(UsableLines).where(own))
        if there is not None and (there.line_ids, there.carrier_ids) == (line_ids, carrier_ids):
            loading.counts.unchanged += 1
            continue
        try:
            await set_usable(loading.session, holder, line_ids=line_ids, carrier_ids=carrier_ids, now_ms=loading.now_ms)
        except Refusal as refusal:
            loading.problem(place, refusal.field.removesuffix("_ids") + "s", refusal.reason)
            continue
        loading.counts.created += there is None
        loading.counts.changed += there is not None
