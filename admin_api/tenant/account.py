"""A tenant's own money and lines, to look at."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from litestar import Request, get
from litestar.params import QueryParameter

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.paging import BeforeMs, GivenPage, Page, SinceMs, between, equal, page
from admin_api.common.rows import list_rows
from admin_api.common.sorts import LEDGER_SORTS, LINE_SORTS
from admin_api.common.views import AccountView, LedgerEntryView, TenantLineView, view_of
from engine.domain.people.permission import Permission
from engine.store.listing import read_one
from engine.store.money.ledger_store import Kind, read_ledger
from engine.store.tables import Account, LedgerTransaction, Line


@get("/account", opt={"permission": Permission.FUNDS_READ}, summary="Your balance and overdraft limit", tags=["money"])
async def get_account(
    request: Request[Principal, Any, Any], context: GivenContext, audience: GivenScope
) -> AccountView:
    tenant_id = request.user.tenant_scope.tenant_id
    async with context.reading() as session:
        return view_of(found(await read_one(session, audience, Account, tenant_id), "account"), AccountView)


@get(
    "/ledger",
    opt={"permission": Permission.FUNDS_READ},
    dependencies=LEDGER_SORTS.given,
    summary="What came in and went out, newest first",
    tags=["money"],
)
async def list_ledger(
    request: Request[Principal, Any, Any],
    context: GivenContext,
    audience: GivenScope,
    wanted: GivenPage,
    kind: Annotated[Kind | None, QueryParameter()] = None,
    from_ms: SinceMs = None,
    to_ms: BeforeMs = None,
) -> Page[LedgerEntryView]:
    tenant_id = request.user.tenant_scope.tenant_id
    conditions = equal((LedgerTransaction.kind, kind)) + between(LedgerTransaction.created_at_ms, from_ms, to_ms)
    async with context.reading() as session:
        rows = await read_ledger(session, audience, tenant_id, *conditions, wanted=wanted)
    return page(rows, wanted, partial(view_of, shape=LedgerEntryView))


@get(
    "/lines",
    opt={"permission": Permission.LINES_READ},
    dependencies=LINE_SORTS.given,
    summary="The lines that you have numbers of",
    tags=["numbers"],
)
async def list_lines(context: GivenContext, audience: GivenScope, wanted: GivenPage) -> Page[TenantLineView]:
    return await list_rows(context, audience, Line, TenantLineView, wanted)
