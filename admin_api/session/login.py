"""POST /api/login: tokens for a login, its password and its second factor; POST /api/refresh: new ones for old."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.exceptions import NotAuthorizedException, TooManyRequestsException
from litestar.params import JSONBody
from msgspec import Meta

from admin_api.common.auth import (
    PUBLIC,
    TOKEN_OCTETS_MAX,
    actor_of,
    address_of,
    make_refresh_token,
    make_token,
    read_refresh_token,
)
from admin_api.common.context import Context, GivenContext
from admin_api.common.errors import ProblemDetails, problem, said
from admin_api.session.attempts import Attempt
from engine.services.access import second_factor
from engine.services.access.credentials import PASSWORD_LENGTH_MAX, password_matches
from engine.services.access.sessions import begin_session, refresh_session
from engine.store.access.login_failures import note_failure, note_success, read_failures
from engine.store.access.user_store import UserRecord, user_by_id, user_by_login
from engine.store.database import reading, writing

VERIFIED_AT_ONCE_MAX = 2
"""argon2id takes 64 MiB and a core for each."""
WAITING_MAX = 50
"""Logins that wait for their turn; more are told to come again."""


class LoginRequest(msgspec.Struct, forbid_unknown_fields=True):
    """``code``: of the authenticator app, or a recovery code, where the user has a second factor."""

    login: Annotated[str, Meta(min_length=1, max_length=64)]
    password: Annotated[str, Meta(max_length=PASSWORD_LENGTH_MAX)]
    code: Annotated[str, Meta(max_length=second_factor.CODE_LENGTH_MAX)] = ""

    def __repr__(self) -> str:
        return "LoginRequest(…)"


class RefreshRequest(msgspec.Struct, forbid_unknown_fields=True):
    refresh_token: Annotated[str, Meta(max_length=TOKEN_OCTETS_MAX)]

    def __repr__(self) -> str:
        return "RefreshRequest(…)"


class LoginAnswer(msgspec.Struct):
    """``token`` opens routes until ``expires_at_ms``; ``refresh_token`` is good for one refresh."""

    token: str
    expires_at_ms: int
    refresh_token: str
    refresh_expires_at_ms: int
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


def refuse_early(attempt: Attempt, stored: Mapping[str, tuple[int, int]], now_ms: int) -> None:
    """Raises TooManyRequestsException where the attempt is not heard yet."""
    wait_ms = attempt.wait_ms(stored, now_ms)
    if wait_ms > 0:
        raise TooManyRequestsException("too many attempts", headers={"Retry-After": str(-(-wait_ms // 1000))})


async def failed(context: Context, attempt: Attempt, now_ms: int) -> None:
    async with writing(context.database) as connection:
        await note_failure(connection, attempt.counted, now_ms)


_Asked = Request[Any, Any, Any]


@post(
    "/api/login", status_code=200, opt={PUBLIC: True}, summary="Tokens for a login and its password", tags=["session"]
)
async def login(
    request: _Asked, data: JSONBody[LoginRequest], context: GivenContext
) -> Response[LoginAnswer] | Response[ProblemDetails]:
    turnstile: Turnstile = request.app.state.turnstile
    address = request.client.host if request.client else ""
    now_ms = context.now_ms()
    attempt = Attempt(data.login, address)
    async with reading(context.database) as connection:
        stored = await read_failures(connection, attempt.subjects)
        user = await user_by_login(connection, data.login)
    refuse_early(attempt, stored, now_ms)
    # Verified also for nobody, and for who may not: the time and the answer tell them from no one.
    matches = await turnstile.verify(user.password_hash if user else None, data.password)
    if user is None or not matches or not user.may_log_in:
        await failed(context, attempt, now_ms)
        raise NotAuthorizedException("login or password is wrong, or not in use")
    if user.sealed_second_factor is not None and not data.code:
        # No failure: whoever has the password is asked for the code next.
        return said(request, problem(401, "a code of the second factor is needed", code="second_factor.needed"))
    async with context.writing_quietly(actor_of(context, request, user)) as session:
        if user.sealed_second_factor is None or await second_factor.check(
            session, context.factor_key, user.id, data.code, now_ms
        ):
            ends_at_ms = now_ms + context.settings.refresh_seconds * 1000
            begun = await begin_session(
                session,
                user.id,
                user.credential,
                session_id=context.new_id(),
                address=address_of(context, request),
                now_ms=now_ms,
                expires_at_ms=ends_at_ms,
            )
            answer = _answer(context, user, begun.id, 0, ends_at_ms)
            await note_success(await session.connection(), attempt.forgiven, attempt.known, now_ms)
        else:
            answer = None
    if answer is None:
        await failed(context, attempt, now_ms)
        return said(request, problem(401, "the code is wrong, or was used before", code="second_factor.wrong_code"))
    return Response(answer, headers={"Cache-Control": "no-store"})


@post(
    "/api/refresh",
    status_code=200,
    opt={PUBLIC: True},
    summary="New tokens for a refresh token, which is then used up; one that comes again ends its session",
    tags=["session"],
)
async def refresh(request: _Asked, data: JSONBody[RefreshRequest], context: GivenContext) -> Response[LoginAnswer]:
    user_id, session_id, rotation = read_refresh_token(context, data.refresh_token)
    async with reading(context.database) as connection:
        user = await user_by_id(connection, user_id)
    if user is None or not user.may_log_in:
        raise NotAuthorizedException("the session is over")
    # What a refusal changes is kept: it ends a session whose token came twice.
    async with context.writing_quietly(actor_of(context, request, user)) as session:
        row = await refresh_session(session, session_id, rotation, user.credential, context.now_ms())
        mine = row is not None and row.user_id == user.id
        answer = _answer(context, user, row.id, row.rotation, row.expires_at_ms) if row is not None and mine else None
    if answer is None:
        raise NotAuthorizedException("the session is over")
    return Response(answer, headers={"Cache-Control": "no-store"})


def _answer(context: Context, user: UserRecord, session_id: str, rotation: int, ends_at_ms: int) -> LoginAnswer:
    token, expires_at_ms = make_token(context, user, session_id, ends_at_ms=ends_at_ms)
    refresh_token = make_refresh_token(context, user.id, session_id, rotation, ends_at_ms)
    return LoginAnswer(token, expires_at_ms, refresh_token, ends_at_ms, user.role, user.tenant_id, user.agent_id)
