"""A session that is a tenant's sees that tenant's rows, whatever its queries forget to say.

Each query still names its scope (``scope.within``), which is finer; this is the net below it. It holds for what goes
through an ORM session: entities, their columns, aliases, subqueries, ``get``, bulk updates and deletes. It does not
hold for text, nor for statements on a bare connection.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, event
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, UOWTransaction, with_loader_criteria

from engine.store.change_feed import FactSession
from engine.store.tables import Table, Tenant

TENANT = "tenant_id"
"""The key of a session's ``info`` that says whose it is; None for the platform's and the machines'."""

SHARED = frozenset({"roles", "packages"})
"""Tables whose rows of no tenant are everybody's to read. Elsewhere they are the platform's."""

BEYOND = "beyond"
"""A statement's execution option: the tables whose rows it joins whosesoever they are by now."""

CRITERIA_KEPT_MAX = 256
"""Tenants whose conditions are kept ready: making them anew took 0.6 ms of CPU a query, and this way it is 0.2."""


class Trespass(Exception):
    """Our fault: a tenant's session was about to write another tenant's row."""


@event.listens_for(Session, "do_orm_execute")
def _confine(state: ORMExecuteState) -> None:
    tenant_id: int | None = state.session.info.get(TENANT)
    if tenant_id is not None and (state.is_select or state.is_update or state.is_delete):
        beyond = state.execution_options.get(BEYOND, ())
        criteria = _criteria(tenant_id, len(Table.registry.mappers)).items()
        state.statement = state.statement.options(*(option for name, option in criteria if name not in beyond))


@event.listens_for(FactSession, "before_flush")
def _refuse_foreign(session: Session, _context: UOWTransaction, _instances: Any) -> None:
    tenant_id: int | None = session.info.get(TENANT)
    if tenant_id is None:
        return
    for row in (*session.new, *session.dirty):
        owner = row.id if isinstance(row, Tenant) else getattr(row, "tenant_id", None)
        if owner not in (None, tenant_id):
            raise Trespass(f"a row of {row.__tablename__} is another tenant's")


def owned_tables() -> tuple[type[Table], ...]:
    """The tables whose rows are tenants'."""
    mappers: list[Mapper[Any]] = sorted(Table.registry.mappers, key=lambda mapper: mapper.class_.__tablename__)
    return tuple(mapper.class_ for mapper in mappers if mapper.class_ is Tenant or "tenant_id" in mapper.columns)


@lru_cache(maxsize=CRITERIA_KEPT_MAX)
def _criteria(tenant_id: int, _tables: int) -> dict[str, Any]:
    """Made anew where a table was imported since."""
    return {
        table.__tablename__: with_loader_criteria(table, _own(table, tenant_id), include_aliases=True)
        for table in owned_tables()
    }


def _own(table: Any, tenant_id: int) -> ColumnElement[bool]:
    if table is Tenant:
        return Tenant.id == tenant_id
    own: ColumnElement[bool] = table.tenant_id == tenant_id
    return own | table.tenant_id.is_(None) if table.__tablename__ in SHARED else own
