"""What handlers do alike with rows of one table: list them, make one, change one."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

from sqlalchemy import ColumnElement

from admin_api.common.context import Context, found
from admin_api.common.fields import apply
from admin_api.common.paging import Page, page
from admin_api.common.views import View, view_of
from engine.store.listing import read_one, read_page
from engine.store.scope import Scope
from engine.store.sorting import PageWanted
from engine.store.tables import Table

_Row = TypeVar("_Row", bound=Table)


async def list_rows(
    context: Context,
    scope: Scope,
    table: type[_Row],
    shape: type[View],
    wanted: PageWanted,
    *conditions: ColumnElement[bool],
) -> Page[View]:
    async with context.reading() as session:
        rows = await read_page(session, scope, table, *conditions, wanted=wanted)
        return page(rows, wanted, partial(view_of, shape=shape))


async def create_row(context: Context, row: Table, shape: type[View]) -> View:
    async with context.writing() as session:
        session.add(row)
        await session.flush()
        return view_of(row, shape)


async def patch_row(
    context: Context, scope: Scope, table: type[_Row], row_id: int, values: dict[str, Any], shape: type[View]
) -> View:
    async with context.writing() as session:
        row = found(await read_one(session, scope, table, row_id), table.__tablename__.removesuffix("s"))
        apply(row, values)
        await session.flush()
        return view_of(row, shape)
