"""X numbers as every audience lists them."""

from __future__ import annotations

from functools import partial

from litestar import Controller, get

from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.paging import PAGE_DEFAULT, Cursor, Limit, Page, QueryId, id_cursor, page
from admin_api.common.views import XNumberView, view_of
from engine.domain.permission import Permission
from engine.store.listing import read_page
from engine.store.tables import XNumber


class XNumberController(Controller):
    path = "/x-numbers"
    tags = ("numbers",)

    @get("/", opt={"permission": Permission.NUMBERS_READ}, summary="X numbers")
    async def list_x_numbers(
        self,
        context: GivenContext,
        audience: GivenScope,
        line_id: QueryId = None,
        agent_id: QueryId = None,
        cursor: Cursor = None,
        limit: Limit = PAGE_DEFAULT,
    ) -> Page[XNumberView]:
        conditions = [
            column == value
            for column, value in ((XNumber.line_id, line_id), (XNumber.agent_id, agent_id))
            if value is not None
        ]
        async with context.reading() as session:
            rows = await read_page(session, audience, XNumber, *conditions, after=id_cursor(cursor), limit=limit)
            return page(rows, limit, partial(view_of, shape=XNumberView), lambda row: str(row.id))
