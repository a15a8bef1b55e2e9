"""Statements as CSV or PDF: the platform asks for a tenant's, a tenant for his own."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from litestar.params import PathParameter, QueryParameter
from litestar.response import Response

from admin_api.common.context import Context, found
from engine.services.money.statement_pdf import statement_pdf
from engine.services.money.statements import read_statement, statement_csv
from engine.store.scope import Scope
from engine.store.tables import Tenant

Month = Annotated[str, PathParameter(pattern=r"^[0-9]{4}-[0-9]{2}\Z", max_length=7, description="Such as 2026-11.")]


def as_csv(content: bytes, month: str) -> Response[bytes]:
    return _file(content, "text/csv; charset=utf-8; header=present", f"statement-{month}.csv")


def _file(content: bytes, media_type: str, name: str) -> Response[bytes]:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return Response(content, media_type=media_type, headers=headers)


Form = Annotated[Literal["csv", "pdf"], QueryParameter(name="format", description="csv has every call; pdf its days.")]


async def statement(context: Context, scope: Scope, tenant_id: int, month: str, form: str = "csv") -> Response[bytes]:
    async with context.reading() as session:
        read = await read_statement(session, scope, tenant_id, month)
        tenant = found(await session.get(Tenant, tenant_id), "tenant")
    if form == "csv":
        return as_csv(statement_csv(read), month)
    content = await asyncio.to_thread(statement_pdf, read, tenant.name)
    return _file(content, "application/pdf", f"statement-{month}.pdf")
