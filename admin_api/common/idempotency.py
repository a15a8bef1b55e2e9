"""The header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a POST that is sent again under its key is
answered as the first time, and nothing is done twice. In the database: ``engine.store.access.idempotency_store``.

A key is good for a day, for who sent it and for that one request: another request under it is a 422, and while the
first still runs a 409. Whatever wrote nothing and failed gives its key back, so that it can be tried again.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPRequestEvent, Message, Receive, Scope, Send

from admin_api.common.auth import Principal
from admin_api.common.context import FIRST, Context
from admin_api.common.errors import Refused
from engine.store.access.idempotency_store import Claim, ClaimLost, Known, claim, keep, mark, release

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
BODY_OCTETS_MAX = 1024 * 1024
"""As the API takes at most; a longer one goes on, to be refused."""
_KEY = re.compile(r"[\x21-\x7e]{1,64}", re.ASCII)

SECRET_ANSWERS = (
    "/api/login",
    "/api/refresh",
    "/api/me/",
    "/api/tenant/api-keys",
    "/jumps",
    "/sip-accounts",
    "/password",
    "/secret",
    "/webhooks",
)
"""Parts of paths whose answers show a secret this once: they are not kept, and no keys are taken there."""


def takes_key(method: str, path: str) -> bool:
    return method == "POST" and path.startswith("/api/") and not any(part in path for part in SECRET_ANSWERS)


class Idempotency(ASGIMiddleware):
    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        connection: ASGIConnection[Any, Principal, Any, Any] = ASGIConnection(scope)
        key = connection.headers.get(HEADER)
        if key is None or scope["type"] == ScopeType.WEBSOCKET or scope["method"] != "POST":
            await next_app(scope, receive, send)
            return
        if not takes_key("POST", scope["path"]):
            raise Refused(HEADER, "is not taken here: the answer is not kept", 400, code="idempotency.not_here")
        if _KEY.fullmatch(key) is None:
            raise Refused(HEADER, "is 1 to 64 visible ASCII characters", 400, code="idempotency.key_invalid")
        messages, body = await _read(receive)
        if len(body) > BODY_OCTETS_MAX:
            await next_app(scope, _again(messages, receive), send)
            return
        context: Context = connection.app.state.context
        claimed = Claim(_owner(connection.user), key, context.new_id())
        asked = b"\0".join((scope["path"].encode(), scope["query_string"], body))
        digest = hashlib.sha256(asked).hexdigest()
        known = await claim(context.database, claimed, digest, context.now_ms())
        if known is not None:
            await _answer_again(known, digest, send)
        else:
            await _carry_out(context, claimed, next_app, scope, _again(messages, receive), send)


def _owner(user: Principal) -> str:
    if user.api_key_id is not None:
        return f"key {user.api_key_id}"
    return f"user {user.user_id}" if user.acting_for is None else f"user {user.user_id} for {user.acting_for}"


async def _carry_out(
    context: Context, claimed: Claim, app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    answered: list[Message] = []

    async def take(message: Message) -> None:
        answered.append(message)

    token = FIRST.set((*FIRST.get(), lambda session: mark(session, claimed)))
    try:
        await app(scope, receive, take)
    except ClaimLost as lost:
        raise Refused(HEADER, "took too long, and was sent again", 409, code="idempotency.running") from lost
    except BaseException:
        await release(context.database, claimed)
        raise
    finally:
        FIRST.reset(token)
    start = answered[0]
    assert start["type"] == "http.response.start"
    is_good = 200 <= start["status"] < 300
    if is_good or not await release(context.database, claimed):
        # Kept before it is sent: who has seen it and asks again must find it.
        content_type = MutableScopeHeaders.from_message(start).get("content-type", "")
        body = b"".join(message["body"] for message in answered[1:] if message["type"] == "http.response.body")
        await keep(context.database, claimed, start["status"], content_type, body)
    for message in answered:
        await send(message)


async def _answer_again(known: Known, digest: str, send: Send) -> None:
    if known.request_sha256 != digest:
        raise Refused(HEADER, "was used for another request", 422, code="idempotency.other_request")
    if known.is_running:
        raise Refused(HEADER, "is of a request that still runs", 409, code="idempotency.running")
    if known.status is None:
        reason = "is of a request that was carried out, and its answer is lost: look at what it was to do"
        raise Refused(HEADER, reason, 409, code="idempotency.answer_lost")
    headers = [(REPLAYED_HEADER.lower().encode(), b"true"), (b"content-length", str(len(known.answer)).encode())]
    if known.content_type:
        headers.append((b"content-type", known.content_type.encode()))
    await send({"type": "http.response.start", "status": known.status, "headers": headers})
    await send({"type": "http.response.body", "body": known.answer, "more_body": False})


async def _read(receive: Receive) -> tuple[list[HTTPRequestEvent], bytes]:
    """The request's body, read until it ends or is longer than may be."""
    messages: list[HTTPRequestEvent] = []
    octets = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        messages.append(message)
        octets += len(message["body"])
        if not message.get("more_body") or octets > BODY_OCTETS_MAX:
            break
    return messages, b"".join(message["body"] for message in messages)


def _again(messages: list[HTTPRequestEvent], receive: Receive) -> Receive:
    waiting = iter(messages)

    async def read() -> Any:
        return next(waiting, None) or await receive()

    return read
