"""API keys for a tenant's own systems: ``Authorization: Bearer axb_…``, as if the tenant's administrator asked."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.params import JSONBody
from msgspec import Meta

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext
from admin_api.common.fields import Name, TimeMs
from admin_api.common.paging import GivenPage, Id, Page, Sorts, page
from admin_api.common.views import view_of
from admin_api.resources.roles import Permissions
from engine.domain.people.permission import Permission
from engine.services.access.api_keys import (
    PREFIX_OCTETS,
    REQUESTS_PER_MINUTE_DEFAULT,
    SECRET_OCTETS,
    api_keys_of,
    create_api_key,
    make_key,
    revoke_api_key,
)
from engine.store.tables.identity import ApiKey


class ApiKeyView(msgspec.Struct):
    """``last_used_at_ms`` is right to a minute."""

    id: int
    name: str
    prefix: str
    permissions: list[str]
    requests_per_minute_max: int
    created_by: str
    created_at_ms: int
    expires_at_ms: int | None
    last_used_at_ms: int | None
    revoked_at_ms: int | None


class NewApiKey(msgspec.Struct, forbid_unknown_fields=True):
    name: Name
    permissions: Permissions
    expires_at_ms: TimeMs | None = None
    requests_per_minute_max: Annotated[int, Meta(ge=1, le=60_000)] = REQUESTS_PER_MINUTE_DEFAULT


class ApiKeyAnswer(msgspec.Struct):
    """``secret`` is the whole key, shown now and never again."""

    key: ApiKeyView
    secret: str


_Asked = Request[Principal, Any, Any]


_SORTS = Sorts("id", "id", id=ApiKey.id, name=ApiKey.name, created_at_ms=ApiKey.created_at_ms)


class ApiKeyController(Controller):
    path = "/api-keys"
    tags = ("users",)

    @get(
        "/",
        opt={"permission": Permission.API_KEYS_READ},
        dependencies=_SORTS.given,
        summary="Your API keys, revoked ones too",
    )
    async def list_keys(self, request: _Asked, context: GivenContext, wanted: GivenPage) -> Page[ApiKeyView]:
        async with context.reading() as session:
            rows = await api_keys_of(session, request.user.tenant_scope, wanted=wanted)
            return page(rows, wanted, partial(view_of, shape=ApiKeyView))

    @post(
        "/", opt={"permission": Permission.API_KEYS_WRITE}, summary="Make an API key; it is shown now and never again"
    )
    async def create_key(
        self, request: _Asked, context: GivenContext, data: JSONBody[NewApiKey]
    ) -> Response[ApiKeyAnswer]:
        key = make_key(secrets.token_bytes(PREFIX_OCTETS + SECRET_OCTETS))
        async with context.writing_quietly() as session:
            row = await create_api_key(
                session,
                request.user.tenant_scope,
                key,
                name=data.name,
                permissions=[permission.value for permission in data.permissions],
                held=request.user.permissions,
                requests_per_minute_max=data.requests_per_minute_max,
                expires_at_ms=data.expires_at_ms,
                created_by=request.user.login,
                now_ms=context.now_ms(),
            )
            view = view_of(row, ApiKeyView)
        return Response(ApiKeyAnswer(view, key), headers={"Cache-Control": "no-store"})

    @delete("/{key_id:int}", opt={"permission": Permission.API_KEYS_WRITE}, summary="Revoke an API key, at once")
    async def revoke_key(self, request: _Asked, context: GivenContext, key_id: Id) -> None:
        async with context.writing_quietly() as session:
            await revoke_api_key(session, request.user.tenant_scope, key_id, context.now_ms())
