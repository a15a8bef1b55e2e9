"""Tenants' statements: read at any time, and closed once a month is over."""

from __future__ import annotations

from litestar import Controller, get, post
from litestar.response import Response

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.paging import Id
from admin_api.resources.statements import Form, Month, as_csv, statement
from engine.domain.people.permission import Permission
from engine.services.money.statements import close_month, statement_csv
from engine.store.listing import read_one
from engine.store.tables import Tenant


class StatementController(Controller):
    path = "/tenants/{tenant_id:int}/statements/{month:str}"
    tags = ("funds",)

    @get("/", opt={"permission": Permission.FUNDS_READ}, summary="A tenant's statement of a month, as CSV or PDF")
    async def get_statement(
        self, context: GivenContext, audience: GivenScope, tenant_id: Id, month: Month, form: Form = "csv"
    ) -> Response[bytes]:
        async with context.reading() as session:
            found(await read_one(session, audience, Tenant, tenant_id), "tenant")
        return await statement(context, audience, tenant_id, month, form)

    @post("/close", status_code=200, opt={"permission": Permission.FUNDS_WRITE}, summary="Close a month for good")
    async def close(self, context: GivenContext, audience: GivenScope, tenant_id: Id, month: Month) -> Response[bytes]:
        async with context.writing() as session:
            found(await read_one(session, audience, Tenant, tenant_id), "tenant")
            closed = await close_month(session, audience, tenant_id, month, context.now_ms())
            return as_csv(statement_csv(closed), month)
