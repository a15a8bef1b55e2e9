"""Lines: what carries calls and has numbers; who may use one, and what its numbers' answer rates advise."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Controller, delete, get, patch, post, put
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.errors import Refused
from admin_api.common.fields import Code, Name, RowId, Status, apply, given
from admin_api.common.paging import GivenPage, Id, Page, QueryId, equal
from admin_api.common.rows import list_rows
from admin_api.common.sorts import LINE_SORTS
from admin_api.common.views import LineView, TenantPermissionView, XNumberView, view_of
from admin_api.platform.permitted_tenants import give, list_permitted, sorts_of, take
from admin_api.resources.x_numbers import x_number_view
from engine.domain.people.permission import Permission
from engine.services.lines.number_replacement import LineReplacement, NumberAdvice, advise, setting_of
from engine.store.listing import read_one
from engine.store.scope import Scope
from engine.store.tables import Line, Trunk
from engine.store.tables.numbers import LinePermission


class NewLine(msgspec.Struct, forbid_unknown_fields=True):
    """``is_custom``: made by hand, its numbers added one by one. ``replacement`` ``null``: replaced by hand alone."""

    carrier_id: RowId
    trunk_id: RowId
    rate_id: RowId
    code: Code
    name: Name
    recording: bool = True
    is_custom: bool = False
    replacement: LineReplacement | None = None


class LinePatch(msgspec.Struct, forbid_unknown_fields=True):
    trunk_id: RowId | UnsetType = UNSET
    rate_id: RowId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    recording: bool | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    is_custom: bool | UnsetType = UNSET
    replacement: LineReplacement | UnsetType | None = UNSET


class AdviceView(msgspec.Struct, kw_only=True):
    """Rates are from 0 to 1; ``low`` and ``high`` bound what the number's may be. All of the line's window."""

    x_number: XNumberView
    advice: str
    """keep | watch | replace"""
    reason: str
    attempted: int
    answered: int
    answer_rate: float | None
    low: float
    high: float
    others_attempted: int
    others_answer_rate: float | None
    lost_answers: float
    """Answers more, had the number been answered like the others."""
    is_cooling: bool
    """It has come too recently to be replaced by itself."""


class LineAdvice(msgspec.Struct):
    setting: LineReplacement
    items: list[AdviceView]


def _values(data: NewLine | LinePatch) -> dict[str, Any]:
    values = given(data)
    if values.get("replacement") is not None:
        values["replacement"] = msgspec.structs.asdict(values["replacement"])
    return values


def _advice_view(advice: NumberAdvice) -> AdviceView:
    judgement = advice.judgement
    return AdviceView(
        x_number=x_number_view(advice.x_number),
        advice=judgement.advice.value,
        reason=judgement.reason.value,
        attempted=judgement.evidence.attempted,
        answered=judgement.evidence.answered,
        answer_rate=judgement.evidence.rate,
        low=judgement.interval.low,
        high=judgement.interval.high,
        others_attempted=judgement.others.attempted,
        others_answer_rate=judgement.others.rate,
        lost_answers=round(judgement.lost_answers, 1),
        is_cooling=advice.is_cooling,
    )


async def _check_line(session: Any, scope: Scope, line: Line) -> None:
    trunk = await read_one(session, scope, Trunk, line.trunk_id)
    if trunk is None or trunk.carrier_id != line.carrier_id:
        raise Refused("trunk_id", "is no trunk of the line's carrier")


_PERMITTED_SORTS = sorts_of(LinePermission)


class LineController(Controller):
    path = "/lines"
    tags = ("lines",)

    @get("/", opt={"permission": Permission.LINES_READ}, dependencies=LINE_SORTS.given, summary="Lines")
    async def list_lines(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        carrier_id: QueryId = None,
        line_status: Annotated[Status | None, QueryParameter(name="status")] = None,
        is_custom: Annotated[bool | None, QueryParameter()] = None,
    ) -> Page[LineView]:
        conditions = equal((Line.carrier_id, carrier_id), (Line.status, line_status), (Line.is_custom, is_custom))
        return await list_rows(context, audience, Line, LineView, wanted, *conditions)

    @get("/{line_id:int}", opt={"permission": Permission.LINES_READ}, summary="One line")
    async def get_line(self, context: GivenContext, audience: GivenScope, line_id: Id) -> LineView:
        async with context.reading() as session:
            return view_of(found(await read_one(session, audience, Line, line_id), "line"), LineView)

    @post("/", opt={"permission": Permission.LINES_WRITE}, summary="Make a line")
    async def create_line(self, context: GivenContext, audience: GivenScope, data: JSONBody[NewLine]) -> LineView:
        row = Line(**_values(data))
        async with context.writing() as session:
            session.add(row)
            await session.flush()
            await _check_line(session, audience, row)
            return view_of(row, LineView)

    @patch("/{line_id:int}", opt={"permission": Permission.LINES_WRITE}, summary="Change or suspend a line")
    async def patch_line(
        self, context: GivenContext, audience: GivenScope, line_id: Id, data: JSONBody[LinePatch]
    ) -> LineView:
        async with context.writing() as session:
            row = found(await read_one(session, audience, Line, line_id), "line")
            apply(row, _values(data))
            await session.flush()
            await _check_line(session, audience, row)
            return view_of(row, LineView)

    @get(
        "/{line_id:int}/number-advice",
        opt={"permission": Permission.LINES_READ},
        summary="Which of a line's X numbers to replace, and why",
    )
    async def get_advice(self, context: GivenContext, audience: GivenScope, line_id: Id) -> LineAdvice:
        async with context.reading() as session:
            line = found(await read_one(session, audience, Line, line_id), "line")
            advice = await advise(session, line, context.now_ms())
            return LineAdvice(setting_of(line), [_advice_view(each) for each in advice])

    @get(
        "/{line_id:int}/tenants",
        opt={"permission": Permission.LINES_READ},
        dependencies=_PERMITTED_SORTS.given,
        summary="Who may use a line by itself",
    )
    async def list_permitted(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        line_id: Id,
    ) -> Page[TenantPermissionView]:
        return await list_permitted(context, audience, Line, line_id, wanted)

    @put(
        "/{line_id:int}/tenants/{tenant_id:int}",
        opt={"permission": Permission.LINES_WRITE},
        summary="Let a tenant use a line",
        status_code=204,
    )
    async def permit(self, context: GivenContext, line_id: Id, tenant_id: Id) -> None:
        await give(context, tenant_id, Line, line_id)

    @delete(
        "/{line_id:int}/tenants/{tenant_id:int}",
        opt={"permission": Permission.LINES_WRITE},
        summary="Let a tenant use a line no more: no new call of his goes over it",
    )
    async def forbid(self, context: GivenContext, line_id: Id, tenant_id: Id) -> None:
        await take(context, tenant_id, Line, line_id)
