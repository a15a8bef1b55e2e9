"""Routes of departments, agents and tenants, for the matrix of ``test_isolation``: (who, method, route, path, case)."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from engine.store.tables import SipAccount
from engine.store.tables.numbers import UsableLines
from engine.store.tables.offboarding import Offboarding

A3, X3 = "+8613800138003", "+861088880003"  # as in conftest, which imports us

TENANT_2 = (A3, X3, "Tenant 2", "Agent 3", '"tenant_id":2', "Department 2")

_FOREIGN: dict[str, Any] = {"foreign": ("tenant2",)}
_DEPARTMENT, _AGENT = "/departments/{department_id:int}", "/agents/{agent_id:int}"
_OFFBOARDING = "/offboardings/{offboarding_id:str}"
_EVER = "?from_ms=0&to_ms=9000000000000"
_ACCOUNT = "/sip-accounts/{account_id:int}"
_HA1 = ("ha1", "0123456789abcdef")
_PERMISSIONS = "/tenants/{tenant_id:int}/permissions"
_CUT: dict[str, Any] = {"body": {"running_calls": "cut"}}

_LINES: dict[str, Any] = {"body": {"line_ids": [1]}, "foreign_body": {"line_ids": [99]}}
_CARRIERS: dict[str, Any] = {
    "body": {"line_ids": [2], "carrier_ids": [1]},
    "shows": ('"carrier_ids":[1]', '"is_own":true'),
}

_X_NUMBER, _ROLE = "/x-numbers/{x_number_id:int}", "/roles/{role_id:int}"

ORGANISATION_CASES: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("platform", "GET", _X_NUMBER, "/x-numbers/3", {"shows": (X3,)}),
    ("tenant1", "GET", _X_NUMBER, "/x-numbers/1", {**_FOREIGN, "shows": ('"tenant_id":1',), "hides": TENANT_2}),
    (
        "agent1",
        "GET",
        _X_NUMBER,
        "/x-numbers/1",
        {"foreign": ("agent2", "agent3"), "shows": ('"agent_id":1',), "hides": TENANT_2},
    ),
    ("platform", "GET", _ROLE, "/roles/5", {"shows": ("Role of the platform",)}),
    ("tenant1", "GET", _ROLE, "/roles/6", {**_FOREIGN, "shows": ("Role of tenant 1",)}),
    ("tenant1", "GET", "/departments", "", {"shows": ("Department 1",), "hides": TENANT_2}),
    (
        "tenant1",
        "POST",
        "/departments",
        "",
        {"body": {"name": "New", "parent_id": 1}, "foreign_body": {"name": "New", "parent_id": 2}, "status": 201},
    ),
    ("tenant1", "GET", _DEPARTMENT, "/departments/1", _FOREIGN),
    (
        "tenant1",
        "PATCH",
        _DEPARTMENT,
        "/departments/1",
        _FOREIGN | {"body": {"name": "N"}, "foreign_body": {"parent_id": 2}},
    ),
    (
        "tenant1",
        "PUT",
        f"{_DEPARTMENT}/heads",
        "/departments/1/heads",
        _FOREIGN | {"body": {"agent_ids": [1, 2]}, "foreign_body": {"agent_ids": [1, 3]}},
    ),
    ("tenant1", "DELETE", _DEPARTMENT, "/departments/1", _FOREIGN | {"status": 204}),
    (
        "tenant1",
        "PUT",
        f"{_AGENT}/suspension",
        "/agents/1/suspension",
        _FOREIGN | _CUT | {"shows": ('"calls_cut":1',)},
    ),
    ("tenant1", "DELETE", f"{_AGENT}/suspension", "/agents/1/suspension", _FOREIGN),
    (
        "platform",
        "PUT",
        "/tenants/{tenant_id:int}/suspension",
        "/tenants/1/suspension",
        _CUT | {"shows": ('"calls_cut":2',)},
    ),
    ("platform", "DELETE", "/tenants/{tenant_id:int}/suspension", "/tenants/1/suspension", {}),
    ("platform", "PUT", f"{_AGENT}/suspension", "/agents/3/suspension", {"body": {}}),
    ("platform", "DELETE", f"{_AGENT}/suspension", "/agents/3/suspension", {}),
    (
        "tenant1",
        "POST",
        f"{_AGENT}/offboarding-preview",
        "/agents/1/offboarding-preview",
        _FOREIGN | {"body": {"successor_id": 2}, "foreign_body": {"successor_id": 3}, "shows": ("token",)},
    ),
    (
        "tenant1",
        "POST",
        f"{_AGENT}/offboarding",
        "/agents/1/offboarding",
        _FOREIGN
        | {"body": {"token": "", "successor_id": 2}, "foreign_body": {"token": "", "successor_id": 3}}
        | {"status": 409},
    ),
    (
        "tenant1",
        "GET",
        "/agents/performance",
        "/agents/performance?month=2027-01",
        {"shows": ("Agent 1", "Agent 2"), "hides": TENANT_2},
    ),
    ("platform", "GET", "/agents/performance", "/agents/performance?month=2027-01", {"shows": ("Agent 3",)}),
    ("tenant1", "GET", f"{_AGENT}/performance", "/agents/1/performance", _FOREIGN),
    ("platform", "GET", f"{_AGENT}/performance", "/agents/3/performance", {}),
    ("tenant1", "GET", f"{_AGENT}/number-usage", f"/agents/1/number-usage{_EVER}", _FOREIGN | {"hides": TENANT_2}),
    ("platform", "GET", f"{_AGENT}/number-usage", f"/agents/3/number-usage{_EVER}", {"shows": (X3,)}),
    (
        "tenant1",
        "GET",
        f"{_AGENT}/sip-accounts",
        "/agents/1/sip-accounts",
        _FOREIGN | {"shows": ("1-1",), "hides": _HA1},
    ),
    (
        "tenant1",
        "POST",
        f"{_AGENT}/sip-accounts",
        "/agents/1/sip-accounts",
        _FOREIGN | {"status": 201, "shows": ("password", "1-2"), "hides": _HA1},
    ),
    ("tenant1", "PATCH", _ACCOUNT, "/sip-accounts/1", _FOREIGN | {"body": {"status": "suspended"}, "hides": _HA1}),
    ("tenant1", "POST", f"{_ACCOUNT}/password", "/sip-accounts/1/password", _FOREIGN | {"shows": ("password",)}),
    ("tenant1", "DELETE", _ACCOUNT, "/sip-accounts/1", _FOREIGN | {"status": 204}),
    ("platform", "GET", f"{_AGENT}/sip-accounts", "/agents/3/sip-accounts", {"hides": _HA1}),
    ("platform", "POST", f"{_AGENT}/sip-accounts", "/agents/3/sip-accounts", {"status": 201}),
    ("platform", "PATCH", _ACCOUNT, "/sip-accounts/1", {"body": {"status": "suspended"}}),
    ("platform", "POST", f"{_ACCOUNT}/password", "/sip-accounts/1/password", {}),
    ("platform", "DELETE", _ACCOUNT, "/sip-accounts/1", {"status": 204}),
    (
        "tenant1",
        "POST",
        "/agents/import",
        "",
        {"body": {"csv": "code,name\nn1,New"}, "foreign_body": {"csv": "tenant,code,name\n"}, "shows": ('"added":1',)},
    ),
    ("tenant1", "GET", f"{_AGENT}/lines", "/agents/1/lines", _FOREIGN | {"shows": ('"line_ids":[1,2]', "false")}),
    ("tenant1", "PUT", f"{_AGENT}/lines", "/agents/1/lines", _FOREIGN | _LINES | {"shows": ('"line_ids":[1]',)}),
    ("tenant1", "DELETE", f"{_AGENT}/lines", "/agents/2/lines", _FOREIGN | {"shows": ('"is_own":false',)}),
    ("tenant1", "GET", f"{_DEPARTMENT}/lines", "/departments/1/lines", _FOREIGN | {"hides": ("carrier",)}),
    ("tenant1", "PUT", f"{_DEPARTMENT}/lines", "/departments/1/lines", _FOREIGN | _LINES | {"hides": ("carrier",)}),
    ("tenant1", "DELETE", f"{_DEPARTMENT}/lines", "/departments/1/lines", _FOREIGN | {"status": 404}),
    ("platform", "GET", f"{_AGENT}/lines", "/agents/3/lines", {"shows": ('"carrier_ids":[]',)}),
    ("platform", "PUT", f"{_AGENT}/lines", "/agents/3/lines", _CARRIERS),
    ("platform", "DELETE", f"{_AGENT}/lines", "/agents/2/lines", {"shows": ('"is_own":false',)}),
    ("platform", "GET", f"{_DEPARTMENT}/lines", "/departments/2/lines", {"shows": ('"line_ids":[1,2]',)}),
    ("platform", "PUT", f"{_DEPARTMENT}/lines", "/departments/2/lines", _CARRIERS),
    ("platform", "DELETE", f"{_DEPARTMENT}/lines", "/departments/2/lines", {"status": 404}),
    ("agent1", "GET", "/lines", "", {"shows": ("Line 1", '"is_permitted":true'), "hides": (*TENANT_2, "carrier")}),
    ("platform", "GET", _PERMISSIONS, "/tenants/2/permissions", {"shows": ('"carrier_ids":[1],"line_ids":[2]',)}),
    ("tenant1", "GET", "/offboardings", "", {"shows": ("offboarding1",), "hides": ("offboarding2",)}),
    ("tenant1", "GET", _OFFBOARDING, "/offboardings/offboarding1", _FOREIGN),
    ("tenant1", "POST", f"{_OFFBOARDING}/undo", "/offboardings/offboarding1/undo", _FOREIGN),
]


def make_organisation(session: AsyncSession, now_ms: int) -> None:
    """A softphone, agent 2's list of lines, and an offboarding of either tenant, of which nothing is left."""
    ha1 = "0123456789abcdef"
    session.add(SipAccount(agent_id=1, username="1-1", realm="axbridge", ha1_md5=ha1, ha1_sha256=ha1))
    usable = UsableLines(tenant_id=1, agent_id=2, line_ids=[1, 2], carrier_ids=[])
    usable.changed_at_ms = now_ms
    session.add(usable)
    for tenant_id, agent_id in ((1, 1), (2, 3)):
        row = Offboarding(id=f"offboarding{tenant_id}", tenant_id=tenant_id, agent_id=agent_id, moves=[])
        row.applied_at_ms = now_ms
        session.add(row)
