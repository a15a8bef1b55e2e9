"""Errors as problem+json (RFC 9457): one shape for all, and nothing of ours inside."""

from __future__ import annotations

from collections.abc import Iterable
from traceback import extract_tb
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap
from sqlalchemy.exc import IntegrityError

from engine.domain.refusal import NotNow, NotThere, Refusal
from engine.runtime.control.client import EngineUnavailable
from engine.services.accounts import OverdraftInUse
from engine.services.bindings import BindingConflict, BindingNotFound, BindingRefused
from engine.services.numbers import OwnerNotFound, XNumberInUse, XNumberNotFound
from engine.store.database import taken_columns
from engine.store.ledger_store import KeyReused, UnknownTenant

FRAMES_LOGGED_MAX = 12
PROBLEM_JSON = "application/problem+json"

_log = structlog.get_logger(__name__)


class FieldError(msgspec.Struct):
    field: str
    reason: str


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """RFC 9457 §3.1, with members of ours: ``errors`` for fields, ``code`` for machines, and where something is in a
    wrong state, what is ``allowed`` instead."""

    title: str
    status: int
    detail: str = ""
    errors: list[FieldError] = []
    code: str = ""
    allowed: list[str] = []


class Refused(Exception):
    """The request is well formed and cannot be done: ``field`` says what of it, and ``reason`` why."""

    def __init__(self, field: str, reason: str, status: int = 422) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
        self.status = status


class EngineRefused(Exception):
    """The engine did not do what it was asked."""


_TITLES = {
    400: "Bad request",
    401: "Not logged in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    410: "Gone",
    413: "Too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    422: "Cannot be done",
    429: "Too many attempts",
    500: "Internal error",
    502: "The engine refused",
    503: "The engine is away",
}


def problem(
    status: int,
    detail: str = "",
    errors: list[FieldError] | None = None,
    headers: dict[str, str] | None = None,
    *,
    code: str = "",
    allowed: Iterable[str] = (),
) -> Response[ProblemDetails]:
    title = _TITLES.get(status, "Error")
    body = ProblemDetails(title, status, detail, errors or [], code, list(allowed))
    return Response(body, status_code=status, media_type=PROBLEM_JSON, headers=headers)


_Asked = Request[Any, Any, Any]


def _http(_request: _Asked, error: HTTPException) -> Response[ProblemDetails]:
    if error.status_code >= 500:
        return problem(error.status_code)
    return problem(error.status_code, error.detail, headers=dict(error.headers) if error.headers else None)


def _validation(_request: _Asked, error: ValidationException) -> Response[ProblemDetails]:
    errors = []
    for extra in error.extra if isinstance(error.extra, list) else []:
        if isinstance(extra, dict):
            errors.append(FieldError(str(extra.get("key") or "body"), str(extra.get("message", ""))[:300]))
    return problem(400, "the request has values that cannot be taken", errors)


def _refused(_request: _Asked, error: Refused) -> Response[ProblemDetails]:
    return problem(error.status, error.reason, [FieldError(error.field, error.reason)])


def _refusal(_request: _Asked, error: Refusal) -> Response[ProblemDetails]:
    errors = [FieldError(field, reason) for field, reason in ((error.field, error.reason), *error.more)]
    if isinstance(error, NotNow):
        return problem(409, error.reason, errors, code=error.code, allowed=error.allowed)
    return problem(422, error.reason, errors, code=error.code)


def _binding_refused(_request: _Asked, error: BindingRefused) -> Response[ProblemDetails]:
    status = 409 if isinstance(error, BindingConflict) else 422
    return problem(status, error.reason, [FieldError(error.field, error.reason)])


def _integrity(_request: _Asked, error: IntegrityError) -> Response[ProblemDetails]:
    """What the database refused. Its message names columns and never values."""
    if taken := taken_columns(error):
        return problem(409, "is taken", [FieldError(field, "is taken") for field in taken])
    return problem(422, "refers to something that is not there, or breaks a rule of the database")


def _not_found(_request: _Asked, _error: Exception) -> Response[ProblemDetails]:
    return problem(404, "there is no such thing")


def _conflict(_request: _Asked, error: Exception) -> Response[ProblemDetails]:
    match error:
        case OverdraftInUse():
            return problem(409, "more than that is owed", [])
        case XNumberInUse():
            return problem(409, "there are live bindings on the number")
        case _:
            return problem(409, "the key was used before, for another amount", [FieldError("key", "was used before")])


def _owner(_request: _Asked, error: OwnerNotFound) -> Response[ProblemDetails]:
    return problem(422, "is not known", [FieldError(error.field, "is not known")])


def _engine(_request: _Asked, error: Exception) -> Response[ProblemDetails]:
    if isinstance(error, EngineUnavailable):
        return problem(503, "the engine does not answer", headers={"Retry-After": "2"})
    return problem(502, str(error)[:300])


def _too_deep(_request: _Asked, _error: RecursionError) -> Response[ProblemDetails]:
    # msgspec's answer to a body of ten thousand brackets; nothing of ours recurses.
    return problem(400, "is nested too deeply")


def _ours(request: _Asked, error: Exception) -> Response[ProblemDetails]:
    # Not the path, nor the message: either could hold a number. The handler's name and the frames say enough.
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]
    handler = request.scope.get("route_handler")
    _log.error(
        "request_failed",
        method=request.method,
        handler=str(handler),
        error=type(error).__name__,
        frames=frames[-FRAMES_LOGGED_MAX:],
    )
    return problem(500)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    HTTPException: _http,
    ValidationException: _validation,
    Refused: _refused,
    Refusal: _refusal,
    NotThere: _not_found,
    BindingRefused: _binding_refused,
    BindingNotFound: _not_found,
    XNumberNotFound: _not_found,
    UnknownTenant: _not_found,
    OwnerNotFound: _owner,
    OverdraftInUse: _conflict,
    XNumberInUse: _conflict,
    KeyReused: _conflict,
    IntegrityError: _integrity,
    EngineUnavailable: _engine,
    EngineRefused: _engine,
    RecursionError: _too_deep,
    Exception: _ours,
}
