import asyncio
from typing import Any

import jwt
import pytest

from admin_api.session.attempts import OF_PAIR
from admin_api.session.login import WAITING_MAX
from engine.services.access import credentials
from engine.store.access.login_failures import QUIET_MS
from engine.store.tables import Agent, Tenant, User

from .conftest import NOW_MS, PASSWORD, USERS, World

ME = {"platform": "/api/platform/accounts", "tenant1": "/api/tenant/account", "agent1": "/api/agent/me"}


async def _login(world: World, login: str, password: str = PASSWORD) -> Any:
    return await world.ask(None, "POST", "/api/login", json={"login": login, "password": password})


@pytest.mark.parametrize("who", ["platform", "tenant1", "agent1"])
async def test_a_login_opens_nothing(world: World, who: str) -> None:
    answer = await _login(world, who)
    assert answer.status_code == 200
    token, refresh_token = answer.json()["token"], answer.json()["refresh_token"]
    assert answer.json() == {
        "token": token,
        "refresh_token": refresh_token,
        "expires_at_ms": NOW_MS + world.settings.api.token_seconds * 1000,
        "refresh_expires_at_ms": NOW_MS + world.settings.api.refresh_seconds * 1000,
        "role": USERS[who][0],
        "tenant_id": USERS[who][1],
        "agent_id": USERS[who][2],
    }
    headers = {"Authorization": f"Bearer {token}"}
    assert (await world.ask(None, "GET", ME[who], headers=headers)).status_code == 200


async def test_an_unknown_login_is_told_from_a_wrong_password(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    real = credentials.PasswordHasher.verify

    def verify(self: Any, password_hash: str, password: str) -> bool:
        verified.append(password_hash)
        return real(self, password_hash, password)

    monkeypatch.setattr(credentials.PasswordHasher, "verify", verify)
    wrong, unknown = await _login(world, "tenant1", "wrong"), await _login(world, "nobody")
    assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json()) == (401, wrong.json())
    assert len(verified) == 2, "both cost a hash"


def test_nobodys_hash_is_of_another_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert not credentials._HASHER.check_needs_rehash(credentials._NOBODYS_HASH)


@pytest.mark.parametrize(
    ("table", "key", "status", "out"),
    [
        (Tenant, 1, "suspended", ("tenant1", "agent1", "agent2")),
        (Agent, 1, "suspended", ("agent1",)),
        (Agent, 1, "left", ("agent1",)),
        (User, 2, "suspended", ("tenant1",)),
    ],
)
async def test_a_suspended_one_stays_in(world: World, table: Any, key: int, status: str, out: tuple[str, ...]) -> None:
    paths = {who: f"/api/{USERS[who][0].removesuffix('_admin')}/live-calls" for who in USERS}
    for who in USERS:
        assert (await world.ask(who, "GET", paths[who])).status_code == 200
    await world.write(table, key, status=status)
    for who in USERS:
        expected = 401 if who in out else 200
        assert (await world.ask(who, "GET", paths[who])).status_code == expected, who
        assert (await _login(world, who)).status_code == expected, who


async def test_a_token_outlives_its_time_or_its_password(world: World) -> None:
    path = ME["tenant1"]
    await world.token("tenant1")
    world.now_ms += world.settings.api.token_seconds * 1000 - 1
    assert (await world.ask("tenant1", "GET", path)).status_code == 200
    world.now_ms += 1
    assert (await world.ask("tenant1", "GET", path)).status_code == 401
    world.now_ms = NOW_MS
    answer = await world.ask("platform", "PATCH", "/api/platform/users/2", json={"password": "a new password"})
    assert "password" not in answer.text
    assert (await world.ask("tenant1", "GET", path)).status_code == 401
    assert (await _login(world, "tenant1")).status_code == 401
    assert (await _login(world, "tenant1", "a new password")).status_code == 200


async def test_a_role_is_taken_from_the_token(world: World) -> None:
    await world.token("agent1")
    await world.write(User, 4, role="platform_admin", tenant_id=None, agent_id=None)
    assert (await world.ask("agent1", "GET", "/api/platform/accounts")).status_code == 401


async def test_a_forged_token_is_taken(world: World) -> None:
    claims = jwt.decode(await world.token("tenant1"), options={"verify_signature": False})
    key = world.context.token_key
    forged = [
        jwt.encode(claims, b"x" * 32, algorithm="HS256"),
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, key, algorithm="HS384"),
        jwt.encode(claims | {"role": "platform_admin"}, key, algorithm="HS256"),
        jwt.encode(claims | {"tenant_id": 2}, key, algorithm="HS256"),
        jwt.encode(claims | {"sub": "1"}, key, algorithm="HS256"),
        jwt.encode(claims | {"sub": "99"}, key, algorithm="HS256"),
        jwt.encode(claims | {"sub": "x"}, key, algorithm="HS256"),
        jwt.encode(claims | {"exp": "9999999999"}, key, algorithm="HS256"),
        jwt.encode({name: value for name, value in claims.items() if name != "exp"}, key, algorithm="HS256"),
        jwt.encode({name: value for name, value in claims.items() if name != "sid"}, key, algorithm="HS256"),
        jwt.encode(claims | {"sid": 1}, key, algorithm="HS256"),
        jwt.encode(claims | {"sid": "another"}, key, algorithm="HS256"),
        jwt.encode(claims | {"kind": "refresh"}, key, algorithm="HS256"),
        jwt.encode(claims | {"acting_for": 1}, key, algorithm="HS256"),
        "",
        "x",
        "." * 5000,
    ]
    for token in forged:
        for header in (f"Bearer {token}", token, f"Basic {token}"):
            for path in (ME["tenant1"], ME["platform"]):
                answer = await world.ask(None, "GET", path, headers={"Authorization": header})
                assert answer.status_code == 401, token
    assert jwt.encode(claims, key, algorithm="HS256") == world.tokens["tenant1"]


async def test_a_password_is_tried_without_end(world: World) -> None:
    for _ in range(OF_PAIR.free_failures):
        assert (await _login(world, "tenant1", "wrong")).status_code == 401
    for seconds in (1, 2, 4, 8):
        answer = await _login(world, "tenant1")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, str(seconds)), "right or wrong, not heard"
        world.now_ms += seconds * 1000
        assert (await _login(world, "tenant1", "wrong")).status_code == 401
    assert (await _login(world, "tenant2")).status_code == 200
    world.now_ms += QUIET_MS
    assert (await _login(world, "tenant1")).status_code == 200


async def test_a_flood_of_logins_fills_the_memory(world: World) -> None:
    turnstile = world.app.state.turnstile
    turnstile._waiting = WAITING_MAX
    assert (await _login(world, "tenant1")).status_code == 429
    turnstile._waiting = 0
    answers = await asyncio.gather(*(_login(world, f"nobody{number}") for number in range(20)))
    assert {answer.status_code for answer in answers} == {401}
    assert turnstile._waiting == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"login": "tenant1"},
        {"login": 1, "password": "x"},
        {"login": "x" * 65, "password": "x"},
        {"login": "x", "password": "x" * 201},
        {"login": "x", "password": "x", "role": "platform_admin"},
        [],
        None,
        "x",
    ],
)
async def test_a_login_of_another_shape(world: World, body: Any) -> None:
    answer = await world.ask(None, "POST", "/api/login", json=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
