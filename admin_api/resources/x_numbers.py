"""X numbers as every audience lists them, and their histories."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.params import QueryParameter

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.paging import GivenPage, Id, Page, QueryId, Sorts, equal, page
from admin_api.common.views import XNumberView
from engine.domain.people.permission import Permission
from engine.services.lines.number_allocation import NumberState, in_state, read_moves, state_of
from engine.store.listing import read_one, read_page
from engine.store.scope import Platform, Scope
from engine.store.tables import XNumber
from engine.store.tables.numbers import NumberMove


def x_number_view(row: XNumber) -> XNumberView:
    return XNumberView(
        id=row.id,
        number=row.number,
        line_id=row.line_id,
        tenant_id=row.tenant_id,
        department_id=row.department_id,
        agent_id=row.agent_id,
        unknown_caller_policy=row.unknown_caller_policy,
        status=row.status,
        state=state_of(row).value,
        pool_id=row.pool_id,
        bucket_id=row.bucket_id,
        quarantined_until_ms=row.quarantined_until_ms,
    )


class NumberMoveView(msgspec.Struct):
    """One step of a number's history. Who of the platform took it is told to the platform alone."""

    id: int
    kind: str
    at_ms: int
    tenant_id: int | None
    from_department_id: int | None
    from_agent_id: int | None
    to_department_id: int | None
    to_agent_id: int | None
    reason: str
    by: str
    """platform | tenant | machine"""
    by_user_id: int | None


def _move_view(move: NumberMove, scope: Scope) -> NumberMoveView:
    by = "machine" if move.by_user_id is None and move.by_platform else "platform" if move.by_platform else "tenant"
    is_shown = isinstance(scope, Platform) or not move.by_platform
    return NumberMoveView(
        id=move.id,
        kind=move.kind,
        at_ms=move.at_ms,
        tenant_id=move.tenant_id,
        from_department_id=move.from_department_id,
        from_agent_id=move.from_agent_id,
        to_department_id=move.to_department_id,
        to_agent_id=move.to_agent_id,
        reason=move.reason if is_shown else "",
        by=by,
        by_user_id=move.by_user_id if is_shown else None,
    )


_SORTS = Sorts("id", "id", id=XNumber.id, number=XNumber.number)
_HISTORY_SORTS = Sorts("-id", "id", id=NumberMove.id)


class XNumberController(Controller):
    path = "/x-numbers"
    tags = ("numbers",)

    @get("/", opt={"permission": Permission.NUMBERS_READ}, dependencies=_SORTS.given, summary="X numbers")
    async def list_x_numbers(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        line_id: QueryId = None,
        pool_id: QueryId = None,
        tenant_id: QueryId = None,
        department_id: QueryId = None,
        agent_id: QueryId = None,
        number_state: Annotated[NumberState | None, QueryParameter(name="state")] = None,
    ) -> Page[XNumberView]:
        conditions = equal(
            (XNumber.line_id, line_id),
            (XNumber.pool_id, pool_id),
            (XNumber.tenant_id, tenant_id),
            (XNumber.department_id, department_id),
            (XNumber.agent_id, agent_id),
        )
        if number_state is not None:
            conditions.append(in_state(number_state))
        async with context.reading() as session:
            rows = await read_page(session, audience, XNumber, *conditions, wanted=wanted)
            return page(rows, wanted, x_number_view)

    @get("/{x_number_id:int}", opt={"permission": Permission.NUMBERS_READ}, summary="One X number")
    async def get_x_number(self, context: GivenContext, audience: GivenScope, x_number_id: Id) -> XNumberView:
        async with context.reading() as session:
            return x_number_view(found(await read_one(session, audience, XNumber, x_number_id), "X number"))


class NumberHistoryController(XNumberController):
    """For whoever administers numbers; an agent has no business with who had his before."""

    @get(
        "/{x_number_id:int}/history",
        opt={"permission": Permission.NUMBERS_READ},
        dependencies=_HISTORY_SORTS.given,
        summary="A number's history",
    )
    async def list_history(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        x_number_id: Id,
    ) -> Page[NumberMoveView]:
        async with context.reading() as session:
            moves = await read_moves(session, audience, x_number_id, wanted)
            return page(moves, wanted, lambda move: _move_view(move, audience))
