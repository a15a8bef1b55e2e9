"""The API's description (OpenAPI 3.1), made whole: what Litestar finds in handlers, and what holds for all of them.

An operation gets its problems, by what can go wrong with it, and each body and answer an example, put together from
the schemas: ``_EXAMPLES`` says what a field of a name looks like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from litestar import Litestar, Request
from litestar.openapi.plugins import JsonRenderPlugin

from admin_api.common.errors import CODES_OF_STATUSES, PROBLEM_JSON
from admin_api.common.idempotency import takes_key
from admin_api.common.language import CATALOGUES, Language
from admin_api.common.preconditions import has_etag

_DEPTH_MAX = 8
"""Of an example; what a schema holds below it is left out."""
_METHODS = ("get", "put", "post", "delete", "patch")
_LANGUAGE = {
    "name": "Accept-Language",
    "in": "header",
    "required": False,
    "description": "en or zh-CN: the language of problems. Without it English.",
    "schema": {"type": "string"},
}

_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Sent again within a day under the same key, the request is answered as before and done once.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,64}$"},
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "ETags of the row as it was read: 412 where it has been changed since.",
    "schema": {"type": "string"},
}
_IF_NONE_MATCH = {**_IF_MATCH, "name": "If-None-Match", "description": "ETags that are known: 304 without a body."}
_FILES = {
    "/cdr-export": ("text/csv", "application/vnd.apache.parquet"),
    "/metrics": ("text/plain",),
    "/statement.csv": ("text/csv",),
    "/statement.pdf": ("application/pdf",),
}
"""Ends of the paths whose answers are files, and not JSON."""
_NOTICES = "/payment-notices/"
_NOTICE_EXAMPLE = '{"reference":"0f3a…","trade":"T-1","amount_micro":100000000,"currency":"CNY","state":"paid"}'
"""Of the provider ``hmac``; the others' notices are as they describe them."""

_EXAMPLES: dict[str, Any] = {
    "a_number": "+8613800138001",
    "amount_micro": 100_000_000,
    "b_number": "+8613900139001",
    "caller": "主叫号码",
    "callee": "被叫号码",
    "code": "sales-1",
    "cursor": "WyJpZCIsMTAwXQ",
    "dial_prefix": "17909",
    "detail": "there is no such thing",
    "direction": "both",
    "duration": "通话时长",
    "host": "198.51.100.10",
    "login": "zhang.wei",
    "month": "2026-11",
    "name": "销售一部",
    "next": "WyJpZCIsMTAwXQ",
    "note": "bank transfer of 2026-11-02",
    "number": "+861088880001",
    "password": "correct horse battery staple",
    "phone": "+8613800138001",
    "reason": "asked for by the customer",
    "reference": "4200001234202611021234567890",
    "start": "开始时间",
    "url": "https://crm.example.com/hooks/axbridge",
    "x_number": "+861088880001",
    "zone": "Asia/Shanghai",
}
"""What a field looks like, by its name; others by their type."""
_FOR_PATTERNS = ("123456", "0", "2026-11", "0" * 32, "0" * 64)
_TIME_MS = 1_793_505_600_000


class WholeDescription(JsonRenderPlugin):
    """Serves the description that ``complete`` has made of Litestar's."""

    def __init__(self) -> None:
        super().__init__()
        self._whole: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._whole is None:
            self._whole = super().render(request, complete(request.app, openapi_schema))
        return self._whole


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation) of each operation of ``document``."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def complete(_app: Litestar, document: dict[str, Any]) -> dict[str, Any]:
    """``document`` with problems and examples; it is changed in place."""
    _standard_patterns(document)
    schemas = document["components"].setdefault("schemas", {})
    schemas["ProblemDetails"] = _problem_schema()
    document["components"]["responses"] = {
        str(status): _problem_response(status) for status in sorted(CODES_OF_STATUSES) if status != 500
    }
    for path, method, operation in operations(document):
        for status in _problems_of(path, method, operation):
            operation["responses"][str(status)] = {"$ref": f"#/components/responses/{status}"}
        operation.setdefault("parameters", []).append(_LANGUAGE)
        if takes_key(method.upper(), path):
            operation["parameters"].append(_IDEMPOTENCY)
        if has_etag(path) and "get" in document["paths"][path]:
            operation["parameters"].append(_IF_NONE_MATCH if method == "get" else _IF_MATCH)
            if method == "get":
                operation["responses"]["304"] = {"description": "As it was when it was read."}
        for end, media_types in _FILES.items():
            if path.endswith(end):
                file = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
                operation["responses"]["200"]["content"] = dict.fromkeys(media_types, file)
        if path.startswith(_NOTICES):
            _describe_notice(operation)
        for media_type, content in _contents(operation):
            if "json" in media_type and "schema" in content:
                content["example"] = example_of(content["schema"], schemas)
    return document


def _describe_notice(operation: dict[str, Any]) -> None:
    text = {"schema": {"type": "string"}}
    body = {"schema": {"type": "string"}, "example": _NOTICE_EXAMPLE}
    media_types = ("application/octet-stream", "application/x-www-form-urlencoded")
    operation["requestBody"] = {"required": True, "content": dict.fromkeys(media_types, body)}
    # What the provider wants to hear, in the form that it wants: it reads nothing of ours.
    words = {"200": "Taken, or taken before.", "400": "Not believed.", "409": "Genuine, and fits no recharge."}
    for status, description in words.items():
        content = {"text/plain": text, "application/json": {"schema": {}, "example": {"accepted": status == "200"}}}
        operation["responses"][status] = {"description": description, "content": content}


def _problems_of(path: str, method: str, operation: dict[str, Any]) -> list[int]:
    statuses = [400, 429, 502, 503] if path.startswith("/api") else [400, 503]
    if operation.get("security") != [{}]:
        statuses += [401, 403]
    if "{" in path:
        statuses += [404]
    if path.endswith("/recording") or path.startswith("/recordings"):
        statuses += [410, 416]
    if method != "get":
        statuses += [404, 409, 412]
    if "requestBody" in operation:
        statuses += [413, 415]
    return [*statuses, 422]


def _problem_response(status: int) -> dict[str, Any]:
    code, english = CODES_OF_STATUSES[status], CATALOGUES[Language.ENGLISH]
    example = {"title": english.titles[status], "status": status, "code": code, "detail": english.details[code]}
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {"description": english.titles[status], "content": {PROBLEM_JSON: {"schema": schema, "example": example}}}


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    field_error = {"type": "object", "properties": {"field": text, "reason": text}, "required": ["field", "reason"]}
    return {
        "title": "ProblemDetails",
        "description": "RFC 9457; `code` is for machines, and `allowed` what could be asked for in this state.",
        "type": "object",
        "properties": {
            "title": text,
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": sorted(CATALOGUES[Language.ENGLISH].details)},
            "detail": text,
            "errors": {"type": "array", "items": field_error},
            "allowed": {"type": "array", "items": text},
        },
        "required": ["title", "status", "code"],
    }


def _contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The media types of the body and of the good answers."""
    yield from operation.get("requestBody", {}).get("content", {}).items()
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            yield from response.get("content", {}).items()


def example_of(schema: dict[str, Any], schemas: dict[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that ``schema`` allows, as a field called ``name`` would have it."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas, name, depth + 1)
    for given in ("const", "default"):
        if schema.get(given) is not None:
            return schema[given]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            some = [one for one in schema[choice] if one.get("type") != "null"]
            return example_of(some[0], schemas, name, depth)
    kinds = schema.get("type", "object")
    kind = next((one for one in kinds if one != "null"), "null") if isinstance(kinds, list) else kinds
    match kind:
        case "object":
            return _object(schema, schemas, depth)
        case "array":
            return [] if depth > _DEPTH_MAX else [example_of(schema.get("items", {}), schemas, name, depth + 1)]
        case "integer" | "number":
            return _integer(schema, name)
        case "boolean":
            return True
        case "string":
            return _text(schema, name)
    return None


def _object(schema: dict[str, Any], schemas: dict[str, Any], depth: int) -> dict[str, Any]:
    if depth > _DEPTH_MAX:
        return {}
    properties = schema.get("properties", {})
    return {name: example_of(of, schemas, name, depth + 1) for name, of in properties.items()}


def _integer(schema: dict[str, Any], name: str) -> int:
    usual = _EXAMPLES.get(name)
    value = usual if isinstance(usual, int) else _TIME_MS if name.endswith("at_ms") else 1
    return int(min(max(value, schema.get("minimum", value)), schema.get("maximum", value)))


def _text(schema: dict[str, Any], name: str) -> str:
    usual = _EXAMPLES.get(name)
    pattern = schema.get("pattern", "")
    for value in (usual if isinstance(usual, str) else "example", *_FOR_PATTERNS):
        fitting = value[: schema.get("maxLength", len(value))].ljust(schema.get("minLength", 0), "0")
        if re.search(pattern, fitting):
            return fitting
    raise ValueError(f"no example of {name} fits {pattern!r}: add one to _FOR_PATTERNS")


def _standard_patterns(part: Any) -> None:
    """Python's end of a text is none in a JSON schema, whose patterns are ECMA-262's: there ``$`` is the very end."""
    if isinstance(part, dict):
        if isinstance(part.get("pattern"), str):
            part["pattern"] = part["pattern"].replace("\\Z", "$")
        for value in part.values():
            _standard_patterns(value)
    elif isinstance(part, list):
        for value in part:
            _standard_patterns(value)
