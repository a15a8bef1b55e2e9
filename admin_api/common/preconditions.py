"""ETags of single rows, so that two who edit one row do not undo each other's work without a word (RFC 9110 §13).

The ETag is a hash of what a GET shows: the same for everybody who is shown the same. ``If-None-Match`` spares the
answer. ``If-Match`` on a change is looked at inside the change's own transaction, before it writes: writers of facts
come one after another (``engine.store.database.writing_session``), so nothing comes between the look and the change.
It is never demanded (no 428): other systems often set what they mean, whatever was there before. The console sends it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from sqlalchemy.ext.asyncio import AsyncSession

from admin_api.common.context import FIRST, READING
from admin_api.common.errors import Refused

_CHANGES = frozenset({"PATCH", "PUT", "DELETE"})


def has_etag(path: str) -> bool:
    """Whether a GET of the path shows one row: it ends with the row's key."""
    return path.startswith("/api/") and path.endswith("}")


class Preconditions(ASGIMiddleware):
    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if scope["type"] == ScopeType.WEBSOCKET:
            await next_app(scope, receive, send)
        elif scope["method"] == "GET" and has_etag(scope["path_template"]):
            await _show(scope, receive, send, next_app)
        elif scope["method"] in _CHANGES and (wanted := _tags(scope, "if-match")):
            await _change(scope, receive, send, next_app, wanted)
        else:
            await next_app(scope, receive, send)


async def _show(scope: HTTPScope, receive: Receive, send: Send, app: ASGIApp) -> None:
    start, body = await _answer(app, scope, receive)
    if start["status"] == 200:
        headers = MutableScopeHeaders.from_message(start)
        headers["ETag"] = _etag(body)
        headers["Cache-Control"] = "private, no-cache"
        if {_etag(body), "*"} & _tags(scope, "if-none-match", weakly=True):
            start["status"], body = 304, b""
            for name in ("content-type", "content-length"):
                del headers[name]
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _change(scope: HTTPScope, receive: Receive, send: Send, app: ASGIApp, wanted: set[str]) -> None:
    handler, sight = _sight_of(scope)
    has_looked = False

    async def look(session: AsyncSession) -> None:
        nonlocal has_looked
        if has_looked:
            return  # what this request has changed itself since is no reason to refuse
        has_looked = True
        await session.connection()  # the writers' turn is taken from here on
        token = READING.set(session)
        try:
            start, body = await _answer(handler, sight, _nothing)
        finally:
            READING.reset(token)
        if start["status"] == 200 and not {_etag(body), "*"} & wanted:
            raise Refused("If-Match", "has been changed since it was read", 412, code="precondition_failed")

    token = FIRST.set((look, *FIRST.get()))
    try:
        await app(scope, receive, send)
    finally:
        FIRST.reset(token)


def _sight_of(scope: HTTPScope) -> tuple[ASGIApp, HTTPScope]:
    """What shows the row that is to be changed, and the request for it: as whoever asks, who is known by now."""
    path = scope["path_template"]
    for route in scope["litestar_app"].routes:
        if isinstance(route, HTTPRoute) and route.path_format == path and "GET" in route.methods and has_etag(path):
            sight: Any = {**scope, "method": "GET", "query_string": b"", "state": dict(scope["state"])}
            sight["headers"] = [(name, value) for name, value in scope["headers"] if not name.startswith(b"content-")]
            sight["route_handler"] = route.route_handler_map["GET"][0]
            return route.handle, sight  # type: ignore[return-value]  # an ASGI app of HTTP alone
    raise Refused("If-Match", "there is no single row to read at this path", 400, code="precondition.not_here")


async def _answer(app: ASGIApp, scope: HTTPScope, receive: Receive) -> tuple[Any, bytes]:
    """The whole of ``app``'s answer: its start and its body."""
    messages: list[Message] = []

    async def take(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, take)
    return messages[0], b"".join(message["body"] for message in messages if message["type"] == "http.response.body")


async def _nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _tags(scope: HTTPScope, header: str, *, weakly: bool = False) -> set[str]:
    """The tags of a header; ``weakly``: without regard to W/ (RFC 9110 §8.8.3.2)."""
    connection: ASGIConnection[Any, Any, Any, Any] = ASGIConnection(scope)
    tags = {tag.strip() for tag in connection.headers.get(header, "").split(",")} - {""}
    return {tag.removeprefix("W/") for tag in tags} if weakly else tags
