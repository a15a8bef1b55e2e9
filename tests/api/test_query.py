"""A query parameter that an operation does not name is refused, whoever asks and whatever for."""

import json
import re
from collections.abc import Iterator

import pytest
from litestar.datastructures import State
from litestar.routes import HTTPRoute

from admin_api.common.description import operations
from admin_api.common.query import KNOWN, NAME_LENGTH_MAX
from admin_api.main import create_app
from scripts.api_document import read_document

from .conftest import World

_ASKERS = {"/api/tenant": "tenant1", "/api/agent": "agent1"}
"""Others are asked by the platform, or by anybody."""


def _routes() -> Iterator[tuple[str, str, frozenset[str]]]:
    """(method, path as the description writes it, names that it knows) of each route that there is."""
    for route in create_app(State()).routes:
        assert isinstance(route, HTTPRoute), "query parameters of other routes are nobody's to refuse yet"
        for method, (handler, _) in route.route_handler_map.items():
            if method != "OPTIONS":
                yield method, route.path_format, handler.opt[KNOWN]


ROUTES = sorted(_routes())


def test_the_description_says_other_names_than_the_operation_knows() -> None:
    described = {
        (method.upper(), path): {each["name"] for each in operation["parameters"] if each["in"] == "query"}
        for path, method, operation in operations(json.loads(read_document()))
    }
    assert len(described) > 150
    known = {(method, path): names for method, path, names in ROUTES}
    assert described == {operation: known[operation] for operation in described}


async def test_a_route_takes_a_mistyped_parameter(world: World) -> None:
    assert len(ROUTES) > 150
    for method, path, known in ROUTES:
        who = _ASKERS.get("/".join(path.split("/")[:3]), "platform")
        answer = await world.ask(who, method, re.sub(r"\{\w+\}", "1", path) + "?colour=red")
        assert answer.status_code == 400, (method, path, answer.text)
        if method == "HEAD":
            continue
        assert answer.headers["content-type"] == "application/problem+json", path
        problem = answer.json()
        assert (problem["code"], problem["errors"][0]["field"]) == ("query.unknown", "colour"), path
        assert problem.get("allowed", []) == sorted(known), path


async def test_a_known_parameter_hides_the_mistyped_one(world: World) -> None:
    answer = await world.ask("tenant1", "GET", "/api/tenant/cdrs?limit=5&state=ended&from=1")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "from")
    assert "from_ms" in answer.json()["errors"][0]["reason"]
    chinese = await world.ask("tenant1", "GET", "/api/tenant/cdrs?from=1", headers={"Accept-Language": "zh-CN"})
    assert (chinese.json()["errors"][0]["field"], chinese.json()["detail"]) == ("from", "该操作不支持此查询参数。")


async def test_one_of_two_values_counts(world: World) -> None:
    for query in ("state=ended&state=ringing", "limit=5&limit=5", "state=&state="):
        answer = await world.ask("tenant1", "GET", f"/api/tenant/cdrs?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "query.repeated"), query
        assert answer.json()["errors"][0]["field"] == query.partition("=")[0]
    chinese = await world.ask(
        "tenant1", "GET", "/api/tenant/cdrs?limit=5&limit=6", headers={"Accept-Language": "zh-CN"}
    )
    assert chinese.json()["detail"] == "查询参数重复。"


async def test_a_change_is_made_under_a_mistyped_parameter(world: World) -> None:
    path = "/api/platform/tenants/1"
    assert (await world.ask("platform", "PATCH", f"{path}?dry_run=1", json={"name": "New"})).status_code == 400
    assert (await world.ask("platform", "GET", path)).json()["name"] == "Tenant 1"


@pytest.mark.parametrize("query", ["=", "%00=1", "&&x", "limit[]=1", "a" * 5000, "limit=1&%E9%99%90=1"])
async def test_a_name_is_none(world: World, query: str) -> None:
    answer = await world.ask("platform", "GET", f"/api/platform/tenants?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "query.unknown"), answer.text
    assert len(answer.json()["errors"][0]["field"]) <= NAME_LENGTH_MAX


async def test_who_has_no_token_is_told_of_parameters(world: World) -> None:
    assert (await world.ask(None, "GET", "/api/platform/tenants?colour=red")).status_code == 401
