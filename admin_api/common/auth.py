"""Tokens: who is asking. Read anew at each request, so that whoever is suspended is out at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jwt
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from admin_api.common.context import Context
from engine.store.database import reading
from engine.store.scope import AgentScope, TenantScope
from engine.store.user_store import UserRecord, user_by_id

ALGORITHM = "HS256"
TOKEN_OCTETS_MAX = 2048

PUBLIC = "public"
"""The option of a handler that asks for no token."""


class Role(StrEnum):
    PLATFORM_ADMIN = "platform_admin"
    TENANT_ADMIN = "tenant_admin"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, as the database has it now."""

    user_id: int
    login: str
    role: Role
    tenant_id: int | None
    agent_id: int | None

    @property
    def tenant_scope(self) -> TenantScope:
        if self.role is not Role.TENANT_ADMIN or self.tenant_id is None:
            raise NotAuthorizedException
        return TenantScope(self.tenant_id)

    @property
    def agent_scope(self) -> AgentScope:
        if self.role is not Role.AGENT or self.tenant_id is None or self.agent_id is None:
            raise NotAuthorizedException
        return AgentScope(self.tenant_id, self.agent_id)


def _credential(user: UserRecord) -> str:
    """Changes with the password, and so ends the tokens that were given for the old one."""
    return hashlib.sha256(user.password_hash.encode()).hexdigest()[:16]


def make_token(context: Context, user: UserRecord) -> tuple[str, int]:
    """A signed token and the time in milliseconds at which it ends."""
    now_seconds = context.now_ms() // 1000
    expires_seconds = now_seconds + context.settings.token_seconds
    claims = {
        "sub": str(user.id),
        "role": user.role,
        "tenant_id": user.tenant_id,
        "agent_id": user.agent_id,
        "credential": _credential(user),
        "iat": now_seconds,
        "exp": expires_seconds,
    }
    return jwt.encode(claims, context.token_key, algorithm=ALGORITHM), expires_seconds * 1000


def _read_token(context: Context, token: str) -> dict[str, Any]:
    # Our clock judges the times, since tests have one of their own.
    options: Any = {"require": ["sub", "exp", "iat"], "verify_exp": False, "verify_iat": False}
    try:
        claims = jwt.decode(token, context.token_key, algorithms=[ALGORITHM], options=options)
    except jwt.InvalidTokenError as error:
        raise NotAuthorizedException("the token is not valid") from error
    if not isinstance(claims["exp"], int) or claims["exp"] * 1000 <= context.now_ms():
        raise NotAuthorizedException("the token has expired")
    return claims


class TokenAuthentication(AbstractAuthenticationMiddleware):
    """Lets nobody in without a token, save to handlers with the option PUBLIC."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        context: Context = connection.app.state.context
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > TOKEN_OCTETS_MAX:
            raise NotAuthorizedException("a bearer token is needed")
        claims = _read_token(context, token)
        if not claims["sub"].isdigit():
            raise NotAuthorizedException("the token is not valid")
        async with reading(context.database) as database:
            user = await user_by_id(database, int(claims["sub"]))
        same = user is not None and all(
            claims.get(name) == value
            for name, value in (
                ("role", user.role),
                ("tenant_id", user.tenant_id),
                ("agent_id", user.agent_id),
                ("credential", _credential(user)),
            )
        )
        if user is None or not same or not user.may_log_in:
            raise NotAuthorizedException("the token is no longer valid")
        principal = Principal(user.id, user.login, Role(user.role), user.tenant_id, user.agent_id)
        return AuthenticationResult(user=principal, auth=None)
