"""Whatever is sent, nothing is answered with a 500."""

import itertools
import json
import re
from typing import Any

import pytest

from .conftest import World
from .test_isolation import CASES, Case

HUGE = 2**63
ODD_TYPES: tuple[Any, ...] = (None, True, 1.5, "", [], [None], {}, {"a": 1})
"""Taken or refused before a database is asked: once is enough."""
ODD_VALUES: tuple[Any, ...] = (-1, 0, HUGE, "x" * 5000, "\0", "é\u2028")
OF_ALL_LISTS = {"sort", "cursor", "limit"}
"""Parameters of one mechanism, which ``test_lists`` asks wrongly of each list."""


def _name(case: Case) -> str:
    return f"{case.method} {case.route}"


def _bodies(case: Case, odd: tuple[Any, ...]) -> list[Any]:
    """The case's body with each field odd in each way, left out, and one that is not known."""
    body = case.body or {}
    bodies: list[Any] = [[], None, 1, "x", {**body, "unknown": 1}]
    for name in body:
        bodies += [{**body, name: value} for value in odd]
        bodies.append({other: value for other, value in body.items() if other != name})
    return bodies


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.body is not None], ids=lambda case: f"{case.method} {case.route}"
)
async def test_a_body_breaks_the_server(world: World, case: Case) -> None:
    odd = ODD_VALUES if "postgresql" in world.settings.database_url else ODD_TYPES + ODD_VALUES
    for body in _bodies(case, odd):
        answer = await world.ask(case.owner, case.method, case.path, json=body)
        assert answer.status_code in (200, 201, 202, 400, 404, 409, 422), (body, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize(
    "case", [case for case in CASES if "{" in case.route], ids=lambda case: f"{case.method} {case.route}"
)
async def test_a_path_breaks_the_server(world: World, case: Case) -> None:
    given, pattern = case.path.split("/"), case.route.split("/")
    index = next(index for index, part in enumerate(pattern) if part.startswith("{"))
    for odd in ("0", "-1", str(HUGE), "9" * 400, "nobody", "x" * 300, "%00", "%ff", "..%2f..", "a'b", "1e3"):
        path = "/".join([*given[:index], odd, *given[index + 1 :]])
        answer = await world.ask(case.owner, case.method, path, json=case.body)
        assert answer.status_code in (400, 404, 405), (odd, answer.status_code, answer.text)


def _query_names(world: World, case: Case) -> list[str]:
    """What the route takes by its own description; one that it does not know where it takes nothing."""
    described = (world.app.openapi_schema.paths or {})[re.sub(r":\w+}", "}", case.route)].get
    assert described is not None
    names = {each.name for each in described.parameters or () if getattr(each, "param_in", "") == "query"}
    return sorted(names - OF_ALL_LISTS) or ["unknown"]


@pytest.mark.parametrize("case", [case for case in CASES if case.method == "GET"], ids=lambda case: case.route)
async def test_a_query_breaks_the_server(world: World, case: Case) -> None:
    values = (
        "",
        "0",
        "-1",
        str(HUGE),
        "9" * 400,
        "x",
        "x" * 300,
        "%00",
        "%ff",
        "1.5",
        "null",
        "1-",
        "99999999999999999-a",
    )
    for name, value in itertools.product(_query_names(world, case), values):
        answer = await world.ask(case.owner, "GET", f"{case.path}?{name}={value}")
        assert answer.status_code in (200, 400, 422), (name, value, answer.text)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"code":' + b"9" * 10_000, b'"\\ud800"'])
async def test_a_body_is_no_json(world: World, content: bytes) -> None:
    for headers in ({"Content-Type": "application/json"}, {"Content-Type": "text/plain"}, {}):
        answer = await world.ask("platform", "POST", "/api/platform/tenants", content=content, headers=headers)
        assert answer.status_code in (400, 415), answer.text


async def test_a_body_is_endless(world: World) -> None:
    body = json.dumps({"code": "x", "name": "x" * 2_000_000})
    answer = await world.ask("platform", "POST", "/api/platform/tenants", content=body)
    assert answer.status_code == 413


async def test_a_field_that_is_wrong_is_not_named(world: World) -> None:
    answer = await world.ask(
        "platform", "POST", "/api/platform/rates", json={"code": "x", "name": "x", "per_minute_micro": "0.1"}
    )
    assert answer.json() == {
        "title": "Bad request",
        "status": 400,
        "code": "value.invalid",
        "detail": "the request has values that cannot be taken",
        "errors": [{"field": "per_minute_micro", "reason": "Expected `int`, got `str`"}],
    }
    role = {"audience": "nobody", "name": "N", "permissions": []}
    answer = await world.ask("platform", "POST", "/api/platform/roles", json=role)
    assert answer.json()["errors"] == [{"field": "audience", "reason": "Invalid enum value 'nobody'"}]
    answer = await world.ask("platform", "GET", "/api/platform/cdrs?limit=501")
    assert answer.json()["errors"][0]["field"] == "limit"


async def test_an_error_of_ours_is_shown(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(_command: Any) -> Any:
        raise RuntimeError("+8613800138001")

    monkeypatch.setattr(world.control, "ask", fail)
    answer = await world.ask("platform", "GET", "/api/platform/live-calls")
    assert (answer.status_code, answer.json()) == (500, {"title": "Internal error", "status": 500, "code": "internal"})
    log = capsys.readouterr()
    assert "RuntimeError" in log.out + log.err
    assert "13800138001" not in log.out + log.err


async def test_nothing_is_there(world: World) -> None:
    for path in ("/", "/api", "/api/platform/none", "/api/tenants"):
        answer = await world.ask("platform", "GET", path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert (await world.ask("platform", "DELETE", "/api/platform/tenants")).status_code == 405
