"""Who may log in."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec
from litestar import Controller, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from admin_api.common.auth import Role
from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.errors import Refused
from admin_api.common.fields import Code, Password, RowId, Status, apply, given
from admin_api.common.paging import PAGE_DEFAULT, Cursor, Id, Limit, Page, id_cursor, page
from admin_api.common.views import view_of
from engine.domain.permission import Permission
from engine.services.credentials import hash_password
from engine.store.listing import read_one, read_page
from engine.store.scope import Platform
from engine.store.tables import Agent, User


class UserView(msgspec.Struct):
    id: int
    login: str
    role: str
    tenant_id: int | None
    agent_id: int | None
    status: str


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """``tenant_id`` goes with the roles tenant_admin and agent, ``agent_id`` with agent."""

    login: Code
    password: Password
    role: Role
    tenant_id: RowId | None = None
    agent_id: RowId | None = None

    def __repr__(self) -> str:
        return f"NewUser({self.login!r}, …)"


class UserPatch(msgspec.Struct, forbid_unknown_fields=True):
    """A new password ends the tokens that were given for the old one."""

    password: Password | UnsetType = UNSET
    status: Status | UnsetType = UNSET

    def __repr__(self) -> str:
        return "UserPatch(…)"


async def _hashed(values: dict[str, Any]) -> dict[str, Any]:
    if "password" in values:
        values["password_hash"] = await asyncio.to_thread(hash_password, values.pop("password"))
    return values


class UserController(Controller):
    path = "/users"
    tags = ("users",)

    @get("/", opt={"permission": Permission.USERS_READ}, summary="Users")
    async def list_users(
        self, context: GivenContext, audience: GivenScope, cursor: Cursor = None, limit: Limit = PAGE_DEFAULT
    ) -> Page[UserView]:
        async with context.reading() as session:
            rows = await read_page(session, audience, User, after=id_cursor(cursor), limit=limit)
            return page(rows, limit, partial(view_of, shape=UserView), lambda row: str(row.id))

    @post("/", opt={"permission": Permission.USERS_WRITE}, summary="Let somebody log in")
    async def create_user(self, context: GivenContext, data: JSONBody[NewUser]) -> UserView:
        if (data.role is not Role.PLATFORM_ADMIN) != (data.tenant_id is not None):
            raise Refused("tenant_id", "goes with the roles tenant_admin and agent, and only with them")
        if (data.role is Role.AGENT) != (data.agent_id is not None):
            raise Refused("agent_id", "goes with the role agent, and only with it")
        user = User(**await _hashed(given(data)))
        async with context.writing() as session:
            if data.agent_id is not None:
                agent = await read_one(session, Platform(), Agent, data.agent_id)
                if agent is None or agent.tenant_id != data.tenant_id:
                    raise Refused("agent_id", "is no agent of the tenant")
            session.add(user)
            await session.flush()
            return view_of(user, UserView)

    @patch(
        "/{user_id:int}",
        opt={"permission": Permission.USERS_WRITE},
        summary="Change a user's password, suspend or wake him",
    )
    async def patch_user(
        self, context: GivenContext, audience: GivenScope, user_id: Id, data: JSONBody[UserPatch]
    ) -> UserView:
        values = await _hashed(given(data))
        async with context.writing() as session:
            user = found(await read_one(session, audience, User, user_id), "user")
            apply(user, values)
            await session.flush()
            return view_of(user, UserView)
