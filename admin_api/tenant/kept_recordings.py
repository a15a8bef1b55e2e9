"""How long a tenant's own recordings are kept: it may lengthen what the platform says, and not shorten it."""

from __future__ import annotations

from typing import Any

from litestar import Request, get, put
from litestar.params import JSONBody

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext
from admin_api.resources.kept_recordings import RetentionChange, RetentionView, change_retention, read_retention
from engine.domain.people.permission import Permission


@get(
    "/recording-retention",
    opt={"permission": Permission.RECORDINGS_READ},
    summary="How long recordings are kept",
    tags=["recordings"],
)
async def get_own_retention(request: Request[Principal, Any, Any], context: GivenContext) -> RetentionView:
    async with context.reading() as session:
        return await read_retention(context, session, request.user.tenant_scope.tenant_id)


@put(
    "/recording-retention",
    opt={"permission": Permission.RECORDINGS_KEEP},
    summary="Keep recordings longer than the platform does",
    tags=["recordings"],
)
async def put_own_retention(
    request: Request[Principal, Any, Any], context: GivenContext, data: JSONBody[RetentionChange]
) -> RetentionView:
    return await change_retention(context, request.user.tenant_scope.tenant_id, tenant_days=data.days)
