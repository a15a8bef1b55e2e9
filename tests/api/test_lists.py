"""Every list of the OpenAPI document has the same paging and sorting, and does what it says of it."""

import base64
import json
from typing import Any

import pytest

from admin_api.common.description import operations
from scripts.api_document import read_document

from .conftest import NOW_MS, World
from .test_isolation import CASES

REPORTS = {
    # Of a bounded period, and whole: there is nothing to page.
    "/api/platform/agents/{agent_id}/performance",
    "/api/tenant/agents/{agent_id}/performance",
    "/api/platform/tenants/{tenant_id}/spending",
    "/api/tenant/spending",
    "/api/platform/lines/{line_id}/number-advice",
}


DOCUMENT: dict[str, Any] = {}


def _items(operation: dict[str, Any]) -> bool:
    """Whether the operation's answer holds items."""
    schema = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return "items" in schema.get("properties", {})


def _lists() -> dict[str, dict[str, Any]]:
    """The parameters of each list, by name, by its path."""
    if not DOCUMENT:
        DOCUMENT.update(json.loads(read_document()))
    return {
        path: {parameter["name"]: parameter for parameter in operation.get("parameters", [])}
        for path, method, operation in operations(DOCUMENT)
        if method == "get" and _items(operation) and path not in REPORTS
    }


LISTS = _lists()
_PATHS = {
    case.route.replace(":int", "").replace(":str", ""): (case.owner, case.path)
    for case in CASES
    if case.method == "GET"
}


FILTERED = ("tenant_id", "agent_id", "kind", "state", "status")
"""What a list that shows it can be asked for."""
UNFILTERED = {
    "accounts": {"tenant_id"},  # a tenant's own is read at /tenants/{id}/account
    "agents/performance": {"agent_id"},  # figures of everybody; one agent's are read at /agents/{id}/performance
    "carriers/{carrier_id}/tenants": {"tenant_id"},  # of one thing, a handful
    "lines/{line_id}/tenants": {"tenant_id"},
    "agents/{agent_id}/sip-accounts": {"status"},  # likewise
    "lines": {"status"},  # tenants' and agents': those that they have numbers of
    "live-calls": {"tenant_id", "agent_id", "state"},  # the engine's, and gone with the next look
    "orders/{order_id}/history": {"state"},
    "packages/{package_id}/versions": {"tenant_id"},
    "spend-caps": {"agent_id"},
    "webhooks": {"status"},
    "x-numbers": {"status"},  # told by ``state``
    "x-numbers/{x_number_id}/history": {"tenant_id", "kind"},
}
TIMES = {
    "audit": "at_ms",
    "bindings": "created_at_ms",
    "cdrs": "started_at_ms",
    "ledger": "created_at_ms",
    "legal-holds": "placed_at_ms",
    "money-events": "at_ms",
    "offboardings": "applied_at_ms",
    "orders": "created_at_ms",
    "recharges": "created_at_ms",
    "reconciliations": "created_at_ms",
    "recording-deletions": "decided_at_ms",
    "velocity-alarms": "raised_at_ms",
    "webhooks/{webhook_id}/deliveries": "occurred_at_ms",
}
"""Of lists that grow with time: what ``from_ms`` and ``to_ms`` are of."""


_PERIODS = {"agents/{agent_id}/number-usage"}
"""Reports that must be asked for a time."""


def _query(path: str) -> set[str]:
    return {name for name, parameter in LISTS[path].items() if parameter["in"] == "query"}


def _name(path: str) -> str:
    return path.split("/", 3)[3].removeprefix("tenants/{tenant_id}/")


def _fields(path: str) -> set[str]:
    schema = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    for step in ("properties", "items", "items", "properties"):
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        schema = schema[step]
    return set(schema)


def _choices(schema: dict[str, Any]) -> set[Any]:
    """Every value of an enumeration; none of a number."""
    if "$ref" in schema:
        return _choices(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    return set(schema.get("enum", ())).union(*map(_choices, schema.get("oneOf", schema.get("anyOf", ())))) - {None}


def test_a_list_shows_what_it_cannot_be_asked_for() -> None:
    unfiltered = {
        (_name(path), name)
        for path in LISTS
        for name in set(FILTERED) & _fields(path) - _query(path)
        if f"{{{name}}}" not in path
    }
    known = {(path, name) for path, names in UNFILTERED.items() for name in names}
    assert unfiltered == known, "filter by it, or say here why not"
    timed = {_name(path) for path in LISTS if {"from_ms", "to_ms"} & _query(path)}
    assert timed == set(TIMES) | _PERIODS


@pytest.mark.parametrize("path", [path for path in LISTS if _name(path) not in _PERIODS])
async def test_a_list_s_filter_shows_more_or_less(world: World, path: str) -> None:
    who, asked = _PATHS[path]

    async def rows(**query: Any) -> list[Any]:
        answer = await world.ask(who, "GET", _with(asked, limit=500, **query))
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]  # type: ignore[no-any-return]

    whole = await rows()
    for name in set(FILTERED) & _query(path):
        for value in {row[name] for row in whole} - {None} | _choices(LISTS[path][name]["schema"]):
            assert await rows(**{name: value}) == [row for row in whole if row[name] == value], (name, value)
        if name.endswith("_id"):
            assert await rows(**{name: 10**9}) == []
            if who != "platform":
                assert await rows(**{name: {"tenant_id": 2, "agent_id": 3}[name]}) == [], "another tenant's"
    if "from_ms" not in _query(path):
        return
    times = [row[TIMES[_name(path)]] for row in whole]
    for time in {*times}:
        assert await rows(from_ms=time) == [row for row, at in zip(whole, times, strict=True) if at >= time]
        assert await rows(to_ms=time) == [row for row, at in zip(whole, times, strict=True) if at < time]


def test_a_list_is_paged_and_sorted_otherwise() -> None:
    assert len(LISTS) > 50
    for path, parameters in LISTS.items():
        assert {"sort", "cursor", "limit"} <= parameters.keys(), path
        allowed = parameters["sort"]["schema"]["enum"]
        assert parameters["sort"]["schema"]["default"] in allowed, path
        assert {name for name in allowed if name.startswith("-")} == {f"-{name}" for name in allowed if name[0] != "-"}
        assert not any(parameter["required"] for name, parameter in parameters.items() if name in ("sort", "cursor"))


def _with(path: str, **query: Any) -> str:
    return path + ("&" if "?" in path else "?") + "&".join(f"{name}={value}" for name, value in query.items())


@pytest.mark.parametrize("path", LISTS)
async def test_a_page_loses_or_doubles_a_row(world: World, path: str) -> None:
    who, asked = _PATHS[path]
    allowed = LISTS[path]["sort"]["schema"]["enum"]
    whole = (await world.ask(who, "GET", _with(asked, limit=500))).json()["items"]
    for sort in allowed:
        answer = await world.ask(who, "GET", _with(asked, sort=sort, limit=500))
        assert answer.status_code == 200, answer.text
        rows, name = answer.json()["items"], sort.removeprefix("-")
        assert sorted(map(str, rows)) == sorted(map(str, whole))
        if rows and name in rows[0] and isinstance(rows[0][name], int):
            values = [row[name] for row in rows]
            assert values == sorted(values, reverse=sort.startswith("-")), sort
        found: list[Any] = []
        cursor: str | None = None
        for _ in range(len(rows) + 2):
            query = {"sort": sort, "limit": 1} | ({} if cursor is None else {"cursor": cursor})
            page = (await world.ask(who, "GET", _with(asked, **query))).json()
            found += page["items"]
            if (cursor := page["next"]) is None:
                break
        assert found == rows, sort
    if len(whole) > 1:
        backwards = (await world.ask(who, "GET", _with(asked, sort=allowed[1]))).json()["items"]
        forwards = (await world.ask(who, "GET", _with(asked, sort=allowed[0]))).json()["items"]
        assert backwards == forwards[::-1]


@pytest.mark.parametrize("path", LISTS)
async def test_a_wrong_order_is_taken_for_the_usual_one(world: World, path: str) -> None:
    who, asked = _PATHS[path]
    allowed = LISTS[path]["sort"]["schema"]["enum"]
    answer = await world.ask(who, "GET", _with(asked, sort="colour"))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "sort")
    assert answer.json()["allowed"] == allowed
    assert all(name in answer.json()["errors"][0]["reason"] for name in allowed)


def _cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "0",
        "%2B",
        "a" * 1999,
        _cursor(),
        _cursor("id"),
        _cursor("id", "1"),
        _cursor("id", True),
        _cursor("id", 2**63),
        _cursor("id", 1, 2),
        _cursor("-id", 1),
        _cursor("name", 1, 1),
        base64.urlsafe_b64encode(b"[" * 1400).decode(),
    ],
)
async def test_a_cursor_of_another_list_or_of_nobodys_is_taken(world: World, cursor: str) -> None:
    answer = await world.ask("platform", "GET", f"/api/platform/agents?sort=id&cursor={cursor}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "cursor"), answer.text


@pytest.mark.parametrize("value", ["a\x00", "a" * 301, 5, None])
async def test_a_cursor_holds_what_no_column_does(world: World, value: Any) -> None:
    answer = await world.ask("platform", "GET", f"/api/platform/agents?sort=name&cursor={_cursor('name', value, 1)}")
    assert answer.status_code == 400, answer.text
    answer = await world.ask("platform", "GET", f"/api/platform/agents?sort=name&cursor={_cursor('name', '销售', 1)}")
    assert answer.status_code == 200


async def test_agents_are_not_sorted_by_what_they_did(world: World) -> None:
    """Figures are sorted once they are added up."""
    path = "/api/platform/agents/performance?month=2027-01"
    by_calls = (await world.ask("platform", "GET", f"{path}&sort=-calls")).json()["items"]
    assert [row["calls"] for row in by_calls] == sorted((row["calls"] for row in by_calls), reverse=True)


@pytest.mark.parametrize(
    ("who", "path", "field", "values"),
    [
        ("platform", "/users?role=agent&tenant_id=1", "login", ["agent1", "agent2"]),
        ("platform", "/users?status=suspended", "login", []),
        ("tenant1", "/users?agent_id=2", "login", ["agent2"]),
        ("tenant1", f"/ledger?from_ms={NOW_MS + 1}", "id", []),
        ("platform", f"/tenants/1/ledger?to_ms={NOW_MS}", "id", []),
        ("platform", "/legal-holds?tenant_id=2", "tenant_id", [2]),
        ("platform", "/recording-deletions?tenant_id=1", "cdr_id", ["gone1"]),
        ("platform", f"/recording-deletions?from_ms={NOW_MS + 1}", "cdr_id", []),
        ("platform", f"/recording-deletions?to_ms={NOW_MS + 1}&agent_id=2", "cdr_id", ["gone2"]),
        ("platform", "/reconciliations?trunk_id=2", "id", []),
        ("platform", "/trunks?carrier_id=1&status=active", "id", [1]),
        ("platform", "/trunks?carrier_id=2", "id", []),
        ("platform", f"/audit?to_ms={NOW_MS}", "id", []),
    ],
)
async def test_a_filter_lets_others_pass(world: World, who: str, path: str, field: str, values: list[Any]) -> None:
    answer = await world.ask(who, "GET", f"/api/{who.rstrip('12')}{path}")
    assert answer.status_code == 200, answer.text
    assert [item[field] for item in answer.json()["items"]] == values
