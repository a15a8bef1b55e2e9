"""Reading rows of the tables that are administered, always within a scope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, false, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.isolation import BEYOND
from engine.store.records.cdr_store import AnyRow
from engine.store.scope import AgentScope, DepartmentScope, IdColumn, Platform, Scope, TenantScope, within
from engine.store.sorting import PageWanted
from engine.store.tables import (
    Account,
    Agent,
    Binding,
    Carrier,
    Department,
    Line,
    MinutesBucket,
    Rate,
    SipAccount,
    Table,
    Tenant,
    Trunk,
    User,
    XNumber,
)
from engine.store.tables.numbers import CarrierPermission, LinePermission, NumberPool

_Row = TypeVar("_Row", bound=Table)

_OWNERS: dict[type[Table], tuple[IdColumn, IdColumn | None]] = {
    Tenant: (Tenant.id, None),
    Account: (Account.tenant_id, None),
    Agent: (Agent.tenant_id, Agent.id),
    Department: (Department.tenant_id, None),
    User: (User.tenant_id, User.agent_id),
    XNumber: (XNumber.tenant_id, XNumber.agent_id),
    Binding: (Binding.tenant_id, Binding.agent_id),
    MinutesBucket: (MinutesBucket.tenant_id, MinutesBucket.agent_id),
}
"""The columns that say whose a row is: tenant's and agent's."""

_PLATFORM_ONLY: tuple[type[Table], ...] = (
    Carrier,
    Trunk,
    Rate,
    SipAccount,
    NumberPool,
    CarrierPermission,
    LinePermission,
)


def owned(scope: Scope, table: type[Table]) -> ColumnElement[bool]:
    """The condition that rows of ``table`` are in ``scope``. KeyError for a table nobody has given an owner."""
    if table in _PLATFORM_ONLY:
        return true() if isinstance(scope, Platform) else false()
    if table is Line:
        return _lines(scope)
    tenant, agent = _OWNERS[table]
    return within(scope, tenant=tenant, agent=agent)


def _lines(scope: Scope) -> ColumnElement[bool]:
    """A line is seen by those who have a number of it."""
    match scope:
        case Platform():
            return true()
        case TenantScope() | DepartmentScope() | AgentScope():
            numbers = select(XNumber.line_id).where(within(scope, tenant=XNumber.tenant_id, agent=XNumber.agent_id))
            return Line.id.in_(numbers)


async def read_page(
    session: AsyncSession,
    scope: Scope,
    table: type[_Row],
    *conditions: ColumnElement[bool],
    wanted: PageWanted,
) -> Sequence[_Row]:
    """A page of the rows of ``table``."""
    return (await session.scalars(wanted.of(select(table).where(owned(scope, table), *conditions)))).all()


async def read_one(session: AsyncSession, scope: Scope, table: type[_Row], key: int | str) -> _Row | None:
    """One row by its key, None where there is none in ``scope``."""
    column: Any = table.__mapper__.primary_key[0]
    row: _Row | None = await session.scalar(select(table).where(column == key, owned(scope, table)))
    return row


async def read_bindings(
    session: AsyncSession,
    scope: Scope,
    *conditions: ColumnElement[bool],
    live_at_ms: int | None,
    number: str | None = None,
    wanted: PageWanted,
) -> Sequence[AnyRow]:
    """A page of bindings with their X numbers as ``x_number``.

    ``live_at_ms`` asks for those in force at that time, ``number`` for those with this A or X.
    """
    statement = _bindings(scope).where(*conditions)
    if live_at_ms is not None:
        statement = statement.where(
            Binding.ended_at_ms.is_(None), Binding.expires_at_ms.is_(None) | (Binding.expires_at_ms > live_at_ms)
        )
    if number is not None:
        statement = statement.where((Binding.a_number == number) | (XNumber.number == number))
    return (await session.execute(wanted.of(statement))).all()


async def read_binding(session: AsyncSession, scope: Scope, binding_id: str) -> AnyRow | None:
    """One binding with its X number as ``x_number``, None where there is none in ``scope``."""
    return (await session.execute(_bindings(scope).where(Binding.id == binding_id))).one_or_none()


def _bindings(scope: Scope) -> Any:
    columns = [column for column in Binding.__table__.columns if column.name != "x_number_id"]
    return (
        select(*columns, XNumber.number.label("x_number"))
        .join(XNumber, XNumber.id == Binding.x_number_id)
        .where(owned(scope, Binding))
        .execution_options(**{BEYOND: ("x_numbers",)})  # a number that has gone back stays in its bindings' history
    )
