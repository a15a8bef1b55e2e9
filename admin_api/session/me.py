"""One's own: who one is, one's sessions, password and second factor. The same for every audience."""

from __future__ import annotations

import asyncio
import base64
import secrets
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from admin_api.common.auth import Principal
from admin_api.common.context import Context, GivenContext
from admin_api.common.fields import Password
from admin_api.session.attempts import Attempt
from admin_api.session.login import Turnstile, failed, refuse_early
from engine.domain.people.permission import Permission
from engine.domain.people.totp import SECRET_OCTETS, enrolment_uri
from engine.domain.refusal import Refusal
from engine.services.access import second_factor
from engine.services.access.credentials import PASSWORD_LENGTH_MAX, hash_password
from engine.services.access.sessions import EndReason, end_session, end_sessions, sessions_of
from engine.store.access.login_failures import read_failures
from engine.store.access.user_store import UserRecord, user_by_id
from engine.store.database import reading
from engine.store.tables import Tenant, User

ISSUER = "axbridge"

SessionId = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9]{1,32}$")]
OldPassword = Annotated[str, Meta(max_length=PASSWORD_LENGTH_MAX)]

_Asked = Request[Principal, Any, Any]


class ActingForView(msgspec.Struct):
    tenant_id: int
    code: str
    name: str
    reason: str
    until_ms: int


class MeView(msgspec.Struct):
    """``acting_for`` is there while somebody of the platform acts for a tenant: show it."""

    login: str
    role: str
    tenant_id: int | None
    agent_id: int | None
    permissions: list[str]
    second_factor: bool
    second_factor_missing: bool
    acting_for: ActingForView | None = None


class SessionView(msgspec.Struct):
    id: str
    created_at_ms: int
    used_at_ms: int
    expires_at_ms: int
    address: str
    acting_for_tenant_id: int | None
    current: bool


class NewPassword(msgspec.Struct, forbid_unknown_fields=True):
    password: OldPassword
    new_password: Password

    def __repr__(self) -> str:
        return "NewPassword(…)"


class Proof(msgspec.Struct, forbid_unknown_fields=True):
    """A session that somebody left open must not be enough."""

    password: OldPassword

    def __repr__(self) -> str:
        return "Proof(…)"


class Code(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")]


class Enrolment(msgspec.Struct):
    """For the authenticator app; ``uri`` as a QR code."""

    secret: str
    uri: str


class RecoveryCodes(msgspec.Struct):
    """Each logs in once in the place of a code. Shown now and never again."""

    recovery_codes: list[str]


class MeController(Controller):
    path = "/me"
    tags = ("session",)

    @get("/", opt={"permission": Permission.SELF}, summary="Who you are, and what you may do")
    async def get_me(self, request: _Asked, context: GivenContext) -> MeView:
        me = request.user
        async with reading(context.database) as connection:
            user = await user_by_id(connection, me.own_user_id)
        acting_for = None
        if me.acting_for is not None:
            async with context.reading() as session:
                tenant = await session.get_one(Tenant, me.acting_for)
            until_ms = me.acting_until_ms or 0
            acting_for = ActingForView(tenant.id, tenant.code, tenant.name, me.acting_reason, until_ms)
        return MeView(
            me.login,
            me.role.value,
            me.tenant_id,
            me.agent_id,
            sorted(me.permissions),
            second_factor=user is not None and user.sealed_second_factor is not None,
            second_factor_missing=me.second_factor_missing,
            acting_for=acting_for,
        )

    @post("/logout", status_code=204, opt={"permission": Permission.SELF}, summary="End this session, or this jump")
    async def logout(self, request: _Asked, context: GivenContext) -> None:
        async with context.writing_quietly() as session:
            await end_session(session, request.user.own_user_id, request.user.session_id or "", context.now_ms())

    @get("/sessions", opt={"permission": Permission.CREDENTIALS}, summary="Where you are logged in")
    async def list_sessions(self, request: _Asked, context: GivenContext) -> list[SessionView]:
        async with context.reading() as session:
            rows = await sessions_of(session, request.user.own_user_id, context.now_ms())
        return [
            SessionView(
                row.id,
                row.created_at_ms,
                row.used_at_ms,
                row.expires_at_ms,
                row.address,
                row.acting_for_tenant_id,
                row.id == request.user.session_id,
            )
            for row in rows
        ]

    @delete(
        "/sessions/{session_id:str}", opt={"permission": Permission.CREDENTIALS}, summary="End one of your sessions"
    )
    async def delete_session(self, request: _Asked, context: GivenContext, session_id: SessionId) -> None:
        async with context.writing_quietly() as session:
            await end_session(session, request.user.own_user_id, session_id, context.now_ms())

    @delete("/sessions", opt={"permission": Permission.CREDENTIALS}, summary="Log out everywhere, here too")
    async def delete_sessions(self, request: _Asked, context: GivenContext) -> None:
        async with context.writing_quietly() as session:
            await end_sessions(session, request.user.own_user_id, context.now_ms(), EndReason.EVERYWHERE)

    @post(
        "/password",
        status_code=204,
        opt={"permission": Permission.CREDENTIALS},
        summary="Change your password; ends all your sessions",
    )
    async def change_password(self, request: _Asked, context: GivenContext, data: JSONBody[NewPassword]) -> None:
        await _proven(request, context, data.password)
        password_hash = await asyncio.to_thread(hash_password, data.new_password)
        async with context.writing_quietly() as session:
            user = await session.get_one(User, request.user.own_user_id)
            user.password_hash = password_hash
            await end_sessions(session, user.id, context.now_ms(), EndReason.PASSWORD)

    @post(
        "/second-factor",
        status_code=200,
        opt={"permission": Permission.CREDENTIALS},
        summary="Begin with a second factor: a secret for your authenticator app, to be confirmed by a code of it",
    )
    async def enrol(self, request: _Asked, context: GivenContext, data: JSONBody[Proof]) -> Response[Enrolment]:
        user = await _proven(request, context, data.password)
        secret = secrets.token_bytes(SECRET_OCTETS)
        nonce = secrets.token_bytes(second_factor.NONCE_OCTETS)
        async with context.writing_quietly() as session:
            await second_factor.enrol(session, user.id, second_factor.seal(context.factor_key, secret, user.id, nonce))
        answer = Enrolment(base64.b32encode(secret).decode(), enrolment_uri(secret, user.login, ISSUER))
        return Response(answer, headers={"Cache-Control": "no-store"})

    @post(
        "/second-factor/confirmation",
        status_code=200,
        opt={"permission": Permission.CREDENTIALS},
        summary="Confirm the second factor; your recovery codes are shown now and never again",
    )
    async def confirm(self, request: _Asked, context: GivenContext, data: JSONBody[Code]) -> Response[RecoveryCodes]:
        octets = secrets.token_bytes(second_factor.RECOVERY_CODES * second_factor.RECOVERY_OCTETS)
        async with context.writing_quietly() as session:
            codes = await second_factor.confirm(
                session, context.factor_key, request.user.own_user_id, data.code, octets, context.now_ms()
            )
        return Response(RecoveryCodes(codes), headers={"Cache-Control": "no-store"})

    @post(
        "/second-factor/removal",
        status_code=204,
        opt={"permission": Permission.CREDENTIALS},
        summary="Do without a second factor again",
    )
    async def remove(self, request: _Asked, context: GivenContext, data: JSONBody[Proof]) -> None:
        user = await _proven(request, context, data.password)
        async with context.writing_quietly() as session:
            await second_factor.remove(session, user.id)


async def _proven(request: _Asked, context: Context, password: str) -> UserRecord:
    """The user, where ``password`` is his. Counts as a login's attempt: it is as good to guess by. Raises Refusal."""
    turnstile: Turnstile = request.app.state.turnstile
    address, now_ms = request.client.host if request.client else "", context.now_ms()
    attempt = Attempt(request.user.login, address)
    async with reading(context.database) as connection:
        stored = await read_failures(connection, attempt.subjects)
        user = await user_by_id(connection, request.user.own_user_id)
    refuse_early(attempt, stored, now_ms)
    if user is None or not await turnstile.verify(user.password_hash, password):
        await failed(context, attempt, now_ms)
        raise Refusal("password.wrong", "password", "is not yours")
    return user
