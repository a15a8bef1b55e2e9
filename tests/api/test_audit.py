"""Who changed what: nothing is missing, nothing secret is in it, and nobody edits it."""

import json
from typing import Any

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DatabaseError

from admin_api.housekeeping import keep_sessions
from engine.services.access.sessions import JUMP_MS
from engine.store.access.audit import SECRET, Actor, ActorKind, kept_address, masked
from engine.store.database import open_database, writing, writing_session
from engine.store.tables import SipAccount
from engine.store.tables.identity import AuditEntry

from .conftest import A1, PASSWORD, World


async def _log(world: World, who: str = "platform", **wanted: Any) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    answer = await world.ask(who, "GET", f"/api/{who.rstrip('12')}/audit?{query}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_change_leaves_no_entry(world: World) -> None:
    headers = {"X-Request-ID": "of-a-proxy.1"}
    answer = await world.ask("tenant1", "PATCH", "/api/tenant/agents/1", json={"name": "New"}, headers=headers)
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "of-a-proxy.1")
    for who in ("platform", "tenant1"):
        (entry,) = await _log(world, who, entity="agents")
        expected = {"action": "update", "entity_id": "1", "tenant_id": 1, "request_id": "of-a-proxy.1", "user_id": 2}
        expected |= {"actor_kind": "user", "actor": "tenant1", "at_ms": world.now_ms, "address": "127.0.0.1"}
        assert {name: entry[name] for name in expected} == expected
        assert (entry["before"], entry["after"]) == ({"name": "Agent 1"}, {"name": "New"})
    assert await _log(world, "tenant2", entity="agents") == []


async def test_an_undone_change_leaves_an_entry(world: World) -> None:
    body = {"code": "a2", "name": "taken"}
    assert (await world.ask("tenant1", "PATCH", "/api/tenant/agents/1", json=body)).status_code == 400
    body = {"code": "a2", "name": "taken"}
    assert (await world.ask("tenant1", "POST", "/api/tenant/agents", json=body)).status_code == 409
    assert (await world.ask("tenant1", "PATCH", "/api/tenant/agents/1", json={"name": "Agent 1"})).status_code == 200
    assert await _log(world, entity="agents") == []


async def test_a_secret_or_a_number_is_in_the_log(world: World) -> None:
    body = {"login": "new", "password": "a new password", "role": "agent", "agent_id": 1}
    assert (await world.ask("tenant1", "POST", "/api/tenant/users", json=body)).status_code == 201
    body = {"password": "another password"}
    assert (await world.ask("tenant1", "PATCH", "/api/tenant/users/4", json=body)).status_code == 200
    body = {"name": "CRM", "permissions": ["calls.read"]}
    key = (await world.ask("tenant1", "POST", "/api/tenant/api-keys", json=body)).json()["secret"]
    binding = await world.ask("tenant1", "DELETE", "/api/tenant/bindings/binding1")
    assert binding.status_code == 204
    body = {"x_number": "01088880001", "b_number": "13900139009", "agent_id": 1}
    assert (await world.ask("tenant1", "POST", "/api/tenant/bindings", json=body)).status_code == 201
    entries = await _log(world)
    log = json.dumps(entries)
    for hidden in (PASSWORD, "a new password", "another password", "argon2", key, "13900139009", A1[3:], "88880001"):
        assert hidden not in log, hidden
    assert {"users", "api_keys", "bindings"} <= {entry["entity"] for entry in entries}
    (created,) = [entry for entry in entries if entry["entity"] == "bindings" and entry["action"] == "create"]
    assert created["after"]["b_number"] == "139****9009"
    (changed,) = [entry for entry in entries if entry["entity"] == "users" and entry["action"] == "update"]
    assert (changed["before"], changed["after"]) == ({"password_hash": SECRET}, {"password_hash": SECRET})


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("ha1_md5", "0" * 32, SECRET),
        ("registration", {"username": "u", "ha1_sha256": "x"}, {"username": "u", "ha1_sha256": SECRET}),
        ("settings", [{"Secret".lower(): "x", "AppSecret": "y"}], [{"secret": SECRET, "AppSecret": SECRET}]),
        (
            "settings",
            {"PoolKey": "x", "poolKey": "y", "apiKey": "z"},
            dict.fromkeys(["PoolKey", "poolKey", "apiKey"], SECRET),
        ),
        ("party_number", "+8613900139009", "139****9009"),
        ("phones", ["+8613900139009"], ["139****9009"]),
        ("number_format", "e164", "e164"),
        ("octets", b"x", SECRET),
        ("phone", None, None),
        ("name", "x" * 2000, "x" * 1000),
    ],
)
def test_a_value_is_kept_as_it_is(key: str, value: Any, kept: Any) -> None:
    assert masked(key, value) == kept


def test_an_address_is_kept_whole() -> None:
    assert kept_address("203.0.113.77", masked=True) == "203.0.113.0/24"
    assert kept_address("2001:db8:1:2::3", masked=True) == "2001:db8:1::/48"
    assert kept_address("testclient", masked=True) == ""
    assert kept_address("203.0.113.77", masked=False) == "203.0.113.77"


async def test_a_tenant_learns_whose_number_it_was(world: World) -> None:
    path = "/api/platform/x-numbers/1/tenant"
    database = open_database(world.settings.database_url)
    actor = Actor(ActorKind.USER, "platform", user_id=1)
    async with writing_session(database, world.now_ms, actor) as session:
        session.add(SipAccount(agent_id=1, username="u", realm="r", ha1_md5="0" * 32, ha1_sha256="1" * 64))
    await database.dispose()
    assert "0" * 32 not in json.dumps(await _log(world))
    await world.ask("tenant1", "DELETE", "/api/tenant/bindings/binding1")
    answer = await world.ask("platform", "PUT", path, json={"tenant_id": None})
    assert answer.status_code == 200, answer.text
    assert (await world.ask("platform", "PUT", path, json={"tenant_id": 2})).status_code == 200
    theirs = json.dumps(await _log(world, "tenant2", entity="x_numbers"))
    assert '"tenant_id": 1' not in theirs
    assert '"agent_id": 1' not in theirs
    own = await _log(world, "tenant1", entity="x_numbers")
    assert {entry["actor"] for entry in own} == {"platform"}
    assert all(entry["user_id"] is None and entry["session_id"] is None and not entry["address"] for entry in own)
    assert '"tenant_id": 2' not in json.dumps(own)


async def test_a_jump_leaves_no_trace(world: World) -> None:
    answer = await world.ask("platform", "POST", "/api/platform/tenants/1/jumps", json={"reason": "asked to"})
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    body = {"name": "New"}
    assert (await world.ask(None, "PATCH", "/api/tenant/agents/1", json=body, headers=headers)).is_success
    assert (await world.ask(None, "POST", "/api/me/logout", headers=headers)).status_code == 204
    await world.ask("platform", "POST", "/api/platform/tenants/1/jumps", json={"reason": "forgotten"})
    world.now_ms += JUMP_MS
    database = open_database(world.settings.database_url)
    await keep_sessions(database, world.now_ms)
    await keep_sessions(database, world.now_ms)
    await database.dispose()
    world.tokens.clear()
    entries = await _log(world, "tenant1")
    about = [(entry["action"], entry["actor"], entry["actor_kind"]) for entry in reversed(entries)]
    assert [entry for entry in about if entry[0] != "login"] == [
        ("jump.begin", "platform", "user"),
        ("update", "platform", "jump"),
        ("jump.end", "platform", "jump"),
        ("jump.begin", "platform", "user"),
        ("jump.end", "housekeeping", "system"),
    ]
    begun = [entry for entry in entries if entry["action"] == "jump.begin"]
    assert {entry["after"]["reason"] for entry in begun} == {"asked to", "forgotten"}


async def test_somebody_edits_the_log(world: World) -> None:
    await world.ask("tenant1", "PATCH", "/api/tenant/agents/1", json={"name": "New"})
    database = open_database(world.settings.database_url)
    for statement in (
        update(AuditEntry).values(actor="nobody"),
        delete(AuditEntry),
        text("DELETE FROM audit_entries WHERE id = 1"),
    ):
        with pytest.raises(DatabaseError, match="append-only"):
            async with writing(database) as connection:
                await connection.execute(statement)
    await database.dispose()
    assert (await _log(world, entity="agents"))[0]["actor"] == "tenant1"


async def test_a_page_of_the_log_ends_too_early(world: World) -> None:
    for number in range(5):
        await world.ask("tenant1", "PATCH", "/api/tenant/agents/1", json={"name": f"New {number}"})
    seen, cursor = [], ""
    for _ in range(4):
        answer = (await world.ask("tenant1", "GET", f"/api/tenant/audit?entity=agents&limit=2{cursor}")).json()
        seen += [entry["after"]["name"] for entry in answer["items"]]
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert seen == [f"New {number}" for number in range(4, -1, -1)]


@pytest.mark.parametrize("query", ["entity=%00", "actor_kind=x", "user_id=x", "from_ms=-1", "cursor=x", "action=a b"])
async def test_a_filter_of_another_shape(world: World, query: str) -> None:
    answer = await world.ask("tenant1", "GET", f"/api/tenant/audit?{query}")
    assert answer.status_code == 400, answer.text
