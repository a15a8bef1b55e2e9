"""Roles, API keys, department heads and the jump: what somebody may do, and what he may give."""

from typing import Any

import pytest
from litestar import Litestar, Router, get

from admin_api.common.guards import Unguarded, permitted, refuse_unguarded
from engine.domain.people.permission import OF_PEOPLE, Audience, Permission, at_most
from engine.services.access.api_keys import USE_NOTED_MS
from engine.services.access.sessions import JUMP_MS
from engine.store.database import open_database, writing_session
from engine.store.tables import Agent, Department, DepartmentHead, User
from engine.store.tables.identity import Role

from .conftest import A2, A3, B1, B2, PASSWORD, X1, World


async def _log_in(world: World, login: str, password: str = PASSWORD) -> dict[str, str]:
    answer = await world.ask(None, "POST", "/api/login", json={"login": login, "password": password})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def _make_role(world: World, who: str, audience: str, *permissions: str) -> int:
    body = {"audience": audience, "name": f"with {len(permissions)}", "permissions": list(permissions)}
    answer = await world.ask(who, "POST", f"/api/{who.rstrip('12')}/roles", json=body)
    assert answer.status_code == 201, answer.text
    role_id: int = answer.json()["id"]
    return role_id


async def _limited(world: World, *permissions: str) -> dict[str, str]:
    """Somebody of tenant 1's back office who may do only that."""
    role_id = await _make_role(world, "tenant1", "tenant_admin", *permissions)
    body = {"login": "limited", "password": PASSWORD, "role": "tenant_admin", "role_id": role_id}
    assert (await world.ask("tenant1", "POST", "/api/tenant/users", json=body)).status_code == 201
    return await _log_in(world, "limited")


def test_a_handler_names_no_permission() -> None:
    @get("/a", sync_to_thread=False)
    def without() -> None: ...

    @get("/b", opt={"permission": Permission.SELF}, sync_to_thread=False)
    def outside() -> None: ...

    with pytest.raises(Unguarded, match="names no permission"):
        refuse_unguarded(Litestar([Router("/x", guards=[permitted], route_handlers=[without])]))
    with pytest.raises(Unguarded, match="holds to permissions"):
        refuse_unguarded(Litestar([Router("/x", route_handlers=[outside])]))
    refuse_unguarded(Litestar([Router("/x", guards=[permitted], route_handlers=[outside])]))


def test_a_tenant_cannot_let_his_own_people_in() -> None:
    for audience in (Audience.DEPARTMENT_HEAD, Audience.AGENT):
        assert at_most(audience) <= at_most(Audience.TENANT_ADMIN), "or nobody of a tenant could give its built-in role"


async def test_a_role_is_not_asked_for(world: World) -> None:
    limited = await _limited(world, "calls.read")
    assert (await world.ask(None, "GET", "/api/tenant/cdrs", headers=limited)).status_code == 200
    for path in ("/api/tenant/account", "/api/tenant/agents", "/api/tenant/users", "/api/tenant/cdr-export"):
        assert (await world.ask(None, "GET", path, headers=limited)).status_code == 403, path
    assert (await world.ask(None, "GET", "/api/me", headers=limited)).json()["permissions"] == [
        "calls.read",
        "self",
        "self.credentials",
    ]


async def test_a_changed_role_waits_for_the_next_login(world: World) -> None:
    limited = await _limited(world, "calls.read")
    (role_id,) = [
        role["id"]
        for role in (await world.ask("tenant1", "GET", "/api/tenant/roles")).json()["items"]
        if role["name"] == "with 1"
    ]
    body = {"permissions": ["agents.read"]}
    assert (await world.ask("tenant1", "PATCH", f"/api/tenant/roles/{role_id}", json=body)).status_code == 200
    assert (await world.ask(None, "GET", "/api/tenant/cdrs", headers=limited)).status_code == 403
    assert (await world.ask(None, "GET", "/api/tenant/agents", headers=limited)).status_code == 200
    answer = await world.ask("tenant1", "DELETE", f"/api/tenant/roles/{role_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "role.in_use")


async def test_somebody_gives_what_he_has_not(world: World) -> None:
    limited = await _limited(world, "roles.write", "users.write", "users.read", "calls.read")

    async def code(method: str, path: str, body: dict[str, Any]) -> Any:
        answer = await world.ask(None, method, "/api/tenant" + path, json=body, headers=limited)
        return (answer.status_code, answer.json().get("code"))

    beyond = (422, "role.beyond")
    role = {"audience": "tenant_admin", "name": "More", "permissions": ["funds.write"]}
    assert await code("POST", "/roles", role) == beyond
    assert await code("PATCH", "/roles/6", {"permissions": ["calls.read", "bindings.write"]}) == beyond
    user = {"login": "more", "password": PASSWORD, "role": "tenant_admin"}
    assert await code("POST", "/users", user) == beyond, "the built-in role is all that there is"
    assert await code("PATCH", "/users/2", {"password": "my own password"}) == beyond, "nor become one who has it"
    assert await code("PATCH", "/users/2", {"status": "suspended"}) == beyond
    own = (await world.ask("tenant1", "GET", "/api/tenant/users")).json()["items"]
    (me,) = [row["id"] for row in own if row["login"] == "limited"]
    assert await code("PATCH", f"/users/{me}", {"role_id": 2}) == beyond
    role["permissions"] = ["calls.read"]
    assert await code("POST", "/roles", role) == (201, None)
    assert await code("POST", "/roles", role) == (409, "role.name_taken")


@pytest.mark.parametrize("role_id", [1, 5, 7, 999])
async def test_another_tenants_role_is_given(world: World, role_id: int) -> None:
    body = {"login": "u", "password": PASSWORD, "role": "tenant_admin", "role_id": role_id}
    answer = await world.ask("tenant1", "POST", "/api/tenant/users", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "role.unknown")


async def test_a_built_in_role_is_changed(world: World) -> None:
    for role_id in (2, 3, 4):
        answer = await world.ask("tenant1", "PATCH", f"/api/tenant/roles/{role_id}", json={"name": "mine"})
        assert (answer.status_code, answer.json()["code"]) == (409, "role.built_in")
    assert (await world.ask("tenant1", "PATCH", "/api/tenant/roles/1", json={"name": "mine"})).status_code == 404


async def test_a_role_of_another_audience_is_in_force(world: World) -> None:
    database = open_database(world.settings.database_url)
    async with writing_session(database, world.now_ms) as session:
        (await session.get_one(User, 4)).role_id = 5  # agent1 with the platform's reader
        (await session.get_one(Role, 5)).permissions = ["*"]
    await database.dispose()
    assert (await world.ask("agent1", "GET", "/api/agent/me")).status_code == 200
    assert (await world.ask("agent1", "GET", "/api/platform/tenants")).status_code == 403


async def _key(world: World, *permissions: str, **values: Any) -> tuple[int, dict[str, str]]:
    body = {"name": "CRM", "permissions": list(permissions)} | values
    answer = await world.ask("tenant1", "POST", "/api/tenant/api-keys", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]["id"], {"Authorization": f"Bearer {answer.json()['secret']}"}


async def test_a_key_opens_more_than_its_scopes(world: World) -> None:
    key_id, key = await _key(world, "calls.read")
    answer = await world.ask(None, "GET", "/api/tenant/cdrs", headers=key)
    assert answer.status_code == 200
    assert "cdr3" not in answer.text, "and of its own tenant alone"
    for path in ("/api/tenant/agents", "/api/tenant/api-keys", "/api/platform/tenants", "/api/agent/me", "/api/me"):
        assert (await world.ask(None, "GET", path, headers=key)).status_code == 403, path
    shown = (await world.ask("tenant1", "GET", "/api/tenant/api-keys")).text
    assert key["Authorization"].rpartition("_")[2] not in shown
    assert f'"last_used_at_ms":{world.now_ms}' in shown
    assert (await world.ask("tenant1", "DELETE", f"/api/tenant/api-keys/{key_id}")).status_code == 204
    assert (await world.ask(None, "GET", "/api/tenant/cdrs", headers=key)).status_code == 401


@pytest.mark.parametrize("permission", sorted(OF_PEOPLE | {Permission.TENANTS_READ}))
async def test_a_key_lets_others_in(world: World, permission: Permission) -> None:
    answer = await world.ask(
        "tenant1", "POST", "/api/tenant/api-keys", json={"name": "CRM", "permissions": [permission.value]}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "api_key.permissions")


async def test_a_key_outlives_its_time_or_its_tenant(world: World) -> None:
    _, key = await _key(world, "calls.read", expires_at_ms=world.now_ms + 10 * USE_NOTED_MS)
    token = key["Authorization"]
    for wrong in (token[:-1], token + "x", token[:-1] + ("a" if token[-1] != "a" else "b"), "Bearer axb_1_x"):
        headers = {"Authorization": wrong}
        assert (await world.ask(None, "GET", "/api/tenant/cdrs", headers=headers)).status_code == 401
    assert (await world.ask(None, "GET", "/api/tenant/cdrs", headers=key)).status_code == 200
    world.now_ms += 10 * USE_NOTED_MS
    assert (await world.ask(None, "GET", "/api/tenant/cdrs", headers=key)).status_code == 401
    world.now_ms -= 1
    assert (await world.ask(None, "GET", "/api/tenant/cdrs", headers=key)).status_code == 200
    assert (await world.ask("platform", "PATCH", "/api/platform/tenants/1", json={"status": "suspended"})).is_success
    assert (await world.ask(None, "GET", "/api/tenant/cdrs", headers=key)).status_code == 401


async def test_a_key_asks_without_end(world: World) -> None:
    _, key = await _key(world, "calls.read", requests_per_minute_max=2)
    _, other = await _key(world, "calls.read", requests_per_minute_max=2)
    for status in (200, 200, 429):
        answer = await world.ask(None, "GET", "/api/tenant/cdrs", headers=key)
        assert answer.status_code == status
    assert answer.headers["retry-after"] == "30"
    assert (await world.ask(None, "GET", "/api/tenant/cdrs", headers=other)).status_code == 200
    world.now_ms += 30_000
    assert (await world.ask(None, "GET", "/api/tenant/cdrs", headers=key)).status_code == 200


async def _jump(world: World) -> dict[str, str]:
    answer = await world.ask("platform", "POST", "/api/platform/tenants/1/jumps", json={"reason": "asked to by phone"})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def test_a_jump_reaches_further(world: World) -> None:
    jump = await _jump(world)
    answer = await world.ask(None, "GET", "/api/tenant/agents", headers=jump)
    assert answer.status_code == 200
    assert answer.headers["x-acting-for"] == "tenant 1"
    assert "Agent 3" not in answer.text
    me = (await world.ask(None, "GET", "/api/me", headers=jump)).json()
    assert (me["login"], me["role"], me["acting_for"]["reason"]) == ("platform", "tenant_admin", "asked to by phone")
    assert me["acting_for"]["until_ms"] == world.now_ms + JUMP_MS
    for method, path, body in (
        ("GET", "/api/platform/tenants", None),
        ("POST", "/api/platform/tenants/2/jumps", {"reason": "on from here"}),
        ("POST", "/api/tenant/users", {"login": "u", "password": PASSWORD, "role": "tenant_admin"}),
        ("PATCH", "/api/tenant/users/2", {"password": "another password"}),
        ("DELETE", "/api/tenant/users/2/second-factor", None),
        ("POST", "/api/tenant/roles", {"audience": "agent", "name": "N", "permissions": []}),
        ("POST", "/api/tenant/agents/1/sip-accounts", None),
        ("POST", "/api/tenant/sip-accounts/1/password", None),
        ("POST", "/api/tenant/api-keys", {"name": "N", "permissions": []}),
        ("POST", "/api/me/password", {"password": PASSWORD, "new_password": "another password"}),
        ("POST", "/api/me/second-factor", {"password": PASSWORD}),
        ("DELETE", "/api/me/sessions", None),
    ):
        assert (await world.ask(None, method, path, json=body, headers=jump)).status_code == 403, path


async def test_a_jump_goes_on(world: World) -> None:
    jump, other = await _jump(world), await _jump(world)
    assert (await world.ask(None, "POST", "/api/me/logout", headers=jump)).status_code == 204
    assert (await world.ask(None, "GET", "/api/tenant/agents", headers=jump)).status_code == 401
    assert (await world.ask("platform", "GET", "/api/platform/tenants")).status_code == 200
    world.now_ms += JUMP_MS - 1
    assert (await world.ask(None, "GET", "/api/tenant/agents", headers=other)).status_code == 200
    world.now_ms += 1
    assert (await world.ask(None, "GET", "/api/tenant/agents", headers=other)).status_code == 401


async def test_a_jump_outlives_the_permission(world: World) -> None:
    jump = await _jump(world)
    await world.write(User, 1, role_id=5)
    assert (await world.ask(None, "GET", "/api/tenant/agents", headers=jump)).status_code == 401
    answer = await world.ask("platform", "POST", "/api/platform/tenants/1/jumps", json={"reason": "again"})
    assert answer.status_code == 403


@pytest.mark.parametrize("reason", ["", " ", "a\nb", "x" * 201])
async def test_a_jump_has_no_reason(world: World, reason: str) -> None:
    answer = await world.ask("platform", "POST", "/api/platform/tenants/1/jumps", json={"reason": reason})
    assert answer.status_code == 400
    answer = await world.ask("platform", "POST", "/api/platform/tenants/99/jumps", json={"reason": "x"})
    assert answer.status_code == 404


async def test_a_head_sees_other_departments(world: World) -> None:
    database = open_database(world.settings.database_url)
    async with writing_session(database, world.now_ms) as session:
        tops = [Department(tenant_id=1, name=name, path=name, created_at_ms=0) for name in ("headed", "other")]
        session.add_all(tops)
        await session.flush()
        below = Department(tenant_id=1, parent_id=tops[0].id, name="below", path="", created_at_ms=0)
        session.add(below)
        await session.flush()
        for top in tops:
            top.path = f"/{top.id}/"
        below.path = f"/{tops[0].id}/{below.id}/"
        # Agent 2 heads the department that agent 1 is below; himself he is in another.
        session.add(DepartmentHead(department_id=tops[0].id, agent_id=2))
        (await session.get_one(Agent, 1)).department_id = below.id
        (await session.get_one(Agent, 2)).department_id = tops[1].id
    await database.dispose()
    body = {"login": "head", "password": PASSWORD, "role": "department_head", "agent_id": 2}
    assert (await world.ask("tenant1", "POST", "/api/tenant/users", json=body)).status_code == 201
    head = await _log_in(world, "head")
    answers = {}
    for name in ("agents", "x-numbers", "cdrs", "live-calls", "bindings"):
        answer = await world.ask(None, "GET", f"/api/tenant/{name}", headers=head)
        assert answer.status_code == 200, answer.text
        answers[name] = answer.text
    everything = "".join(answers.values())
    for shown in ("Agent 1", X1, "cdr1", "call1", "binding1", "139****9001"):
        assert shown in everything, shown
    for hidden in ("Agent 2", "Agent 3", A2, A3, B1, B2, "cdr2", "cdr3", "call2", "binding2"):
        assert hidden not in everything, hidden
    for path in ("account", "ledger", "users", "webhooks", "audit", "cdr-export?from_ms=0&to_ms=1"):
        assert (await world.ask(None, "GET", f"/api/tenant/{path}", headers=head)).status_code == 403, path
    assert (await world.ask(None, "GET", "/api/tenant/cdrs?number=13900139001", headers=head)).json()["items"] == []
    assert (await world.ask(None, "GET", "/api/tenant/agents/2", headers=head)).status_code == 404
