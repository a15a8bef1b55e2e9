"""A tenant's own statements."""

from __future__ import annotations

from typing import Any

from litestar import Request, get
from litestar.response import Response

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope
from admin_api.resources.statements import Form, Month, statement
from engine.domain.people.permission import Permission


@get(
    "/statements/{month:str}",
    opt={"permission": Permission.FUNDS_READ},
    summary="Your statement of a month, as CSV or PDF",
    tags=["funds"],
)
async def get_statement(
    request: Request[Principal, Any, Any], context: GivenContext, audience: GivenScope, month: Month, form: Form = "csv"
) -> Response[bytes]:
    return await statement(context, audience, request.user.tenant_scope.tenant_id, month, form)
