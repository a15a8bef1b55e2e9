"""Who may log in: the platform's and a tenant's routes differ in whom they may make."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, delete, get, patch
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from admin_api.common.auth import Principal
from admin_api.common.context import Context, GivenContext, GivenScope
from admin_api.common.fields import Code, Password, RowId, Status
from admin_api.common.paging import GivenPage, Id, Page, QueryId, Sorts, equal
from admin_api.common.rows import list_rows
from admin_api.common.views import view_of
from engine.domain.people.permission import Audience, Permission
from engine.services.access.credentials import hash_password
from engine.services.access.identity import Maker, NewUserFacts, change_user, create_user, reset_second_factor
from engine.store.scope import Platform, Scope, TenantScope
from engine.store.tables import User


class UserView(msgspec.Struct):
    """Without a ``role_id`` it is the built-in role of ``role``."""

    id: int
    login: str
    role: str
    role_id: int | None
    tenant_id: int | None
    agent_id: int | None
    status: str


class UserPatch(msgspec.Struct, forbid_unknown_fields=True):
    """A new password ends his sessions, and so does a suspension."""

    password: Password | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    role_id: RowId | UnsetType = UNSET

    def __repr__(self) -> str:
        return "UserPatch(…)"


_Asked = Request[Principal, Any, Any]


def maker_of(scope: Scope) -> Maker:
    assert isinstance(scope, Platform | TenantScope), "nobody else has the permission"
    return scope


async def make_user(
    request: _Asked,
    context: Context,
    scope: Scope,
    *,
    login: Code,
    password: Password,
    role: Audience,
    role_id: int | None,
    tenant_id: int | None,
    agent_id: int | None,
) -> UserView:
    password_hash = await asyncio.to_thread(hash_password, password)
    new = NewUserFacts(login, password_hash, role, role_id, tenant_id, agent_id)
    async with context.writing_quietly() as session:
        return view_of(await create_user(session, maker_of(scope), request.user.permissions, new), UserView)


_SORTS = Sorts("id", "id", id=User.id, login=User.login)


class UserController(Controller):
    path = "/users"
    tags = ("users",)

    @get("/", opt={"permission": Permission.USERS_READ}, dependencies=_SORTS.given, summary="Users")
    async def list_users(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        role: Annotated[Audience | None, QueryParameter()] = None,
        user_status: Annotated[Status | None, QueryParameter(name="status")] = None,
        tenant_id: QueryId = None,
        agent_id: QueryId = None,
        role_id: QueryId = None,
    ) -> Page[UserView]:
        conditions = equal((User.role, role), (User.status, user_status), (User.tenant_id, tenant_id))
        conditions += equal((User.agent_id, agent_id), (User.role_id, role_id))
        return await list_rows(context, audience, User, UserView, wanted, *conditions)

    @patch(
        "/{user_id:int}",
        opt={"permission": Permission.USERS_WRITE},
        summary="Change a user's password or role, suspend or wake him",
    )
    async def patch_user(
        self, request: _Asked, context: GivenContext, audience: GivenScope, user_id: Id, data: JSONBody[UserPatch]
    ) -> UserView:
        password_hash = None
        if data.password is not UNSET:
            password_hash = await asyncio.to_thread(hash_password, data.password)
        async with context.writing_quietly() as session:
            user = await change_user(
                session,
                maker_of(audience),
                request.user.permissions,
                user_id,
                now_ms=context.now_ms(),
                password_hash=password_hash,
                status=None if data.status is UNSET else data.status,
                role_id=None if data.role_id is UNSET else data.role_id,
            )
            return view_of(user, UserView)

    @delete(
        "/{user_id:int}/second-factor",
        opt={"permission": Permission.USERS_WRITE},
        summary="Take away the second factor of one who has lost it",
    )
    async def delete_second_factor(
        self, request: _Asked, context: GivenContext, audience: GivenScope, user_id: Id
    ) -> None:
        async with context.writing_quietly() as session:
            await reset_second_factor(session, maker_of(audience), request.user.permissions, user_id)
