"""A tenant's own people who may log in."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, post
from litestar.params import JSONBody

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.fields import Code, Password, RowId
from admin_api.resources.users import UserController, UserView, make_user
from engine.domain.people.permission import Audience, Permission


class NewOwnUser(msgspec.Struct, forbid_unknown_fields=True):
    """``agent_id`` goes with the roles department_head and agent. Without ``role_id``: the built-in role."""

    login: Code
    password: Password
    role: Audience
    role_id: RowId | None = None
    agent_id: RowId | None = None

    def __repr__(self) -> str:
        return f"NewOwnUser({self.login!r}, …)"


class TenantUserController(UserController):
    @post("/", opt={"permission": Permission.USERS_WRITE}, summary="Let one of your people log in")
    async def create_user(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        data: JSONBody[NewOwnUser],
    ) -> UserView:
        return await make_user(
            request,
            context,
            audience,
            login=data.login,
            password=data.password,
            role=data.role,
            role_id=data.role_id,
            tenant_id=request.user.tenant_scope.tenant_id,
            agent_id=data.agent_id,
        )
