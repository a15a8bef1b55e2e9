"""Statements as CSV: the platform asks for a tenant's, a tenant for his own."""

from __future__ import annotations

from typing import Annotated

from litestar.params import PathParameter
from litestar.response import Response

from admin_api.common.context import Context
from engine.services.statements import read_statement, statement_csv
from engine.store.scope import Scope

Month = Annotated[str, PathParameter(pattern=r"^[0-9]{4}-[0-9]{2}\Z", max_length=7, description="Such as 2026-11.")]


def as_csv(content: bytes, month: str) -> Response[bytes]:
    name = f'attachment; filename="statement-{month}.csv"'
    headers = {"Content-Disposition": name, "Cache-Control": "private, no-store"}
    return Response(content, media_type="text/csv; charset=utf-8; header=present", headers=headers)


async def statement(context: Context, scope: Scope, tenant_id: int, month: str) -> Response[bytes]:
    async with context.reading() as session:
        return as_csv(statement_csv(await read_statement(session, scope, tenant_id, month)), month)
