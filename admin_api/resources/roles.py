"""Roles: the platform makes its own, a tenant its own, each of what its maker has himself."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, delete, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.fields import Name
from admin_api.common.paging import GivenPage, Id, Page, Sorts, page
from admin_api.common.views import view_of
from admin_api.resources.users import maker_of
from engine.domain.people.permission import Audience, Permission
from engine.services.access.identity import change_role, create_role, delete_role, role_of, roles_page
from engine.store.tables.identity import Role

Permissions = Annotated[list[Permission], Meta(max_length=len(Permission))]


class RoleView(msgspec.Struct):
    """``permissions`` of a built-in role is ``["*"]``: all that its audience may have."""

    id: int
    audience: str
    name: str
    permissions: list[str]
    built_in: bool


class NewRole(msgspec.Struct, forbid_unknown_fields=True):
    audience: Audience
    name: Name
    permissions: Permissions


class RolePatch(msgspec.Struct, forbid_unknown_fields=True):
    """In force at once for all that have the role."""

    name: Name | UnsetType = UNSET
    permissions: Permissions | UnsetType = UNSET


_Asked = Request[Principal, Any, Any]


_SORTS = Sorts("id", "id", id=Role.id, name=Role.name)


class RoleController(Controller):
    path = "/roles"
    tags = ("users",)

    @get("/", opt={"permission": Permission.ROLES_READ}, dependencies=_SORTS.given, summary="Roles")
    async def list_roles(self, context: GivenContext, audience: GivenScope, wanted: GivenPage) -> Page[RoleView]:
        async with context.reading() as session:
            rows = await roles_page(session, maker_of(audience), wanted=wanted)
            return page(rows, wanted, partial(view_of, shape=RoleView))

    @get("/{role_id:int}", opt={"permission": Permission.ROLES_READ}, summary="One role")
    async def get_role(self, context: GivenContext, audience: GivenScope, role_id: Id) -> RoleView:
        async with context.reading() as session:
            return view_of(await role_of(session, maker_of(audience), role_id), RoleView)

    @post("/", opt={"permission": Permission.ROLES_WRITE}, summary="Make a role of permissions that you have")
    async def create_role(
        self, request: _Asked, context: GivenContext, audience: GivenScope, data: JSONBody[NewRole]
    ) -> RoleView:
        async with context.writing_quietly() as session:
            role = await create_role(
                session,
                maker_of(audience),
                request.user.permissions,
                audience=data.audience,
                name=data.name,
                permissions=[permission.value for permission in data.permissions],
            )
            return view_of(role, RoleView)

    @patch("/{role_id:int}", opt={"permission": Permission.ROLES_WRITE}, summary="Change a role, at once for all")
    async def patch_role(
        self, request: _Asked, context: GivenContext, audience: GivenScope, role_id: Id, data: JSONBody[RolePatch]
    ) -> RoleView:
        permissions = None if data.permissions is UNSET else [permission.value for permission in data.permissions]
        async with context.writing_quietly() as session:
            role = await change_role(
                session,
                maker_of(audience),
                request.user.permissions,
                role_id,
                name=None if data.name is UNSET else data.name,
                permissions=permissions,
            )
            return view_of(role, RoleView)

    @delete("/{role_id:int}", opt={"permission": Permission.ROLES_WRITE}, summary="Remove a role that nobody has")
    async def delete_role(self, request: _Asked, context: GivenContext, audience: GivenScope, role_id: Id) -> None:
        async with context.writing_quietly() as session:
            await delete_role(session, maker_of(audience), request.user.permissions, role_id)
