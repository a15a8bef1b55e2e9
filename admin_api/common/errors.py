"""Errors as problem+json (RFC 9457): one shape for all, and nothing of ours inside."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from traceback import extract_tb
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException, ValidationException
from litestar.types import ExceptionHandlersMap
from sqlalchemy.exc import IntegrityError

from admin_api.common.language import CATALOGUES, Language, wished
from engine.domain.refusal import NotNow, NotThere, Refusal
from engine.runtime.control.client import EngineUnavailable
from engine.services.lines.bindings import BindingConflict, BindingNotFound, BindingRefused
from engine.services.lines.numbers import OwnerNotFound, XNumberInUse, XNumberNotFound
from engine.services.money.accounts import OverdraftInUse
from engine.store.database import taken_columns
from engine.store.money.ledger_store import KeyReused, UnknownTenant

FRAMES_LOGGED_MAX = 12
PROBLEM_JSON = "application/problem+json"

_IN_BODY = re.compile(r"(?P<reason>.*) - at `\$\.data\.(?P<field>.+)`", re.DOTALL)
"""msgspec's words for what is wrong in a body."""

_log = structlog.get_logger(__name__)


class FieldError(msgspec.Struct):
    field: str
    reason: str


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """RFC 9457 §3.1, with members of ours: ``code`` for machines, ``errors`` for fields, and where something is in a
    wrong state, what is ``allowed`` instead. The words are in the language that was asked for, the codes are not."""

    title: str
    status: int
    code: str
    detail: str = ""
    errors: list[FieldError] = []
    allowed: list[str] = []


class Refused(Exception):
    """The request is well formed and cannot be done: ``field`` says what of it, and ``reason`` why."""

    def __init__(
        self, field: str, reason: str, status: int = 422, *, code: str = "", allowed: Iterable[str] = ()
    ) -> None:
        super().__init__(f"{field}: {reason}")
        self.allowed = tuple(allowed)
        self.field = field
        self.reason = reason
        self.status = status
        self.code = code


class EngineRefused(Exception):
    """The engine did not do what it was asked."""


CODES_OF_STATUSES = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "state.conflict",
    410: "gone",
    412: "precondition_failed",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "value.refused",
    429: "too_many_requests",
    500: "internal",
    502: "engine.refused",
    503: "unavailable",
}
"""The code of a problem that names none of its own."""


def problem(
    status: int,
    detail: str = "",
    errors: list[FieldError] | None = None,
    headers: dict[str, str] | None = None,
    *,
    code: str = "",
    allowed: Iterable[str] = (),
) -> Response[ProblemDetails]:
    title = CATALOGUES[Language.ENGLISH].titles.get(status, "Error")
    code = code or CODES_OF_STATUSES.get(status, "bad_request" if status < 500 else "internal")
    body = ProblemDetails(title, status, code, detail, errors or [], list(allowed))
    return Response(body, status_code=status, media_type=PROBLEM_JSON, headers=headers)


def said(request: Request[Any, Any, Any], response: Response[ProblemDetails]) -> Response[ProblemDetails]:
    """``response`` in the language of the request. English keeps the words of whoever refused: they say more."""
    language = wished(request.headers.get("accept-language", ""))
    response.headers |= {"Content-Language": language.value, "Vary": "Accept-Language"}
    if language is not Language.ENGLISH:
        catalogue, body = CATALOGUES[language], response.content
        body.title = catalogue.titles.get(body.status, body.title)
        body.detail = catalogue.details.get(body.code, body.detail)
        for error in body.errors:
            error.reason = body.detail
    return response


_Asked = Request[Any, Any, Any]
_Handler = Callable[[_Asked, Any], Response[ProblemDetails]]


def _http(_request: _Asked, error: HTTPException) -> Response[ProblemDetails]:
    if error.status_code >= 500:
        return problem(error.status_code)
    return problem(error.status_code, error.detail, headers=dict(error.headers) if error.headers else None)


def _misread(request: _Asked, error: InternalServerException) -> Response[ProblemDetails]:
    """Litestar holds a field of the body for ours, and its fault too, where a dependency is named so (``audience``)."""
    found = _IN_BODY.fullmatch(str(error.__cause__)) if isinstance(error.__cause__, msgspec.ValidationError) else None
    if found is None:
        return _http(request, error)
    field = FieldError(found["field"], found["reason"][:300])
    return problem(400, "the request has values that cannot be taken", [field], code="value.invalid")


def _validation(_request: _Asked, error: ValidationException) -> Response[ProblemDetails]:
    errors = []
    for extra in error.extra if isinstance(error.extra, list) else []:
        if isinstance(extra, dict):
            errors.append(FieldError(str(extra.get("key") or "body"), str(extra.get("message", ""))[:300]))
    return problem(400, "the request has values that cannot be taken", errors, code="value.invalid")


def _refused(_request: _Asked, error: Refused) -> Response[ProblemDetails]:
    code = error.code or ("value.invalid" if error.status == 400 else "")
    errors = [FieldError(error.field, error.reason)]
    return problem(error.status, error.reason, errors, code=code, allowed=error.allowed)


def _refusal(_request: _Asked, error: Refusal) -> Response[ProblemDetails]:
    errors = [FieldError(field, reason) for field, reason in ((error.field, error.reason), *error.more)]
    if isinstance(error, NotNow):
        return problem(409, error.reason, errors, code=error.code, allowed=error.allowed)
    return problem(422, error.reason, errors, code=error.code)


def _binding_refused(_request: _Asked, error: BindingRefused) -> Response[ProblemDetails]:
    errors = [FieldError(error.field, error.reason)]
    if isinstance(error, BindingConflict):
        return problem(409, error.reason, errors, code="binding.conflict")
    return problem(422, error.reason, errors, code="binding.refused")


def _integrity(_request: _Asked, error: IntegrityError) -> Response[ProblemDetails]:
    """What the database refused. Its message names columns and never values."""
    if taken := taken_columns(error):
        return problem(409, "is taken", [FieldError(field, "is taken") for field in taken], code="value.taken")
    words = "refers to something that is not there, or breaks a rule of the database"
    return problem(422, words, code="reference.unknown")


def _not_found(_request: _Asked, _error: Exception) -> Response[ProblemDetails]:
    return problem(404, "there is no such thing")


def _conflict(_request: _Asked, error: Exception) -> Response[ProblemDetails]:
    match error:
        case OverdraftInUse():
            return problem(409, "more than that is owed", code="overdraft.in_use")
        case XNumberInUse():
            return problem(409, "there are live bindings on the number", code="number.in_use")
        case _:
            errors = [FieldError("key", "was used before")]
            return problem(409, "the key was used before, for another amount", errors, code="ledger.key_reused")


def _owner(_request: _Asked, error: OwnerNotFound) -> Response[ProblemDetails]:
    return problem(422, "is not known", [FieldError(error.field, "is not known")], code="owner.unknown")


def _engine(_request: _Asked, error: Exception) -> Response[ProblemDetails]:
    if isinstance(error, EngineUnavailable):
        return problem(503, "the engine does not answer", headers={"Retry-After": "2"})
    return problem(502, str(error)[:300])


def _too_deep(_request: _Asked, _error: RecursionError) -> Response[ProblemDetails]:
    # msgspec's answer to a body of ten thousand brackets; nothing of ours recurses.
    return problem(400, "is nested too deeply", code="nested_too_deeply")


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


_HANDLERS: dict[type[Exception], _Handler] = {
    HTTPException: _http,
    InternalServerException: _misread,
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


def _speaking(handler: _Handler) -> _Handler:
    return lambda request, error: said(request, handler(request, error))


EXCEPTION_HANDLERS: ExceptionHandlersMap = {error: _speaking(handler) for error, handler in _HANDLERS.items()}
