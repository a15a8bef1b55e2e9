"""The jump into a tenant: for a while, one of the platform is its administrator, visibly and on record."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.exceptions import NotAuthorizedException
from litestar.params import JSONBody
from msgspec import Meta

from admin_api.common.auth import Principal, address_of, make_token
from admin_api.common.context import GivenContext
from admin_api.common.paging import Id
from engine.domain.people.permission import Permission
from engine.services.access.sessions import begin_jump
from engine.store.access.user_store import user_by_id
from engine.store.database import reading


class NewJump(msgspec.Struct, forbid_unknown_fields=True):
    """Why: the tenant reads it in its audit log."""

    reason: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*\Z", max_length=200)]


class JumpAnswer(msgspec.Struct):
    """A token for ``/api/tenant``; there is no refreshing it. It ends at ``/api/me/logout``, or by itself."""

    token: str
    expires_at_ms: int
    tenant_id: int


@post(
    "/tenants/{tenant_id:int}/jumps",
    opt={"permission": Permission.TENANTS_JUMP},
    summary="Act for a tenant, for half an hour",
    tags=["tenants"],
)
async def create_jump(
    request: Request[Principal, Any, Any], context: GivenContext, tenant_id: Id, data: JSONBody[NewJump]
) -> Response[JumpAnswer]:
    async with reading(context.database) as connection:
        user = await user_by_id(connection, request.user.own_user_id)
    if user is None:
        raise NotAuthorizedException
    async with context.writing_quietly() as session:
        row = await begin_jump(
            session,
            user.id,
            user.credential,
            tenant_id,
            session_id=context.new_id(),
            address=address_of(context, request),
            reason=data.reason,
            now_ms=context.now_ms(),
        )
        ends_at_ms, session_id = row.expires_at_ms, row.id
    token, _ = make_token(context, user, session_id, ends_at_ms=ends_at_ms, acting_for=tenant_id)
    return Response(JumpAnswer(token, ends_at_ms, tenant_id), headers={"Cache-Control": "no-store"})
