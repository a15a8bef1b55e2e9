"""Guards, each declared once at its router, and the scopes that go with them: they come from the token alone."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.routes import HTTPRoute

from admin_api.common.auth import PUBLIC, Principal
from engine.domain.people.permission import Audience, Permission
from engine.store.scope import AgentScope, DepartmentScope, Platform, TenantScope

PERMISSION = "permission"
"""The option of a handler that names what it asks for; none is without one."""


class Unguarded(Exception):
    """Our fault: a route that names no permission, or that no router's guard holds to it. The API does not start."""


def _require(connection: ASGIConnection[Any, Any, Any, Any], *audiences: Audience) -> None:
    # NotAuthorizedException would be a 401, which tells clients to log in again.
    if connection.user.role not in audiences:
        raise PermissionDeniedException("this is for others")


def platform_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    _require(connection, Audience.PLATFORM_ADMIN)


def tenant_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    _require(connection, Audience.TENANT_ADMIN, Audience.DEPARTMENT_HEAD)


def agent_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    _require(connection, Audience.AGENT)


async def permitted(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Holds whoever asks to the permission that the handler names."""
    principal: Principal = connection.user
    if principal.second_factor_missing and handler.opt[PERMISSION] not in principal.permissions:
        raise PermissionDeniedException("a second factor is needed first: enrol at /api/me/second-factor")
    if handler.opt[PERMISSION] not in principal.permissions:
        raise PermissionDeniedException("you have no permission for this")


def refuse_unguarded(app: Litestar) -> None:
    """Raises Unguarded where a route of ours is neither public nor held to a permission."""
    for route in app.routes:
        if not isinstance(route, HTTPRoute) or route.path.startswith("/schema"):
            continue
        for handler in route.route_handlers:
            _refuse_unguarded(route.path, handler)


def _refuse_unguarded(path: str, handler: HTTPRouteHandler) -> None:
    if handler.opt.get(PUBLIC) or handler.http_methods == {"OPTIONS"}:
        return
    if not isinstance(handler.opt.get(PERMISSION), Permission):
        raise Unguarded(f"{sorted(handler.http_methods)} {path} names no permission")
    if permitted not in handler.resolve_guards():
        raise Unguarded(f"{path} is in no router that holds to permissions")


async def platform_scope() -> Platform:
    return Platform()


async def tenant_scope(request: Request[Principal, Any, Any]) -> TenantScope | DepartmentScope:
    if request.user.role is Audience.DEPARTMENT_HEAD:
        return request.user.department_scope
    return request.user.tenant_scope


async def agent_scope(request: Request[Principal, Any, Any]) -> AgentScope:
    return request.user.agent_scope
