"""Which lines an agent or a department may use: the tenant says so, and the platform may."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller, delete, get
from msgspec import UNSET, Meta, UnsetType

from admin_api.common.context import Context, GivenContext, GivenScope
from admin_api.common.fields import RowId
from admin_api.common.paging import Id
from engine.domain.people.permission import Permission
from engine.services.lines.usable_lines import LINES_MAX, Holder, Usable, clear_usable, holder_of, set_usable, usable_by
from engine.store.scope import Platform, Scope
from engine.store.tables import Agent, Department

READ_AGENTS, WRITE_AGENTS = {"permission": Permission.AGENTS_READ}, {"permission": Permission.AGENTS_WRITE}
READ_DEPARTMENTS = {"permission": Permission.DEPARTMENTS_READ}
WRITE_DEPARTMENTS = {"permission": Permission.DEPARTMENTS_WRITE}
OF_AGENT, OF_DEPARTMENT = "/agents/{agent_id:int}/lines", "/departments/{department_id:int}/lines"

RowIds = Annotated[list[RowId], Meta(max_length=LINES_MAX)]


class UsableLinesView(msgspec.Struct):
    """``line_ids`` is all that may be used by now. ``is_own``: by a list of this one's own; otherwise by that of
    ``inherited_from_id`` (a department), or where that is null without any: all that the tenant may use."""

    line_ids: list[int]
    is_own: bool
    inherited_from_id: int | None
    carrier_ids: list[int] | UnsetType = UNSET
    """The carriers all of whose lines are in the list; shown to the platform alone."""


def _view(usable: Usable, scope: Scope) -> UsableLinesView:
    list_ = usable.list_
    view = UsableLinesView(
        line_ids=list(usable.line_ids),
        is_own=usable.is_own,
        inherited_from_id=None if list_ is None or usable.is_own else list_.department_id,
    )
    if isinstance(scope, Platform):
        view.carrier_ids = [] if list_ is None else list_.carrier_ids
    return view


async def put_lines(
    context: Context,
    scope: Scope,
    table: type[Agent | Department],
    holder_id: int,
    line_ids: list[int],
    carrier_ids: list[int] | None = None,
) -> UsableLinesView:
    async with context.writing() as session:
        holder = await holder_of(session, scope, table, holder_id)
        usable = await set_usable(
            session, holder, line_ids=line_ids, carrier_ids=carrier_ids or (), now_ms=context.now_ms()
        )
        return _view(usable, scope)


async def _read(context: Context, scope: Scope, table: type[Agent | Department], holder_id: int) -> UsableLinesView:
    async with context.reading() as session:
        return _view(await usable_by(session, await holder_of(session, scope, table, holder_id)), scope)


async def _clear(context: Context, scope: Scope, table: type[Agent | Department], holder_id: int) -> UsableLinesView:
    async with context.writing() as session:
        holder: Holder = await holder_of(session, scope, table, holder_id)
        await clear_usable(session, holder)
        return _view(await usable_by(session, holder), scope)


class UsableLinesController(Controller):
    path = "/"
    tags = ("lines",)

    @get(OF_AGENT, opt=READ_AGENTS, summary="The lines that an agent may use")
    async def get_of_agent(self, context: GivenContext, audience: GivenScope, agent_id: Id) -> UsableLinesView:
        return await _read(context, audience, Agent, agent_id)

    @delete(OF_AGENT, opt=WRITE_AGENTS, status_code=200, summary="Let an agent use what his department may")
    async def clear_agent(self, context: GivenContext, audience: GivenScope, agent_id: Id) -> UsableLinesView:
        return await _clear(context, audience, Agent, agent_id)

    @get(OF_DEPARTMENT, opt=READ_DEPARTMENTS, summary="The lines that a department may use")
    async def get_of_department(
        self, context: GivenContext, audience: GivenScope, department_id: Id
    ) -> UsableLinesView:
        return await _read(context, audience, Department, department_id)

    @delete(
        OF_DEPARTMENT,
        opt=WRITE_DEPARTMENTS,
        status_code=200,
        summary="Let a department use what the one above it may",
    )
    async def clear_department(self, context: GivenContext, audience: GivenScope, department_id: Id) -> UsableLinesView:
        return await _clear(context, audience, Department, department_id)
