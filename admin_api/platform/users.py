"""Who may log in, of the platform and of all tenants."""

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


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """``tenant_id`` goes with all roles but platform_admin, ``agent_id`` with department_head and agent.

    Without ``role_id`` he gets the built-in role of ``role``.
    """

    login: Code
    password: Password
    role: Audience
    role_id: RowId | None = None
    tenant_id: RowId | None = None
    agent_id: RowId | None = None

    def __repr__(self) -> str:
        return f"NewUser({self.login!r}, …)"


class PlatformUserController(UserController):
    @post("/", opt={"permission": Permission.USERS_WRITE}, summary="Let somebody log in")
    async def create_user(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        data: JSONBody[NewUser],
    ) -> UserView:
        return await make_user(
            request,
            context,
            audience,
            login=data.login,
            password=data.password,
            role=data.role,
            role_id=data.role_id,
            tenant_id=data.tenant_id,
            agent_id=data.agent_id,
        )
