"""POST /api/login: a token for a login and its password."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.exceptions import NotAuthorizedException, TooManyRequestsException
from litestar.params import JSONBody
from msgspec import Meta

from admin_api.common.auth import PUBLIC, make_token
from admin_api.common.context import GivenContext
from admin_api.session.attempts import LoginAttempts
from engine.services.credentials import PASSWORD_LENGTH_MAX, password_matches
from engine.store.database import reading
from engine.store.user_store import user_by_login

VERIFIED_AT_ONCE_MAX = 2
"""argon2id takes 64 MiB and a core for each."""
WAITING_MAX = 50
"""Logins that wait for their turn; more are told to come again."""


class LoginRequest(msgspec.Struct, forbid_unknown_fields=True):
    login: Annotated[str, Meta(min_length=1, max_length=64)]
    password: Annotated[str, Meta(max_length=PASSWORD_LENGTH_MAX)]

    def __repr__(self) -> str:
        return "LoginRequest(…)"


class LoginAnswer(msgspec.Struct):
    token: str
    expires_at_ms: int
    role: str
    tenant_id: int | None
    agent_id: int | None


class Turnstile:
    """Lets VERIFIED_AT_ONCE_MAX passwords be verified at once."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(VERIFIED_AT_ONCE_MAX)
        self._waiting = 0

    async def verify(self, password_hash: str | None, password: str) -> bool:
        if self._waiting >= WAITING_MAX:
            raise TooManyRequestsException("too many are logging in", headers={"Retry-After": "5"})
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(password_matches, password_hash, password)
        finally:
            self._waiting -= 1


@post(
    "/api/login", status_code=200, opt={PUBLIC: True}, summary="A token for a login and its password", tags=["session"]
)
async def login(
    request: Request[Any, Any, Any], data: JSONBody[LoginRequest], context: GivenContext
) -> Response[LoginAnswer]:
    attempts: LoginAttempts = request.app.state.attempts
    turnstile: Turnstile = request.app.state.turnstile
    address = request.client.host if request.client else ""
    wait_ms = attempts.wait_ms(data.login, address, context.now_ms())
    if wait_ms > 0:
        raise TooManyRequestsException("too many attempts", headers={"Retry-After": str(-(-wait_ms // 1000))})
    async with reading(context.database) as connection:
        user = await user_by_login(connection, data.login)
    # Verified also for nobody, and for who may not: the time and the answer tell them from no one.
    matches = await turnstile.verify(user.password_hash if user else None, data.password)
    if user is None or not matches or not user.may_log_in:
        raise NotAuthorizedException("login or password is wrong, or not in use")
    attempts.forget(data.login, address)
    token, expires_at_ms = make_token(context, user)
    answer = LoginAnswer(token, expires_at_ms, user.role, user.tenant_id, user.agent_id)
    return Response(answer, headers={"Cache-Control": "no-store"})
