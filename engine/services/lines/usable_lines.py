"""Which of its lines a tenant lets a department or an agent use: lists, each inherited downward until the next one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.lines.line_use import departments_upward
from engine.domain.refusal import NotNow, NotThere, Refusal
from engine.store.listing import read_one
from engine.store.scope import Scope
from engine.store.tables import Agent, Department, Line
from engine.store.tables.numbers import CarrierPermission, LinePermission, UsableLines

LINES_MAX = 500
"""Of one list; engines hold all of them."""

Holder = Agent | Department


class LineNotPermitted(NotNow):
    """The tenant keeps the line from the agent, or from the department."""

    def __init__(self, field: str) -> None:
        super().__init__("line_not_permitted", field, "may not use the number's line", ("permit_line",))


@dataclass(frozen=True, slots=True)
class Usable:
    """What a holder may use by now. ``list_`` is his own, or the one that he inherits; None where there is none."""

    line_ids: tuple[int, ...]
    list_: UsableLines | None
    is_own: bool


async def holder_of(session: AsyncSession, scope: Scope, table: type[Agent | Department], holder_id: int) -> Holder:
    """Raises NotThere, for another tenant's as well."""
    row = await read_one(session, scope, table, holder_id)
    if row is None:
        raise NotThere(table.__tablename__.removesuffix("s"))
    assert isinstance(row, Agent | Department)
    return row


async def usable_by(session: AsyncSession, holder: Holder) -> Usable:
    lines = await _lines_of_tenant(session, holder.tenant_id)
    own = await session.scalar(select(UsableLines).where(_own(holder)))
    if own is not None:
        return Usable(_within(own, lines), own, is_own=True)
    department_id = holder.department_id if isinstance(holder, Agent) else holder.parent_id
    inherited = await _list_above(session, holder.tenant_id, department_id)
    return Usable(tuple(lines) if inherited is None else _within(inherited, lines), inherited, is_own=False)


async def set_usable(
    session: AsyncSession, holder: Holder, *, line_ids: Collection[int], carrier_ids: Collection[int], now_ms: int
) -> Usable:
    """Lets a holder, and who inherits from him, use these lines and no others. Raises Refusal where one of them is not
    the tenant's to use."""
    lines = await _lines_of_tenant(session, holder.tenant_id)
    if unknown := sorted(set(line_ids) - lines.keys()):
        raise Refusal("line.unknown", "line_ids", f"{unknown[0]} is no line that the tenant may use")
    granted = select(CarrierPermission.carrier_id).where(CarrierPermission.tenant_id == holder.tenant_id)
    if unknown := sorted(set(carrier_ids) - set(await session.scalars(granted))):
        raise Refusal("carrier.unknown", "carrier_ids", f"{unknown[0]} is no carrier that the tenant may use")
    row = await session.scalar(select(UsableLines).where(_own(holder)))
    wanted = {"line_ids": sorted(set(line_ids)), "carrier_ids": sorted(set(carrier_ids))}
    if row is None:
        row = UsableLines(tenant_id=holder.tenant_id, **wanted, changed_at_ms=now_ms)
        row.agent_id = holder.id if isinstance(holder, Agent) else None
        row.department_id = holder.id if isinstance(holder, Department) else None
        session.add(row)
    elif (row.line_ids, row.carrier_ids) != (wanted["line_ids"], wanted["carrier_ids"]):
        row.line_ids, row.carrier_ids, row.changed_at_ms = wanted["line_ids"], wanted["carrier_ids"], now_ms
    await session.flush()
    return Usable(_within(row, lines), row, is_own=True)


async def clear_usable(session: AsyncSession, holder: Holder) -> None:
    """Takes a holder's list away: he inherits again. Raises NotThere where he has none."""
    row = await session.scalar(select(UsableLines).where(_own(holder)))
    if row is None:
        raise NotThere("list of usable lines")
    await session.delete(row)
    await session.flush()


async def check_usable(
    session: AsyncSession,
    tenant_id: int,
    line_ids: Collection[int],
    *,
    agent_id: int | None,
    department_id: int | None,
    field: str,
) -> None:
    """Raises LineNotPermitted of ``field`` where the agent, or without one the department, is kept from a line."""
    found = None
    if agent_id is not None:
        found = await session.scalar(select(UsableLines).where(UsableLines.agent_id == agent_id))
        department_id = await session.scalar(select(Agent.department_id).where(Agent.id == agent_id))
    found = found or await _list_above(session, tenant_id, department_id)
    if found is None:
        return
    lines = await session.execute(select(Line.id, Line.carrier_id).where(Line.id.in_(line_ids)))
    if any(line_id not in found.line_ids and carrier_id not in found.carrier_ids for line_id, carrier_id in lines):
        raise LineNotPermitted(field)


def _own(holder: Holder) -> ColumnElement[bool]:
    return UsableLines.agent_id == holder.id if isinstance(holder, Agent) else UsableLines.department_id == holder.id


async def _list_above(session: AsyncSession, tenant_id: int, department_id: int | None) -> UsableLines | None:
    """The list of the department, or of the nearest one above it that has one."""
    if department_id is None:
        return None
    path = await session.scalar(
        select(Department.path).where(Department.id == department_id, Department.tenant_id == tenant_id)
    )
    upward = departments_upward(path or "")
    lists = {
        row.department_id: row
        for row in await session.scalars(select(UsableLines).where(UsableLines.department_id.in_(upward)))
    }
    return next((lists[each] for each in upward if each in lists), None)


async def _lines_of_tenant(session: AsyncSession, tenant_id: int) -> dict[int, int]:
    """The lines that the tenant may use, each with its carrier, by their ids."""
    by_line = select(LinePermission.line_id).where(LinePermission.tenant_id == tenant_id)
    by_carrier = select(CarrierPermission.carrier_id).where(CarrierPermission.tenant_id == tenant_id)
    statement = select(Line.id, Line.carrier_id).where(Line.id.in_(by_line) | Line.carrier_id.in_(by_carrier))
    return {row[0]: row[1] for row in await session.execute(statement.order_by(Line.id))}


def _within(list_: UsableLines, lines: dict[int, int]) -> tuple[int, ...]:
    return tuple(
        line_id for line_id, carrier_id in lines.items() if line_id in list_.line_ids or carrier_id in list_.carrier_ids
    )
