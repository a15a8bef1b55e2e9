"""Guards, each declared once at its router, and the scopes that go with them: they come from the token alone."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler

from admin_api.common.auth import Principal, Role
from engine.store.scope import AgentScope, Platform, TenantScope


def _require(connection: ASGIConnection[Any, Any, Any, Any], role: Role) -> None:
    # NotAuthorizedException would be a 401, which tells clients to log in again.
    if connection.user.role is not role:
        raise PermissionDeniedException("this is for others")


def platform_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    _require(connection, Role.PLATFORM_ADMIN)


def tenant_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    _require(connection, Role.TENANT_ADMIN)


def agent_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    _require(connection, Role.AGENT)


async def platform_scope() -> Platform:
    return Platform()


async def tenant_scope(request: Request[Principal, Any, Any]) -> TenantScope:
    return request.user.tenant_scope


async def agent_scope(request: Request[Principal, Any, Any]) -> AgentScope:
    return request.user.agent_scope
