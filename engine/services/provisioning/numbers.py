"""Sections of the provisioning file: number pools and X numbers."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET
from sqlalchemy import select

from engine.services.lines.carriers import permit
from engine.services.lines.numbers import XNumberInUse, refuse_bound
from engine.services.provisioning.entries import NumberPoolEntry, XNumberEntry
from engine.services.provisioning.file import checked_number
from engine.services.provisioning.people import department_of
from engine.services.provisioning.rows import Loading
from engine.store.tables import Agent, Carrier, Line, NumberPool, Tenant, XNumber


async def load_number_pools(loading: Loading, entries: list[tuple[str, NumberPoolEntry]]) -> None:
    lines = await loading.rows(Line, "code", (entry.line for _, entry in entries))
    rows = {(row.line_id, row.code): row for row in await loading.session.scalars(select(NumberPool))}
    seen: dict[Any, str] = {}
    for place, entry in entries:
        line = loading.referred(place, "line", lines, entry.line, entry.line)
        if line is None or loading.twice(place, "code", (entry.line, entry.code), seen):
            continue
        values = {"line_id": line.id, "code": entry.code, "name": entry.name, "pool_key": entry.pool_key}
        row = rows.get((line.id, entry.code))
        loading.write(NumberPool, row, values if row is not None else values | {"created_at_ms": loading.now_ms})


async def load_x_numbers(loading: Loading, entries: list[tuple[str, XNumberEntry]]) -> None:
    lines = await loading.rows(Line, "code", (entry.line for _, entry in entries))
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries if entry.tenant))
    agents = await loading.agents_of(tenants)
    numbers = [loading.checked(place, "number", checked_number, entry.number) for place, entry in entries]
    rows = await loading.rows(XNumber, "number", (number for number in numbers if number is not UNSET))
    pools = {(pool.line_id, pool.code): pool.id for pool in await loading.session.scalars(select(NumberPool))}
    seen: dict[Any, str] = {}
    users: set[tuple[int, int]] = set()
    for (place, entry), number in zip(entries, numbers, strict=True):
        line = loading.referred(place, "line", lines, entry.line, entry.line)
        if number is UNSET or loading.twice(place, "number", number, seen) or line is None:
            continue
        row = rows.get(number)
        hands = await _hands(loading, place, entry, tenants, agents, row)
        pool_id: Any = UNSET if entry.pool is UNSET else None
        if entry.pool:
            pool_id = pools.get((line.id, str(entry.pool)))
            if pool_id is None:
                loading.problem(place, "pool", f"there is no pool {entry.pool!r} of the line")
        if hands is None or (entry.pool and pool_id is None):
            continue
        if hands["tenant_id"]:
            users.add((hands["tenant_id"], line.carrier_id))
        values = {
            "number": number,
            "line_id": line.id,
            "pool_id": pool_id,
            "unknown_caller_policy": entry.unknown_caller_policy,
            "calls_max": entry.calls_max,
            "calls_per_second_max": entry.calls_per_second_max,
            "status": entry.status,
        }
        loading.write(XNumber, row, values | hands)
    # Whom the operator's file gives numbers of a carrier's may use it.
    for tenant_id, carrier_id in sorted(users):
        await permit(loading.session, tenant_id, Carrier, carrier_id, loading.now_ms)


async def _hands(
    loading: Loading,
    place: str,
    entry: XNumberEntry,
    tenants: dict[Any, Tenant],
    agents: dict[tuple[str, str], Agent],
    row: XNumber | None,
) -> dict[str, Any] | None:
    """Whose the number is to be, UNSET where the file says nothing of it; None where it cannot be."""
    if entry.tenant is UNSET:
        return dict.fromkeys(("tenant_id", "department_id", "agent_id"), UNSET)
    tenant_id = await loading.owner(place, tenants, str(entry.tenant))
    if tenant_id is UNSET:
        return None
    if row is not None and tenant_id and row.status in ("quarantined", "retired"):
        loading.problem(place, "tenant", f"cannot have a number that is {row.status}")
        return None
    if row is not None and tenant_id != row.tenant_id:
        try:
            await refuse_bound(loading.session, row, loading.now_ms)
        except XNumberInUse:
            loading.problem(place, "tenant", "cannot change: there are live bindings on the number")
            return None
    # Of the tenant before it keeps nobody; of the same, whoever is not named stays.
    stays: Any = UNSET if row is not None and row.tenant_id == tenant_id else None
    hands: dict[str, Any] = {"tenant_id": tenant_id, "department_id": stays, "agent_id": stays}
    if entry.agent is not UNSET:
        hands["agent_id"] = None
        if entry.agent:
            agent = loading.referred(place, "agent", agents, (entry.tenant, entry.agent), str(entry.agent))
            if agent is None:
                return None
            hands["agent_id"] = agent.id
    if entry.department is not UNSET and tenant_id is not None:
        hands["department_id"] = await department_of(loading, place, tenants[entry.tenant], entry.department)
    return hands
