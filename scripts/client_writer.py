"""Writes a Python client from the OpenAPI document: a function for each operation, a TypedDict for each schema.

The client needs httpx alone. The same document gives the same text, so that a diff shows what changed in the API.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
from typing import Any

_METHODS = ("get", "put", "post", "delete", "patch")
_HEADERS = {"Idempotency-Key": "idempotency_key", "If-Match": "if_match"}
_JSON = ("application/json",)
_SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}

_HEAD = '''"""A client of axbridge's API {version}, written by scripts/client from its OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

import httpx


class ProblemError(Exception):
    """What the API refused: ``code`` says to machines why, ``problem`` is the whole answer (RFC 9457)."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{{problem.get('status')}} {{problem.get('code')}}: {{problem.get('detail', '')}}")
        self.problem = problem
        self.code: str = problem.get("code", "")
        self.status: int = problem.get("status", 0)


class Client:
    """``http`` has the base URL; ``token`` is an access token or an API key, and may be set anew."""

    def __init__(self, http: httpx.Client, token: str = "") -> None:
        self.http = http
        self.token = token

    def _ask(self, method: str, path: str, query: dict[str, Any], headers: dict[str, Any], body: Any = None) -> Any:
        if self.token:
            headers["Authorization"] = f"Bearer {{self.token}}"
        answer = self.http.request(
            method,
            path,
            params={{name: value for name, value in query.items() if value is not None}},
            headers={{name: value for name, value in headers.items() if value is not None}},
            json=body,
        )
        kind = answer.headers.get("content-type", "")
        if not answer.is_success:
            raise ProblemError(answer.json() if "json" in kind else {{"status": answer.status_code}})
        if not answer.content:
            return None
        return answer.json() if kind.startswith("application/json") else answer.content
'''


def write_client(document: dict[str, Any]) -> str:
    """The text of a module."""
    parts = [_HEAD.format(version=document["info"]["version"])]
    for path, item in document["paths"].items():
        parts += [_function(path, method, item[method]) for method in _METHODS if _is_for_clients(item.get(method))]
    schemas = document["components"]["schemas"]
    parts += [_type(name, schemas[name]) for name in sorted(schemas)]
    return "\n".join(parts)


def _is_for_clients(operation: dict[str, Any] | None) -> bool:
    """What takes a body other than JSON is for payment providers, who sign it."""
    return operation is not None and "application/json" in operation.get("requestBody", {}).get("content", _JSON)


def _function(path: str, method: str, operation: dict[str, Any]) -> str:
    required = ["self"]
    optional: list[str] = []
    query: list[str] = []
    headers: list[str] = []
    for parameter in operation.get("parameters", ()):
        name, place = parameter["name"], parameter["in"]
        if place == "header" and name not in _HEADERS:
            continue
        argument = _HEADERS.get(name) or _identifier(name)
        hint = _hint(parameter["schema"])
        if place == "path" or (place == "query" and parameter.get("required")):
            required.append(f"{argument}: {hint}")
        else:
            optional.append(f"{argument}: {hint} | None = None")
        if place != "path":
            (query if place == "query" else headers).append(f'"{name}": {argument}')
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        required.append(f"data: {_hint(body['schema'])}")
    arguments = ", ".join([*required, *(["*", *optional] if optional else [])])
    good: dict[str, Any] = next(
        (answer for status, answer in operation["responses"].items() if status.startswith("2")), {}
    )
    answers = _hint(content["schema"]) if (content := good.get("content", {}).get("application/json")) else "Any"
    place = re.sub(r"\{(\w+)\}", lambda match: "{" + _identifier(match[1]) + "}", path)
    call = f'self._ask("{method.upper()}", f"{place}", {{{", ".join(query)}}}, {{{", ".join(headers)}}}'
    call += ", data)" if body is not None else ")"
    name = _identifier(re.sub(r"(?<!^)(?=[A-Z])", "_", operation["operationId"]).lower().removeprefix("api_"))
    summary = operation.get("summary", "").replace("\\", "").replace('"', "'")
    return f'    def {name}({arguments}) -> {answers}:\n        """{summary}"""\n        return {call}\n'


def _type(name: str, schema: dict[str, Any]) -> str:
    properties = schema.get("properties")
    if not properties or any(keyword.iskeyword(field) for field in properties):
        return f"{_identifier(name)} = {_hint(schema) if 'enum' in schema else 'dict[str, Any]'}\n"
    required = schema.get("required", ())
    lines = [f"class {_identifier(name)}(TypedDict):"]
    for field, of in properties.items():
        hint = _hint(of)
        lines.append(f"    {field}: {hint if field in required else f'NotRequired[{hint}]'}")
    return "\n".join([*lines, ""])


def _hint(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _identifier(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return f"Literal[{', '.join(repr(value) for value in schema['enum'])}]"
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return " | ".join(dict.fromkeys(_hint(one) for one in schema[choice]))
    kinds = schema.get("type", "object")
    hints = [_of_kind(kind, schema) for kind in (kinds if isinstance(kinds, list) else [kinds])]
    return " | ".join(dict.fromkeys(hints))


def _of_kind(kind: str, schema: dict[str, Any]) -> str:
    if kind == "array":
        return f"list[{_hint(schema['items'])}]" if schema.get("items") else "list[Any]"
    return _SIMPLE.get(kind, "dict[str, Any]")


def _identifier(text: str) -> str:
    name = re.sub(r"\W+", "_", text).strip("_")
    return f"{name}_" if keyword.iskeyword(name) else name


if __name__ == "__main__":
    sys.stdout.write(write_client(json.load(sys.stdin)))
