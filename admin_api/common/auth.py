"""Who is asking: a session's token, or a tenant's API key. Read anew at each request, so that whoever is suspended,
logged out or revoked is out at once."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, TypeVar

import jwt
from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException, TooManyRequestsException
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import Message
from litestar.types import Scope as AsgiScope
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.common.context import ACTOR, Context
from engine.domain.people.permission import ALWAYS, NOT_IN_JUMPS, Audience, Permission, at_most, granted
from engine.services.access.api_keys import FOR_KEYS, MARK, USE_NOTED_MS, key_matches, prefix_of
from engine.store.access.api_key_budgets import take
from engine.store.access.audit import Actor, ActorKind, kept_address
from engine.store.access.user_store import KeyRecord, UserRecord, key_by_prefix, session_by_id, user_by_id
from engine.store.database import reading, writing
from engine.store.scope import AgentScope, DepartmentScope, TenantScope
from engine.store.tables.identity import ApiKey

ALGORITHM = "HS256"
TOKEN_OCTETS_MAX = 2048

PUBLIC = "public"
"""The option of a handler that asks for no token."""

ACTING_FOR_HEADER = "X-Acting-For"
REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

_ACCESS, _REFRESH = "access", "refresh"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, as the database has it now. ``user_id`` is None for an API key."""

    user_id: int | None
    login: str
    role: Audience
    tenant_id: int | None
    agent_id: int | None
    permissions: frozenset[Permission]
    session_id: str | None = None
    api_key_id: int | None = None
    acting_for: int | None = None
    """The tenant for whom somebody of the platform acts."""
    acting_until_ms: int | None = None
    acting_reason: str = ""
    second_factor_missing: bool = False
    """He may do nothing but get himself one."""

    @property
    def tenant_scope(self) -> TenantScope:
        if self.role is not Audience.TENANT_ADMIN or self.tenant_id is None:
            raise NotAuthorizedException
        return TenantScope(self.tenant_id)

    @property
    def department_scope(self) -> DepartmentScope:
        if self.role is not Audience.DEPARTMENT_HEAD or self.tenant_id is None or self.agent_id is None:
            raise NotAuthorizedException
        return DepartmentScope(self.tenant_id, self.agent_id)

    @property
    def agent_scope(self) -> AgentScope:
        if self.role is not Audience.AGENT or self.tenant_id is None or self.agent_id is None:
            raise NotAuthorizedException
        return AgentScope(self.tenant_id, self.agent_id)

    @property
    def own_user_id(self) -> int:
        """For what only a person has. An API key has no such permission, and this would be our fault."""
        if self.user_id is None:
            raise PermissionDeniedException("this is for people")
        return self.user_id

    def actor(self, address: str, request_id: str) -> Actor:
        if self.api_key_id is not None:
            kind = ActorKind.API_KEY
        else:
            kind = ActorKind.USER if self.acting_for is None else ActorKind.JUMP
        return Actor(
            kind,
            self.login,
            user_id=self.user_id,
            api_key_id=self.api_key_id,
            session_id=self.session_id,
            tenant_id=self.tenant_id,
            address=address,
            request_id=request_id,
        )


def actor_of(context: Context, connection: ASGIConnection[Any, Any, Any, Any], user: UserRecord) -> Actor:
    """For what somebody does before he has a session: to begin one."""
    return Actor(
        ActorKind.USER,
        user.login,
        user_id=user.id,
        tenant_id=user.tenant_id,
        address=address_of(context, connection),
        request_id=request_id_of(connection.scope, context),
    )


def address_of(context: Context, connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The client's, as logs may keep it."""
    address = connection.client.host if connection.client else ""
    return kept_address(address, masked=context.settings.logged_addresses == "masked")


def request_id_of(scope: AsgiScope, context: Context) -> str:
    """The request's own, where it names one that can be kept; or else one of ours. The same for all of a request."""
    state = scope["state"]
    if "request_id" not in state:
        given = dict(scope["headers"]).get(REQUEST_ID_HEADER.lower().encode(), b"").decode("latin-1")
        state["request_id"] = given if _REQUEST_ID.fullmatch(given) else context.new_id()
    request_id: str = state["request_id"]
    return request_id


async def mark_answer(message: Message, scope: AsgiScope) -> None:
    """Litestar's ``before_send``: the request's id, and that somebody acts for a tenant, are in each answer's head."""
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    headers[REQUEST_ID_HEADER] = request_id_of(scope, scope["litestar_app"].state.context)
    principal = scope.get("user")
    if isinstance(principal, Principal) and principal.acting_for is not None:
        headers[ACTING_FOR_HEADER] = f"tenant {principal.acting_for}"


def make_token(
    context: Context, user: UserRecord, session_id: str, *, ends_at_ms: int, acting_for: int | None = None
) -> tuple[str, int]:
    """A signed access token of a session, and the time in milliseconds at which it ends: soon, or with the session.

    A jump has no refreshing, and its token its whole time.
    """
    now_seconds = context.now_ms() // 1000
    expires_seconds = ends_at_ms // 1000
    if acting_for is None:
        expires_seconds = min(now_seconds + context.settings.token_seconds, expires_seconds)
    claims: dict[str, Any] = {
        "kind": _ACCESS,
        "sub": str(user.id),
        "sid": session_id,
        "role": user.role,
        "tenant_id": user.tenant_id,
        "agent_id": user.agent_id,
        "iat": now_seconds,
        "exp": expires_seconds,
    }
    if acting_for is not None:
        claims["acting_for"] = acting_for
    return jwt.encode(claims, context.token_key, algorithm=ALGORITHM), expires_seconds * 1000


def make_refresh_token(context: Context, user_id: int, session_id: str, rotation: int, expires_at_ms: int) -> str:
    """Nothing of it is stored but its rotation's number: the signature says that it was ours."""
    claims = {
        "kind": _REFRESH,
        "sub": str(user_id),
        "sid": session_id,
        "rotation": rotation,
        "iat": context.now_ms() // 1000,
        "exp": expires_at_ms // 1000,
    }
    return jwt.encode(claims, context.token_key, algorithm=ALGORITHM)


def read_refresh_token(context: Context, token: str) -> tuple[int, str, int]:
    """The user, the session and the rotation that it is of. NotAuthorizedException where it is none of ours."""
    claims = _read_token(context, token, _REFRESH)
    if not isinstance(claims.get("rotation"), int):
        raise NotAuthorizedException("the token is not valid")
    return int(claims["sub"]), claims["sid"], claims["rotation"]


def _read_token(context: Context, token: str, kind: str) -> dict[str, Any]:
    # Our clock judges the times, since tests have one of their own.
    options: Any = {"require": ["sub", "sid", "exp", "iat"], "verify_exp": False, "verify_iat": False}
    try:
        claims = jwt.decode(token, context.token_key, algorithms=[ALGORITHM], options=options)
    except jwt.InvalidTokenError as error:
        raise NotAuthorizedException("the token is not valid") from error
    # Each kind is good for its own use alone: a refresh token opens no route.
    if claims.get("kind") != kind or not claims["sub"].isdigit() or not isinstance(claims["sid"], str):
        raise NotAuthorizedException("the token is not valid")
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
        if token.startswith(MARK):
            principal = await _of_key(context, connection.app.state.key_rates, token)
        else:
            principal = await _of_session(context, token)
        ACTOR.set(principal.actor(address_of(context, connection), request_id_of(connection.scope, context)))
        return AuthenticationResult(user=principal, auth=None)


async def _of_session(context: Context, token: str) -> Principal:
    claims = _read_token(context, token, _ACCESS)
    async with reading(context.database) as database:
        user = await user_by_id(database, int(claims["sub"]))
        session = await session_by_id(database, claims["sid"])
    same = user is not None and all(
        claims.get(name) == value
        for name, value in (("role", user.role), ("tenant_id", user.tenant_id), ("agent_id", user.agent_id))
    )
    if (
        user is None
        or session is None
        or not same
        or not user.may_log_in
        or session.user_id != user.id
        or session.credential != user.credential
        or claims.get("acting_for") != session.acting_for_tenant_id
        or not session.alive(context.now_ms())
    ):
        raise NotAuthorizedException("the token is no longer valid")
    if session.acting_for_tenant_id is not None:
        if Permission.TENANTS_JUMP not in user.permissions:
            raise NotAuthorizedException("the token is no longer valid")
        return Principal(
            user.id,
            user.login,
            Audience.TENANT_ADMIN,
            session.acting_for_tenant_id,
            None,
            at_most(Audience.TENANT_ADMIN) - NOT_IN_JUMPS,
            session_id=session.id,
            acting_for=session.acting_for_tenant_id,
            acting_until_ms=session.expires_at_ms,
            acting_reason=session.reason,
        )
    audience = Audience(user.role)
    missing = second_factor_missing(context, user)
    return Principal(
        user.id,
        user.login,
        audience,
        user.tenant_id,
        user.agent_id,
        ALWAYS if missing else user.permissions,
        session_id=session.id,
        second_factor_missing=missing,
    )


def second_factor_missing(context: Context, user: UserRecord) -> bool:
    wanted = context.settings.platform_second_factor and user.role == Audience.PLATFORM_ADMIN
    return wanted and user.sealed_second_factor is None


async def _of_key(context: Context, rates: KeyRates, token: str) -> Principal:
    prefix, now_ms = prefix_of(token), context.now_ms()
    key = None
    if prefix is not None:
        async with reading(context.database) as database:
            key = await key_by_prefix(database, prefix)
    if key is None or not key_matches(key.key_hash, token) or not key.alive(now_ms):
        raise NotAuthorizedException("the key is not valid, or no longer")
    wait_ms = await rates.wait_ms(key, now_ms)
    if wait_ms > 0:
        raise TooManyRequestsException("too many requests", headers={"Retry-After": str(-(-wait_ms // 1000))})
    if key.last_used_at_ms is None or now_ms - key.last_used_at_ms >= USE_NOTED_MS:
        async with writing(context.database) as database:
            await database.execute(update(ApiKey).where(ApiKey.id == key.id).values(last_used_at_ms=now_ms))
    permissions = granted(Audience.TENANT_ADMIN, key.permissions) & FOR_KEYS
    return Principal(None, key.name, Audience.TENANT_ADMIN, key.tenant_id, None, permissions, api_key_id=key.id)


class KeyRates:
    """How often each key may ask, over all processes: this one takes a few requests at a time from the key's budget
    (``engine.store.access.api_key_budgets``) and gives them out of its memory, where they last HELD_MS."""

    KEYS_MAX = 10_000
    """Keys of which requests are held; the longest unused goes, and with it what it held."""
    HELD_MS = 5_000
    """What is held longer is lost to the key: at most a twentieth of a minute's."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database
        self._held: OrderedDict[int, tuple[int, int]] = OrderedDict()  # requests, and since when
        self._refused: OrderedDict[int, int] = OrderedDict()  # until when: whoever asks on does not reach the database

    async def wait_ms(self, key: KeyRecord, now_ms: int) -> int:
        """Takes one request; how long to wait where there is none left, 0 where there was one."""
        left, since_ms = self._held.pop(key.id, (0, now_ms))
        if left <= 0 or not 0 <= now_ms - since_ms <= self.HELD_MS:
            if (until_ms := self._refused.get(key.id, 0)) > now_ms:
                return until_ms - now_ms
            async with writing(self._database) as connection:
                left, wait_ms = await take(connection, key.id, key.requests_per_minute_max, now_ms)
            since_ms = now_ms
            if left == 0:
                _keep(self._refused, key.id, now_ms + wait_ms, self.KEYS_MAX)
                return wait_ms
        _keep(self._held, key.id, (left - 1, since_ms), self.KEYS_MAX)
        return 0


_Kept = TypeVar("_Kept")


def _keep(kept: OrderedDict[int, _Kept], key_id: int, value: _Kept, most: int) -> None:
    kept.pop(key_id, None)
    kept[key_id] = value
    while len(kept) > most:
        kept.popitem(last=False)
