"""Every route × every audience × own and others' data. A route without an entry here fails the first test."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from litestar.datastructures import State
from litestar.routes import HTTPRoute

from admin_api.main import create_app
from engine.runtime.control.protocol import HangUp, ListCalls

from .conftest import A1, A2, A3, B1, B2, B3, NOW_MS, RECONCILIATION, USERS, X1, X2, X3, X4, World
from .money_cases import MONEY_CASES
from .organisation_cases import ORGANISATION_CASES


@dataclass(frozen=True)
class Case:
    """``path`` is of tenant 1's and agent 1's data, unless ``owner`` says whose; ``foreign`` may not reach it: 404."""

    method: str
    route: str
    path: str
    owner: str
    foreign: tuple[str, ...] = ()
    body: dict[str, Any] | None = None
    foreign_body: dict[str, Any] | None = None
    """Own path, but the body names what is another tenant's: must be refused."""
    status: int = 200
    shows: tuple[str, ...] = ()
    """What the answer must hold, so that an empty one does not pass for a safe one."""
    hides: tuple[str, ...] = ()


def _platform(method: str, route: str, **case: Any) -> Case:
    path = "/api/platform" + route
    return Case(method, path, case.pop("path", path), "platform", **case)


# What tenant 1 must never see, and agent 1 neither.
TENANT_2 = (
    A3,
    X3,
    B3,
    "Tenant 2",
    "Agent 3",
    "cdr3",
    "binding3",
    "call3",
    "key of tenant 2",
    '"tenant_id":2',
    "Line 2",
    "Department 2",
)
OTHER_AGENT = (*TENANT_2, A2, X2, B2, "cdr2", "binding2", "call2", "Agent 2")
CUSTOMER = (*OTHER_AGENT, B1)

_P, _T, _A = "/api/platform", "/api/tenant", "/api/agent"
_PERIOD = f"?from_ms=0&to_ms={NOW_MS + 1000}"

_NEW_USER = {"login": "u", "password": "12345678", "role": "agent", "agent_id": 1}

CASES = [
    _platform("GET", "/tenants", shows=("Tenant 1", "Tenant 2")),
    _platform("POST", "/tenants", body={"code": "t3", "name": "Tenant 3"}, status=201),
    _platform("GET", "/tenants/{tenant_id:int}", path=f"{_P}/tenants/1", shows=("Tenant 1",)),
    _platform("PATCH", "/tenants/{tenant_id:int}", path=f"{_P}/tenants/1", body={"name": "New"}, shows=("New",)),
    _platform("GET", "/tenants/{tenant_id:int}/account", path=f"{_P}/tenants/1/account", shows=("5000",)),
    _platform("GET", "/tenants/{tenant_id:int}/ledger", path=f"{_P}/tenants/1/ledger", shows=("key of tenant 1",)),
    _platform(
        "POST",
        "/tenants/{tenant_id:int}/recharges",
        path=f"{_P}/tenants/1/recharges",
        body={"amount_micro": 1, "key": "k"},
        shows=("5001",),
    ),
    _platform(
        "PUT",
        "/tenants/{tenant_id:int}/zone",
        path=f"{_P}/tenants/1/zone",
        body={"zone": "Asia/Urumqi"},
        shows=("Urumqi",),
    ),
    _platform("GET", "/accounts", shows=("5000",)),
    _platform("GET", "/agents", shows=("Agent 1", "Agent 3")),
    _platform("POST", "/agents", body={"tenant_id": 1, "code": "a9", "name": "N"}, status=201),
    _platform("GET", "/agents/{agent_id:int}", path=f"{_P}/agents/3", shows=("Agent 3",)),
    _platform("PATCH", "/agents/{agent_id:int}", path=f"{_P}/agents/3", body={"name": "N"}),
    _platform("GET", "/users", shows=("tenant1", "agent3")),
    _platform("POST", "/users", body={"login": "u", "password": "12345678", "role": "platform_admin"}, status=201),
    _platform("PATCH", "/users/{user_id:int}", path=f"{_P}/users/2", body={"status": "suspended"}),
    _platform("GET", "/roles", shows=("platform_admin", "agent")),
    _platform(
        "POST",
        "/roles",
        body={"audience": "platform_admin", "name": "Reader", "permissions": ["tenants.read"]},
        status=201,
    ),
    _platform("PATCH", "/roles/{role_id:int}", path=f"{_P}/roles/5", body={"name": "N"}),
    _platform("DELETE", "/roles/{role_id:int}", path=f"{_P}/roles/5", status=204),
    _platform(
        "POST", "/tenants/{tenant_id:int}/jumps", path=f"{_P}/tenants/1/jumps", body={"reason": "asked to"}, status=201
    ),
    _platform("GET", "/audit", shows=("login",)),
    _platform("DELETE", "/users/{user_id:int}/second-factor", path=f"{_P}/users/2/second-factor", status=409),
    _platform("GET", "/carriers", shows=("Carrier",)),
    _platform("POST", "/carriers", body={"code": "c2", "name": "N"}, status=201),
    _platform("PATCH", "/carriers/{carrier_id:int}", path=f"{_P}/carriers/1", body={"name": "N"}),
    _platform("GET", "/carrier-kinds", shows=("AppKey", "writeOnly")),
    _platform("GET", "/carriers/{carrier_id:int}", path=f"{_P}/carriers/1", shows=("sip_trunk",)),
    _platform("POST", "/carriers/{carrier_id:int}/check", path=f"{_P}/carriers/1/check", body={}, shows=("k1",)),
    _platform("GET", "/carriers/{carrier_id:int}/tenants", path=f"{_P}/carriers/1/tenants", shows=('"tenant_id":2',)),
    _platform(
        "PUT", "/carriers/{carrier_id:int}/tenants/{tenant_id:int}", path=f"{_P}/carriers/1/tenants/1", status=204
    ),
    _platform(
        "DELETE", "/carriers/{carrier_id:int}/tenants/{tenant_id:int}", path=f"{_P}/carriers/1/tenants/1", status=204
    ),
    _platform("GET", "/trunks", shows=("10.0.0.0/8",)),
    _platform(
        "POST",
        "/trunks",
        body={"carrier_id": 1, "code": "k2", "name": "N", "host": "::1", "source_addresses": ["::1"]},
        status=201,
    ),
    _platform("GET", "/trunks/{trunk_id:int}", path=f"{_P}/trunks/1", shows=("10.0.0.0/8",)),
    _platform(
        "PUT",
        "/trunks/{trunk_id:int}/registration",
        path=f"{_P}/trunks/1/registration",
        body={"username": "us", "password": "a carrier's word", "realm": "carrier"},
        shows=('"username":"us"', "*****"),
        hides=("a carrier's word", "ha1", "sealed"),
    ),
    _platform(
        "DELETE",
        "/trunks/{trunk_id:int}/registration",
        path=f"{_P}/trunks/1/registration",
        shows=('"registration":null',),
    ),
    _platform("PATCH", "/trunks/{trunk_id:int}", path=f"{_P}/trunks/1", body={"calls_max": 5}),
    _platform("GET", "/rates", shows=("120000",)),
    _platform("POST", "/rates", body={"code": "r2", "name": "N", "per_minute_micro": 1}, status=201),
    _platform("PATCH", "/rates/{rate_id:int}", path=f"{_P}/rates/1", body={"per_minute_micro": 2}),
    _platform("GET", "/lines", shows=("Line 1", "Line 2")),
    _platform(
        "POST",
        "/lines",
        body={"carrier_id": 1, "trunk_id": 1, "rate_id": 1, "code": "l3", "name": "N"},
        status=201,
    ),
    _platform("GET", "/lines/{line_id:int}", path=f"{_P}/lines/2", shows=("Line 2",)),
    _platform("GET", "/lines/{line_id:int}/number-advice", path=f"{_P}/lines/1/number-advice", shows=(X1, X2)),
    _platform("GET", "/lines/{line_id:int}/tenants", path=f"{_P}/lines/1/tenants"),
    _platform("PUT", "/lines/{line_id:int}/tenants/{tenant_id:int}", path=f"{_P}/lines/1/tenants/1", status=204),
    _platform(
        "DELETE",
        "/lines/{line_id:int}/tenants/{tenant_id:int}",
        path=f"{_P}/lines/2/tenants/2",
        status=204,
    ),
    _platform("GET", "/number-pools", shows=("Pool 1",)),
    _platform("POST", "/number-pools", body={"line_id": 1, "code": "p2", "name": "N"}, status=201),
    _platform("PATCH", "/number-pools/{pool_id:int}", path=f"{_P}/number-pools/1", body={"name": "N"}),
    _platform("POST", "/x-numbers/imports", body={"line_id": 1, "content": "01088880009"}, shows=('"added":1',)),
    _platform(
        "POST",
        "/x-numbers/allocations",
        body={"tenant_id": 1, "line_id": 2, "count": 1},
        status=201,
        shows=(X4, '"tenant_id":1'),
    ),
    _platform("POST", "/x-numbers/returns", body={"x_number_ids": [1], "ends_bindings": True}, shows=(X1, "idle")),
    _platform(
        "POST",
        "/x-numbers/{x_number_id:int}/quarantine",
        path=f"{_P}/x-numbers/4/quarantine",
        body={"days": 3},
        shows=("quarantined",),
    ),
    _platform(
        "POST",
        "/x-numbers/{x_number_id:int}/retirement",
        path=f"{_P}/x-numbers/4/retirement",
        body={},
        shows=("retired",),
    ),
    _platform(
        "POST",
        "/x-numbers/{x_number_id:int}/release",
        path=f"{_P}/x-numbers/5/release",
        body={},
        shows=("idle",),
    ),
    _platform(
        "POST",
        "/x-numbers/{x_number_id:int}/replacement",
        path=f"{_P}/x-numbers/3/replacement",
        body={"ends_bindings": True},
        shows=(X3, X4),
    ),
    _platform("GET", "/x-numbers/{x_number_id:int}/history", path=f"{_P}/x-numbers/1/history"),
    _platform("PATCH", "/lines/{line_id:int}", path=f"{_P}/lines/1", body={"status": "suspended"}),
    _platform("GET", "/x-numbers", shows=(X1, X3, X4)),
    _platform("POST", "/x-numbers", body={"number": "01088880009", "line_id": 1}, status=201),
    _platform("PATCH", "/x-numbers/{x_number_id:int}", path=f"{_P}/x-numbers/1", body={"status": "suspended"}),
    _platform("PUT", "/x-numbers/{x_number_id:int}/tenant", path=f"{_P}/x-numbers/4/tenant", body={"tenant_id": 1}),
    _platform("GET", "/live-calls", shows=("call1", "call3", B3)),
    _platform("POST", "/live-calls/{call_id:str}/hang-up", path=f"{_P}/live-calls/call3/hang-up", status=202),
    _platform("GET", "/cdrs", shows=("cdr1", "cdr3", B3)),
    _platform("GET", "/cdr-export", path=f"{_P}/cdr-export{_PERIOD}", shows=("cdr1", "cdr3", B3, "trunk_id")),
    _platform(
        "GET", "/carriers/{carrier_id:int}/record-format", path=f"{_P}/carriers/1/record-format", shows=("dauer",)
    ),
    _platform(
        "PUT",
        "/carriers/{carrier_id:int}/record-format",
        path=f"{_P}/carriers/1/record-format",
        body={"caller": "a", "callee": "b", "start": "c", "duration": "d"},
    ),
    _platform("GET", "/reconciliations", shows=(RECONCILIATION,)),
    _platform(
        "POST",
        "/reconciliations",
        body={"trunk_id": 1, "from_ms": 0, "to_ms": NOW_MS + 1000, "content": "YSxiLGMsZGF1ZXIK"},
        shows=("missing_at_theirs",),
    ),
    _platform(
        "GET",
        "/reconciliations/{reconciliation_id:str}",
        path=f"{_P}/reconciliations/{RECONCILIATION}",
        shows=(RECONCILIATION,),
    ),
    _platform(
        "GET",
        "/reconciliations/{reconciliation_id:str}/differences",
        path=f"{_P}/reconciliations/{RECONCILIATION}/differences",
        shows=("doubled",),
    ),
    _platform("GET", "/calls/{call_id:str}/trace", path=f"{_P}/calls/call3/trace", shows=("180 Ringing",)),
    _platform("GET", "/metrics", shows=("axbridge_calls",)),
    _platform("GET", "/cdrs/{cdr_id:str}", path=f"{_P}/cdrs/cdr3", shows=(B3,)),
    _platform("GET", "/cdrs/{cdr_id:str}/recording", path=f"{_P}/cdrs/cdr3/recording", shows=("signature",)),
]
CASES += [
    Case(method, _T + route, _T + (path or route), "tenant1", **case)
    for method, route, path, case in (
        ("GET", "/agents", "", {"shows": ("Agent 1", "Agent 2"), "hides": TENANT_2}),
        ("POST", "/agents", "", {"body": {"code": "a9", "name": "N"}, "status": 201, "shows": ('"tenant_id":1',)}),
        ("GET", "/agents/{agent_id:int}", "/agents/1", {"foreign": ("tenant2",), "shows": (A1,)}),
        ("PATCH", "/agents/{agent_id:int}", "/agents/1", {"foreign": ("tenant2",), "body": {"name": "N"}}),
        ("GET", "/users", "", {"shows": ("tenant1", "agent1"), "hides": (*TENANT_2, "tenant2", "agent3", "platform")}),
        ("POST", "/users", "", {"body": _NEW_USER, "foreign_body": _NEW_USER | {"agent_id": 3}, "status": 201}),
        ("PATCH", "/users/{user_id:int}", "/users/4", {"foreign": ("tenant2",), "body": {"status": "suspended"}}),
        (
            "DELETE",
            "/users/{user_id:int}/second-factor",
            "/users/4/second-factor",
            {"foreign": ("tenant2",), "status": 409},
        ),
        ("GET", "/roles", "", {"shows": ("Role of tenant 1", '"agent"'), "hides": ("Role of tenant 2", "platform")}),
        (
            "POST",
            "/roles",
            "",
            {
                "body": {"audience": "agent", "name": "New", "permissions": ["calls.read"]},
                "foreign_body": {"audience": "platform_admin", "name": "New", "permissions": []},
                "status": 201,
            },
        ),
        ("PATCH", "/roles/{role_id:int}", "/roles/6", {"foreign": ("tenant2",), "body": {"name": "N"}}),
        ("DELETE", "/roles/{role_id:int}", "/roles/6", {"foreign": ("tenant2",), "status": 204}),
        ("GET", "/api-keys", "", {"shows": ("Key of tenant 1",), "hides": ("Key of tenant 2", "hash")}),
        (
            "POST",
            "/api-keys",
            "",
            {"body": {"name": "New", "permissions": ["calls.read"]}, "status": 201, "shows": ("axb_",)},
        ),
        ("DELETE", "/api-keys/{key_id:int}", "/api-keys/1", {"foreign": ("tenant2",), "status": 204}),
        ("GET", "/audit", "", {"shows": ("login", "tenant1"), "hides": (*TENANT_2, "tenant2", '"platform"')}),
        ("GET", "/lines", "", {"shows": ("Line 1",), "hides": (*TENANT_2, "Line 2", "trunk", "carrier", "rate")}),
        ("GET", "/x-numbers", "", {"shows": (X1, X2), "hides": (*TENANT_2, X4)}),
        (
            "PUT",
            "/x-numbers/{x_number_id:int}/agent",
            "/x-numbers/2/agent",
            {"foreign": ("tenant2",), "body": {"agent_id": 1}, "foreign_body": {"agent_id": 3}},
        ),
        (
            "PUT",
            "/x-numbers/{x_number_id:int}/department",
            "/x-numbers/2/department",
            {"foreign": ("tenant2",), "body": {"department_id": 1}, "foreign_body": {"department_id": 2}},
        ),
        (
            "POST",
            "/x-numbers/assignments",
            "",
            {
                "body": {"x_number_ids": [1, 2], "agent_id": 2},
                "foreign_body": {"x_number_ids": [1, 2], "agent_id": 3},
                "status": 201,
                "hides": TENANT_2,
            },
        ),
        ("GET", "/x-numbers/{x_number_id:int}/history", "/x-numbers/1/history", {"foreign": ("tenant2",)}),
        ("GET", "/bindings", "", {"shows": (B1, B2, X1), "hides": TENANT_2}),
        (
            "POST",
            "/bindings",
            "",
            {
                "body": {"x_number": X2, "b_number": "13900139009", "agent_id": 1},
                "foreign_body": {"x_number": X3, "b_number": "13900139009", "agent_id": 1},
                "status": 201,
            },
        ),
        ("GET", "/bindings/{binding_id:str}", "/bindings/binding1", {"foreign": ("tenant2",), "shows": (B1,)}),
        (
            "PATCH",
            "/bindings/{binding_id:str}",
            "/bindings/binding1",
            {"foreign": ("tenant2",), "body": {"expires_at_ms": NOW_MS + 1}},
        ),
        ("DELETE", "/bindings/{binding_id:str}", "/bindings/binding1", {"foreign": ("tenant2",), "status": 204}),
        ("GET", "/account", "", {"shows": ("5000",), "hides": TENANT_2}),
        ("GET", "/ledger", "", {"shows": ("key of tenant 1",), "hides": TENANT_2}),
        ("GET", "/live-calls", "", {"shows": ("call1", "call2", B1), "hides": TENANT_2}),
        (
            "POST",
            "/live-calls/{call_id:str}/hang-up",
            "/live-calls/call1/hang-up",
            {"foreign": ("tenant2",), "status": 202},
        ),
        ("GET", "/cdrs", "", {"shows": ("cdr1", "cdr2", B1), "hides": TENANT_2}),
        ("GET", "/cdrs/{cdr_id:str}", "/cdrs/cdr1", {"foreign": ("tenant2",), "shows": (B1,)}),
        ("GET", "/webhooks", "", {"shows": ("one.example.com",), "hides": (*TENANT_2, "two.example.com", "secret")}),
        (
            "POST",
            "/webhooks",
            "",
            {"body": {"url": "https://x.example.com", "kinds": ["cdr.ended"]}, "status": 201, "shows": ("whsec_",)},
        ),
        (
            "GET",
            "/webhooks/{webhook_id:int}",
            "/webhooks/1",
            {"foreign": ("tenant2",), "shows": ("one.example.com",), "hides": ("secret",)},
        ),
        ("PATCH", "/webhooks/{webhook_id:int}", "/webhooks/1", {"foreign": ("tenant2",), "body": {"status": "paused"}}),
        ("DELETE", "/webhooks/{webhook_id:int}", "/webhooks/1", {"foreign": ("tenant2",), "status": 204}),
        (
            "POST",
            "/webhooks/{webhook_id:int}/secret",
            "/webhooks/1/secret",
            {"foreign": ("tenant2",), "shows": ("whsec_",)},
        ),
        ("POST", "/webhooks/{webhook_id:int}/test", "/webhooks/1/test", {"foreign": ("tenant2",), "status": 202}),
        (
            "GET",
            "/webhooks/{webhook_id:int}/deliveries",
            "/webhooks/1/deliveries",
            {"foreign": ("tenant2",), "shows": ("cdr.ended:cdr1",), "hides": TENANT_2},
        ),
        (
            "POST",
            "/webhooks/{webhook_id:int}/deliveries/{delivery_id:int}/replay",
            "/webhooks/1/deliveries/1/replay",
            {"foreign": ("tenant2",), "status": 202},
        ),
        (
            "POST",
            "/webhooks/{webhook_id:int}/replays",
            "/webhooks/1/replays",
            {
                "foreign": ("tenant2",),
                "body": {"kinds": ["cdr.ended"], "from_ms": 0, "to_ms": NOW_MS + 1000},
                "status": 202,
                "shows": ('"events":2',),
            },
        ),
        (
            "GET",
            "/cdr-export",
            f"/cdr-export{_PERIOD}",
            {"shows": ("cdr1", "cdr2", B1), "hides": (*TENANT_2, "trunk", "cost", "tenant_id")},
        ),
        ("GET", "/cdrs/{cdr_id:str}/recording", "/cdrs/cdr1/recording", {"foreign": ("tenant2",), "shows": ("link",)}),
    )
]
CASES += [
    Case(method, (prefix := f"/api/{who.rstrip('12')}") + route, prefix + (path or route), who, **case)
    for who, method, route, path, case in ORGANISATION_CASES
]
_DAYS = {"days": 400}
CASES += [
    _platform("GET", "/legal-holds", shows=("hold of tenant 1", "hold of tenant 2")),
    _platform("POST", "/legal-holds", body={"reason": "court", "agent_id": 3}, status=201, shows=('"tenant_id":2',)),
    _platform(
        "POST",
        "/legal-holds/{hold_id:int}/release",
        path=f"{_P}/legal-holds/2/release",
        body={"reason": "over"},
        shows=("over",),
    ),
    _platform("GET", "/recording-deletions", shows=("gone1", "gone2")),
    _platform(
        "GET",
        "/tenants/{tenant_id:int}/recording-retention",
        path=f"{_P}/tenants/1/recording-retention",
        shows=('"platform_days":null',),
    ),
    _platform(
        "PUT",
        "/tenants/{tenant_id:int}/recording-retention",
        path=f"{_P}/tenants/1/recording-retention",
        body=_DAYS,
        shows=('"days":400',),
    ),
    _platform(
        "POST",
        "/cdrs/{cdr_id:str}/recording/deletion",
        path=f"{_P}/cdrs/cdr3/recording/deletion",
        body={"reason": "asked for"},
        status=202,
    ),
]
CASES += [
    Case(method, _T + route, _T + (path or route), "tenant1", **case)
    for method, route, path, case in (
        ("GET", "/legal-holds", "", {"shows": ("hold of tenant 1",), "hides": (*TENANT_2, "hold of tenant 2")}),
        (
            "POST",
            "/legal-holds",
            "",
            {
                "body": {"reason": "court", "agent_id": 1},
                "foreign_body": {"reason": "court", "agent_id": 3},
                "status": 201,
            },
        ),
        (
            "POST",
            "/legal-holds/{hold_id:int}/release",
            "/legal-holds/1/release",
            {"foreign": ("tenant2",), "body": {"reason": "over"}, "shows": ("over",)},
        ),
        ("GET", "/recording-deletions", "", {"shows": ("gone1",), "hides": (*TENANT_2, "gone2", "rule of tenant 2")}),
        ("GET", "/recording-retention", "", {"shows": ('"tenant_days":null',)}),
        ("PUT", "/recording-retention", "", {"body": {"days": 0}, "shows": ('"tenant_days":0',)}),
    )
]
_OTHERS = ("agent2", "agent3")
CASES += [
    Case(method, _A + route, _A + (path or route), "agent1", **case)
    for method, route, path, case in (
        ("GET", "/me", "", {"shows": ("Agent 1", A1), "hides": OTHER_AGENT}),
        ("GET", "/x-numbers", "", {"shows": (X1,), "hides": (*OTHER_AGENT, X4)}),
        ("GET", "/bindings", "", {"shows": ("binding1", "139****9001"), "hides": CUSTOMER}),
        (
            "POST",
            "/bindings",
            "",
            {
                "body": {"x_number": "01088880001", "b_number": "13900139009", "a_number": None},
                "foreign_body": {"x_number": X2, "b_number": "13900139009"},
                "status": 409,  # agent 1 has a binding on X1 already
                "hides": ("13900139009",),
            },
        ),
        (
            "GET",
            "/bindings/{binding_id:str}",
            "/bindings/binding1",
            {"foreign": _OTHERS, "shows": ("139****9001",), "hides": CUSTOMER},
        ),
        (
            "PATCH",
            "/bindings/{binding_id:str}",
            "/bindings/binding1",
            {"foreign": _OTHERS, "body": {"expires_at_ms": None}, "hides": CUSTOMER},
        ),
        ("DELETE", "/bindings/{binding_id:str}", "/bindings/binding1", {"foreign": _OTHERS, "status": 204}),
        ("GET", "/live-calls", "", {"shows": ("call1", "139****9001"), "hides": CUSTOMER}),
        (
            "POST",
            "/live-calls/{call_id:str}/hang-up",
            "/live-calls/call1/hang-up",
            {"foreign": _OTHERS, "status": 202},
        ),
        ("GET", "/cdrs", "", {"shows": ("cdr1", "139****9001"), "hides": (*CUSTOMER, "120000")}),
        (
            "GET",
            "/cdrs/{cdr_id:str}",
            "/cdrs/cdr1",
            {"foreign": _OTHERS, "shows": ("139****9001",), "hides": (*CUSTOMER, "120000")},
        ),
        ("GET", "/cdrs/{cdr_id:str}/recording", "/cdrs/cdr1/recording", {"foreign": _OTHERS, "shows": ("link",)}),
    )
]
EVERYBODYS = {  # one's own, whoever one is: tests/api/test_sessions.py
    ("GET", "/api/me"),
    ("POST", "/api/me/logout"),
    ("GET", "/api/me/sessions"),
    ("DELETE", "/api/me/sessions"),
    ("DELETE", "/api/me/sessions/{session_id:str}"),
    ("POST", "/api/me/password"),
    ("POST", "/api/me/second-factor"),
    ("POST", "/api/me/second-factor/confirmation"),
    ("POST", "/api/me/second-factor/removal"),
}
CASES += [
    Case(method, (prefix := f"/api/{who.rstrip('12')}") + route, prefix + (path or route), who, **case)
    for who, method, route, path, case in MONEY_CASES
]
PUBLIC = {
    ("POST", "/api/login"),
    ("POST", "/api/refresh"),
    ("GET", "/health"),
    ("GET", "/schema"),
    ("GET", "/schema/openapi.json"),
    ("GET", "/schema/{path:str}"),
    ("GET", "/recordings/{cdr_id:str}"),  # by signature: tests/api/test_recordings.py
    ("HEAD", "/recordings/{cdr_id:str}"),
    ("POST", "/payment-notices/{provider:str}"),  # by signature: tests/api/test_payment_notices.py
}
AUDIENCES = (None, *USERS)


def _routes() -> set[tuple[str, str]]:
    routes = set()
    for route in create_app(State()).routes:
        if isinstance(route, HTTPRoute):
            routes |= {
                (str(method), route.path_format and route.path) for method in route.methods if method != "OPTIONS"
            }
        else:
            routes.add(("?", route.path))
    return routes


def test_a_route_is_in_no_case() -> None:
    assert {(case.method, case.route) for case in CASES} | EVERYBODYS | PUBLIC == _routes()
    assert len({(case.method, case.route) for case in CASES}) == len(CASES)


def _text(answer: Any) -> str:
    if answer.headers.get("content-type", "").startswith("text/"):
        return str(answer.text)
    return json.dumps(answer.json(), separators=(",", ":"), ensure_ascii=False) if answer.content else ""


# Whose rows are read is the same condition on both databases; what writes is asked on each.
_WHERE = [
    (case, kind) for case in CASES for kind in ("sqlite", "postgresql") if kind == "sqlite" or case.method != "GET"
]


@pytest.mark.parametrize(
    ("case", "database_url"),
    _WHERE,
    indirect=["database_url"],
    ids=[f"{kind}-{case.method} {case.route}" for case, kind in _WHERE],
)
async def test_somebody_reaches_what_is_not_his(world: World, case: Case) -> None:
    role = USERS[case.owner][0]
    for who in AUDIENCES:
        if who is None or USERS[who][0] != role:
            answer = await world.ask(who, case.method, case.path, json=case.body)
            assert answer.status_code == (401 if who is None else 403), (who, answer.text)
            assert answer.headers["content-type"].startswith("application/problem+json")
    assert world.control.asked == [], "who may not ask has not moved the engine"
    for who in case.foreign:
        answer = await world.ask(who, case.method, case.path, json=case.body)
        assert answer.status_code == 404, (who, answer.text)
    if case.foreign_body is not None:
        answer = await world.ask(case.owner, case.method, case.path, json=case.foreign_body)
        assert answer.status_code == 422, answer.text
    answer = await world.ask(case.owner, case.method, case.path, json=case.body)
    assert answer.status_code == case.status, answer.text
    text = _text(answer)
    for shown in case.shows:
        assert shown in text
    for hidden in case.hides:
        assert hidden not in text


def test_a_case_of_an_id_has_no_stranger() -> None:
    for case in CASES:
        if "_id:" in case.route and case.owner != "platform":
            assert case.foreign, case.route


async def test_the_engine_is_asked_for_all_tenants_calls(world: World) -> None:
    for who in ("tenant1", "agent1"):
        base = f"/api/{who[:-1]}/live-calls"
        await world.ask(who, "GET", base)
        await world.ask(who, "POST", f"{base}/call3/hang-up")
    assert world.control.asked == [
        ListCalls(tenant_id=1),
        HangUp("call3", tenant_id=1),
        ListCalls(tenant_id=1),
        HangUp("call3", tenant_id=1, agent_id=1),
    ]


@pytest.mark.parametrize("query", ["tenant_id=2", "agent_id=3", "number=%2B8613900139003"])
async def test_a_filter_widens_the_scope(world: World, query: str) -> None:
    for who in ("tenant1", "agent1"):
        answer = await world.ask(who, "GET", f"/api/{who[:-1]}/cdrs?{query}")
        assert answer.json() == {"items": [], "next": None}


async def test_an_agent_finds_a_masked_number_by_trying(world: World) -> None:
    assert (await world.ask("agent1", "GET", "/api/agent/cdrs?number=13900139001")).json()["items"] == []
    assert (await world.ask("agent1", "GET", "/api/agent/bindings?number=13900139001")).json()["items"] == []
    assert len((await world.ask("agent1", "GET", "/api/agent/cdrs?number=01088880001")).json()["items"]) == 1
    assert len((await world.ask("tenant1", "GET", "/api/tenant/cdrs?number=13900139001")).json()["items"]) == 1
