"""Number pools: parts of a line's numbers, as the carrier knows them by its pool key."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import Code, Name, RowId, apply, given
from admin_api.common.paging import GivenPage, Id, Page, QueryId, Sorts
from admin_api.common.rows import list_rows
from admin_api.common.views import view_of
from engine.domain.people.permission import Permission
from engine.store.listing import read_one
from engine.store.tables.numbers import NumberPool

PoolKey = Annotated[str, Meta(pattern=r"^[\x21-\x7e]*\Z", max_length=64)]


class NumberPoolView(msgspec.Struct):
    id: int
    line_id: int
    code: str
    name: str
    pool_key: str
    created_at_ms: int


class NewNumberPool(msgspec.Struct, forbid_unknown_fields=True):
    line_id: RowId
    code: Code
    name: Name
    pool_key: PoolKey = ""


class NumberPoolPatch(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    pool_key: PoolKey | UnsetType = UNSET


_SORTS = Sorts("id", "id", id=NumberPool.id, code=NumberPool.code, name=NumberPool.name)


class NumberPoolController(Controller):
    path = "/number-pools"
    tags = ("numbers",)

    @get("/", opt={"permission": Permission.NUMBERS_READ}, dependencies=_SORTS.given, summary="Number pools")
    async def list_pools(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        line_id: QueryId = None,
    ) -> Page[NumberPoolView]:
        conditions = [] if line_id is None else [NumberPool.line_id == line_id]
        return await list_rows(context, audience, NumberPool, NumberPoolView, wanted, *conditions)

    @post("/", opt={"permission": Permission.NUMBERS_WRITE}, summary="Make a number pool")
    async def create_pool(self, context: GivenContext, data: JSONBody[NewNumberPool]) -> NumberPoolView:
        row = NumberPool(**given(data), created_at_ms=context.now_ms())
        async with context.writing_quietly() as session:
            session.add(row)
            await session.flush()
            return view_of(row, NumberPoolView)

    @patch("/{pool_id:int}", opt={"permission": Permission.NUMBERS_WRITE}, summary="Change a number pool")
    async def patch_pool(
        self, context: GivenContext, audience: GivenScope, pool_id: Id, data: JSONBody[NumberPoolPatch]
    ) -> NumberPoolView:
        async with context.writing_quietly() as session:
            row = found(await read_one(session, audience, NumberPool, pool_id), "number pool")
            apply(row, given(data))
            await session.flush()
            return view_of(row, NumberPoolView)
