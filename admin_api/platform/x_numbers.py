"""The pool of X numbers, who has which, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from litestar import patch, post, put
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy.ext.asyncio import AsyncSession

from admin_api.common.context import Context, GivenContext, GivenScope, found
from admin_api.common.errors import Refused
from admin_api.common.fields import Note, Number, RowId, Status, apply, canonical, given
from admin_api.common.paging import Id
from admin_api.common.views import XNumberView
from admin_api.resources.x_numbers import NumberHistoryController, x_number_view
from engine.domain.people.permission import Permission
from engine.services.lines.carriers import check_permitted
from engine.services.lines.number_allocation import (
    ALLOCATED_MAX,
    DAY_MS,
    By,
    NumberState,
    WrongState,
    allocate,
    allocate_of_line,
    allocate_to_tenant,
    quarantine,
    read_number,
    read_numbers,
    release,
    retire,
    state_of,
    take_back,
)
from engine.services.lines.number_import import ROWS_MAX, ImportReport, TooManyRows, add_chunk, chunks, read_rows, told
from engine.services.lines.number_replacement import replace
from engine.store.listing import read_one
from engine.store.scope import Scope
from engine.store.tables import Line, XNumber
from engine.store.tables.numbers import NumberPool

UnknownCallerPolicy = Literal["refuse", "owner"]
Ids = Annotated[list[RowId], Meta(min_length=1, max_length=1000)]
Days = Annotated[int, Meta(ge=1, le=365)]
IMPORT_OCTETS_MAX = 8 * 1024 * 1024


class NewXNumber(msgspec.Struct, forbid_unknown_fields=True):
    number: Number
    line_id: RowId
    pool_id: RowId | None = None
    unknown_caller_policy: UnknownCallerPolicy = "refuse"


class XNumberPatch(msgspec.Struct, forbid_unknown_fields=True):
    """``status`` of one that is quarantined or retired is changed by releasing it."""

    line_id: RowId | UnsetType = UNSET
    pool_id: RowId | UnsetType | None = UNSET
    unknown_caller_policy: UnknownCallerPolicy | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class TenantAllocation(msgspec.Struct, forbid_unknown_fields=True):
    """``null`` takes the number back."""

    tenant_id: RowId | None


class Allocation(msgspec.Struct, forbid_unknown_fields=True):
    """``x_number_ids``, or ``count`` idle ones of a line (those first that rested longest), or of one of its pools."""

    tenant_id: RowId
    x_number_ids: Ids | UnsetType = UNSET
    line_id: RowId | UnsetType = UNSET
    pool_id: RowId | None = None
    count: Annotated[int, Meta(ge=1, le=ALLOCATED_MAX)] | UnsetType = UNSET
    reason: Note = ""


class Return(msgspec.Struct, forbid_unknown_fields=True):
    """All of them go back to the platform, or none. With ``ends_bindings`` those on them end; calls go on."""

    x_number_ids: Ids
    reason: Note = ""
    ends_bindings: bool = False


class Rest(msgspec.Struct, forbid_unknown_fields=True):
    days: Days = 14
    reason: Note = ""
    ends_bindings: bool = False


class Retirement(msgspec.Struct, forbid_unknown_fields=True):
    reason: Note = ""
    ends_bindings: bool = False


class Release(msgspec.Struct, forbid_unknown_fields=True):
    reason: Note = ""


class NumberImport(msgspec.Struct, forbid_unknown_fields=True):
    """``content``: CSV or text, a number a row; of several columns the first counts, and a header is left out."""

    line_id: RowId
    content: Annotated[str, Meta(min_length=1, max_length=IMPORT_OCTETS_MAX)]
    pool_id: RowId | None = None


class BadRowView(msgspec.Struct):
    row: int
    code: str
    reason: str


class ImportView(msgspec.Struct):
    """``problems`` names the first thousand bad rows; ``there`` were on the line before."""

    rows: int
    added: int
    there: int
    bad: int
    problems: list[BadRowView]


class MovedNumbers(msgspec.Struct):
    items: list[XNumberView]


class Replacement(msgspec.Struct):
    replaced: XNumberView
    by: XNumberView


async def _check_pool(session: Any, scope: Any, line_id: int, pool_id: int | None) -> None:
    if pool_id is None:
        return
    pool = await read_one(session, scope, NumberPool, pool_id)
    if pool is None or pool.line_id != line_id:
        raise Refused("pool_id", "is no pool of the line")


_Step = Callable[[AsyncSession, XNumber, By], Awaitable[None]]


async def _move(context: Context, scope: Scope, x_number_id: int, reason: str, step: _Step) -> XNumberView:
    """One step of a number's life, taken by who asks and for his reason."""
    async with context.writing() as session:
        row = await read_number(session, scope, x_number_id)
        await step(session, row, By.of(session, context.now_ms(), reason))
        return x_number_view(row)


class PlatformXNumberController(NumberHistoryController):
    @post("/", opt={"permission": Permission.NUMBERS_WRITE}, summary="Add an X number to a line")
    async def create_x_number(
        self, context: GivenContext, audience: GivenScope, data: JSONBody[NewXNumber]
    ) -> XNumberView:
        values = given(data)
        values["number"] = canonical(data.number, "number")
        row = XNumber(**values, idle_since_ms=context.now_ms())
        async with context.writing() as session:
            await _check_pool(session, audience, data.line_id, data.pool_id)
            session.add(row)
            await session.flush()
            return x_number_view(row)

    @post(
        "/imports",
        opt={"permission": Permission.NUMBERS_WRITE},
        summary="Add up to 100,000 X numbers to a line",
        request_max_body_size=IMPORT_OCTETS_MAX,
        status_code=200,
    )
    async def import_numbers(
        self, context: GivenContext, audience: GivenScope, data: JSONBody[NumberImport]
    ) -> ImportView:
        async with context.reading() as session:
            found(await read_one(session, audience, Line, data.line_id), "line")
            await _check_pool(session, audience, data.line_id, data.pool_id)
        report = ImportReport()
        try:
            numbers = await asyncio.to_thread(read_rows, data.content, report)
        except TooManyRows as error:
            raise Refused("content", f"has more than {ROWS_MAX} rows") from error
        for chunk in chunks(numbers):
            async with context.writing_quietly() as session:
                await add_chunk(session, data.line_id, data.pool_id, chunk, report, context.now_ms())
        problems = [BadRowView(each.row, each.code, each.reason) for each in told(report.problems)]
        return ImportView(report.rows, report.added, report.there, report.bad, problems)

    @patch("/{x_number_id:int}", opt={"permission": Permission.NUMBERS_WRITE}, summary="Change or suspend an X number")
    async def patch_x_number(
        self, context: GivenContext, audience: GivenScope, x_number_id: Id, data: JSONBody[XNumberPatch]
    ) -> XNumberView:
        async with context.writing() as session:
            row = found(await read_one(session, audience, XNumber, x_number_id), "X number")
            state = state_of(row)
            if data.status is not UNSET and state not in (NumberState.IDLE, NumberState.ALLOCATED):
                raise WrongState(state, ("release",))
            if data.line_id not in (UNSET, row.line_id):
                row.pool_id = None  # the old line's
            apply(row, given(data))
            await session.flush()
            await _check_pool(session, audience, row.line_id, row.pool_id)
            if row.tenant_id is not None and data.line_id is not UNSET:
                await check_permitted(session, row.tenant_id, await session.get_one(Line, row.line_id))
            return x_number_view(row)

    @put(
        "/{x_number_id:int}/tenant",
        opt={"permission": Permission.NUMBERS_WRITE},
        summary="Allocate an X number to a tenant",
    )
    async def allocate_one(
        self, context: GivenContext, audience: GivenScope, x_number_id: Id, data: JSONBody[TenantAllocation]
    ) -> XNumberView:
        async with context.writing() as session:
            row = await allocate_to_tenant(session, audience, x_number_id, data.tenant_id, context.now_ms())
            return x_number_view(row)

    @post("/allocations", opt={"permission": Permission.NUMBERS_WRITE}, summary="Allocate many X numbers to a tenant")
    async def allocate_many(
        self, context: GivenContext, audience: GivenScope, data: JSONBody[Allocation]
    ) -> MovedNumbers:
        async with context.writing() as session:
            by = By.of(session, context.now_ms(), data.reason)
            if data.x_number_ids is not UNSET:
                if data.count is not UNSET or data.line_id is not UNSET or data.pool_id is not None:
                    raise Refused("x_number_ids", "goes without count, line_id and pool_id")
                rows = await read_numbers(session, audience, data.x_number_ids)
                await allocate(session, rows, data.tenant_id, by)
            elif data.count is UNSET or data.line_id is UNSET:
                raise Refused("count", "is needed, with line_id, where there are no x_number_ids")
            else:
                found(await read_one(session, audience, Line, data.line_id), "line")
                await _check_pool(session, audience, data.line_id, data.pool_id)
                rows = await allocate_of_line(session, data.tenant_id, data.line_id, data.count, by, data.pool_id)
            return MovedNumbers([x_number_view(row) for row in rows])

    @post("/returns", opt={"permission": Permission.NUMBERS_WRITE}, summary="Take many X numbers back", status_code=200)
    async def take_back_many(self, context: GivenContext, audience: GivenScope, data: JSONBody[Return]) -> MovedNumbers:
        async with context.writing() as session:
            rows = await read_numbers(session, audience, data.x_number_ids)
            by = By.of(session, context.now_ms(), data.reason)
            await take_back(session, rows, by, ends_bindings=data.ends_bindings)
            return MovedNumbers([x_number_view(row) for row in rows])

    @post(
        "/{x_number_id:int}/quarantine",
        opt={"permission": Permission.NUMBERS_WRITE},
        summary="Let an X number rest",
        status_code=200,
    )
    async def quarantine_one(
        self, context: GivenContext, audience: GivenScope, x_number_id: Id, data: JSONBody[Rest]
    ) -> XNumberView:
        async def rest(session: AsyncSession, row: XNumber, by: By) -> None:
            await quarantine(session, row, by.now_ms + data.days * DAY_MS, by, ends_bindings=data.ends_bindings)

        return await _move(context, audience, x_number_id, data.reason, rest)

    @post(
        "/{x_number_id:int}/retirement",
        opt={"permission": Permission.NUMBERS_WRITE},
        summary="Take an X number out for good",
        status_code=200,
    )
    async def retire_one(
        self, context: GivenContext, audience: GivenScope, x_number_id: Id, data: JSONBody[Retirement]
    ) -> XNumberView:
        moved = partial(retire, ends_bindings=data.ends_bindings)
        return await _move(context, audience, x_number_id, data.reason, moved)

    @post(
        "/{x_number_id:int}/release",
        opt={"permission": Permission.NUMBERS_WRITE},
        summary="End an X number's rest or retirement",
        status_code=200,
    )
    async def release_one(
        self, context: GivenContext, audience: GivenScope, x_number_id: Id, data: JSONBody[Release]
    ) -> XNumberView:
        return await _move(context, audience, x_number_id, data.reason, release)

    @post(
        "/{x_number_id:int}/replacement",
        opt={"permission": Permission.NUMBERS_WRITE},
        summary="Put an idle number of its line in an X number's place",
        status_code=200,
    )
    async def replace_one(
        self, context: GivenContext, audience: GivenScope, x_number_id: Id, data: JSONBody[Rest]
    ) -> Replacement:
        async with context.writing() as session:
            row = await read_number(session, audience, x_number_id)
            by = By.of(session, context.now_ms(), data.reason or "replaced by hand")
            new = await replace(session, row, by, quarantine_days=data.days, ends_bindings=data.ends_bindings)
            return Replacement(x_number_view(row), x_number_view(new))
