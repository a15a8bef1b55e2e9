"""One's own sessions, password and second factor, whoever one is."""

import base64
import json
from typing import Any

import pytest

from engine.domain.people.totp import code_at
from engine.services.access.sessions import SESSIONS_PER_USER_MAX
from engine.settings import ApiSettings
from engine.store.database import open_database, writing_session
from engine.store.tables import User
from engine.store.tables.identity import RecoveryCode, SecondFactor

from .conftest import NOW_MS, PASSWORD, USERS, World, session_of


class Client:
    """Somebody who logs in by himself."""

    def __init__(self, world: World, login: str) -> None:
        self.world, self.login = world, login
        self.tokens: dict[str, Any] = {}

    async def log_in(self, password: str = PASSWORD, code: str = "") -> Any:
        body = {"login": self.login, "password": password, "code": code}
        answer = await self.world.ask(None, "POST", "/api/login", json=body)
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer

    async def refresh(self, token: str | None = None) -> Any:
        body = {"refresh_token": token or self.tokens["refresh_token"]}
        answer = await self.world.ask(None, "POST", "/api/refresh", json=body)
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer

    async def ask(self, method: str, path: str, **request: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.tokens['token']}"}
        return await self.world.ask(None, method, path, headers=headers, **request)

    async def sessions(self) -> list[Any]:
        """Those that were begun here, without the world's own."""
        rows = (await self.ask("GET", "/api/me/sessions")).json()
        return [row for row in rows if row["id"] != session_of(self.login)]


async def _client(world: World, login: str = "tenant1") -> Client:
    client = Client(world, login)
    assert (await client.log_in()).status_code == 200
    return client


@pytest.mark.parametrize("who", USERS)
async def test_somebody_is_taken_for_another(world: World, who: str) -> None:
    answer = await world.ask(who, "GET", "/api/me")
    assert answer.status_code == 200
    assert (answer.json()["login"], answer.json()["role"]) == (who, USERS[who][0])
    assert answer.json()["acting_for"] is None
    assert "x-acting-for" not in answer.headers
    assert (await world.ask(None, "GET", "/api/me")).status_code == 401


async def test_a_refresh_token_opens_a_route(world: World) -> None:
    client = await _client(world)
    headers = {"Authorization": f"Bearer {client.tokens['refresh_token']}"}
    assert (await world.ask(None, "GET", "/api/me", headers=headers)).status_code == 401
    assert (await client.refresh(client.tokens["token"])).status_code == 401, (
        "nor is an access token one for refreshing"
    )


async def test_a_session_ends_with_its_first_token(world: World) -> None:
    client = await _client(world)
    world.now_ms += world.settings.api.token_seconds * 1000
    assert (await client.ask("GET", "/api/me")).status_code == 401
    assert (await client.refresh()).status_code == 200
    assert (await client.ask("GET", "/api/me")).status_code == 200
    world.now_ms = NOW_MS + world.settings.api.refresh_seconds * 1000
    assert (await client.refresh()).status_code == 401


async def test_a_stolen_refresh_token_goes_on(world: World) -> None:
    client = await _client(world)
    stolen = client.tokens["refresh_token"]
    assert (await client.refresh()).status_code == 200
    newest = client.tokens["refresh_token"]
    assert (await client.refresh(stolen)).status_code == 401
    assert (await client.refresh(newest)).status_code == 401, "nobody knows which of the two is the thief"
    assert (await client.ask("GET", "/api/me")).status_code == 401
    log = (await world.ask("platform", "GET", "/api/me")).status_code
    assert log == 200, "and nobody else is out"


async def test_a_session_outlives_its_logout(world: World) -> None:
    one, two = await _client(world), await _client(world)
    assert (await one.ask("POST", "/api/me/logout")).status_code == 204
    assert (await one.ask("GET", "/api/me")).status_code == 401
    assert (await one.refresh()).status_code == 401
    assert (await two.ask("GET", "/api/me")).status_code == 200
    three = await _client(world)
    assert (await three.ask("DELETE", "/api/me/sessions")).status_code == 204
    for client in (two, three):
        assert (await client.ask("GET", "/api/me")).status_code == 401
        assert (await client.refresh()).status_code == 401


async def test_somebody_ends_anothers_session(world: World) -> None:
    one, two, other = await _client(world), await _client(world), await _client(world, "tenant2")
    listed = await one.sessions()
    assert [row["current"] for row in listed] == [True, False] or [row["current"] for row in listed] == [False, True]
    (theirs,) = await other.sessions()
    assert (await one.ask("DELETE", f"/api/me/sessions/{theirs['id']}")).status_code == 404
    assert (await other.ask("GET", "/api/me")).status_code == 200
    (mine,) = [row for row in listed if not row["current"]]
    assert (await one.ask("DELETE", f"/api/me/sessions/{mine['id']}")).status_code == 204
    assert (await two.ask("GET", "/api/me")).status_code == 401


async def test_sessions_grow_without_end(world: World) -> None:
    first = await _client(world)
    for _ in range(SESSIONS_PER_USER_MAX):
        world.now_ms += 1
        last = await _client(world)
    assert len((await last.ask("GET", "/api/me/sessions")).json()) == SESSIONS_PER_USER_MAX
    assert (await first.ask("GET", "/api/me")).status_code == 401


async def test_a_session_outlives_the_password(world: World) -> None:
    client = await _client(world)
    body = {"password": "wrong", "new_password": "another password"}
    assert (await client.ask("POST", "/api/me/password", json=body)).status_code == 422
    body["password"] = PASSWORD
    assert (await client.ask("POST", "/api/me/password", json=body)).status_code == 204
    assert (await client.ask("GET", "/api/me")).status_code == 401
    assert (await client.refresh()).status_code == 401
    assert (await client.log_in()).status_code == 401
    assert (await client.log_in("another password")).status_code == 200


async def test_a_password_changed_by_provisioning_leaves_sessions(world: World) -> None:
    client = await _client(world)
    await world.write(User, 2, password_hash="$another")
    assert (await client.ask("GET", "/api/me")).status_code == 401
    assert (await client.refresh()).status_code == 401


async def _enrolled(client: Client) -> tuple[bytes, list[str]]:
    answer = await client.ask("POST", "/api/me/second-factor", json={"password": PASSWORD})
    assert answer.status_code == 200, answer.text
    secret = base64.b32decode(answer.json()["secret"])
    code = code_at(secret, client.world.now_ms // 30_000)
    answer = await client.ask("POST", "/api/me/second-factor/confirmation", json={"code": code})
    assert answer.status_code == 200, answer.text
    return secret, answer.json()["recovery_codes"]


async def test_a_code_is_good_twice(world: World) -> None:
    client = await _client(world, "platform")
    secret, _ = await _enrolled(client)
    code = code_at(secret, world.now_ms // 30_000)
    assert (await client.log_in()).json()["code"] == "second_factor.needed"
    assert (await client.log_in(code=code)).status_code == 401, "it confirmed the enrolment"
    world.now_ms += 30_000
    code = code_at(secret, world.now_ms // 30_000)
    assert (await client.log_in(password="wrong", code=code)).status_code == 401
    assert (await client.log_in(code=code)).status_code == 200
    assert (await client.log_in(code=code)).json()["code"] == "second_factor.wrong_code"
    world.now_ms += 60_000
    early = code_at(secret, world.now_ms // 30_000 - 1)
    assert (await client.log_in(code=early)).status_code == 200, "a clock may be a step off"
    world.now_ms += 300_000
    assert (await client.log_in(code=early)).status_code == 401


async def test_a_recovery_code_is_good_twice(world: World) -> None:
    client = await _client(world, "platform")
    _, codes = await _enrolled(client)
    assert len(set(codes)) == 10
    assert (await client.log_in(code=codes[0])).status_code == 200
    assert (await client.log_in(code=codes[0])).status_code == 401
    assert (await client.log_in(code=codes[1].upper().replace("-", " "))).status_code == 200


async def test_a_second_factor_is_readable_at_rest(world: World) -> None:
    client = await _client(world, "platform")
    secret, codes = await _enrolled(client)
    database = open_database(world.settings.database_url)
    async with writing_session(database, world.now_ms) as session:
        factor = await session.get_one(SecondFactor, 1)
        rows = (await session.scalars(RecoveryCode.__table__.select())).all()
    await database.dispose()
    sealed = base64.b64decode(factor.sealed_secret)
    assert secret not in sealed
    assert base64.b32encode(secret).decode() not in factor.sealed_secret
    assert len(rows) == 10
    assert not any(code in json.dumps(str(row)) for row in rows for code in codes)


async def test_a_second_factor_goes_without_the_password(world: World) -> None:
    client = await _client(world, "platform")
    await _enrolled(client)
    assert (await client.ask("POST", "/api/me/second-factor", json={"password": PASSWORD})).status_code == 409
    assert (await client.ask("POST", "/api/me/second-factor/removal", json={"password": "x"})).status_code == 422
    assert (await client.log_in()).status_code == 401
    assert (await client.ask("POST", "/api/me/second-factor/removal", json={"password": PASSWORD})).status_code == 204
    assert (await client.log_in()).status_code == 200


async def test_a_wrong_code_confirms(world: World) -> None:
    client = await _client(world, "platform")
    body = {"code": "000000"}
    assert (await client.ask("POST", "/api/me/second-factor/confirmation", json=body)).status_code == 409
    secret = (await client.ask("POST", "/api/me/second-factor", json={"password": PASSWORD})).json()["secret"]
    wrong = f"{(int(code_at(base64.b32decode(secret), NOW_MS // 30_000)) + 1) % 10**6:06}"
    answer = await client.ask("POST", "/api/me/second-factor/confirmation", json={"code": wrong})
    assert answer.status_code == 422
    assert (await client.log_in()).status_code == 200, "not confirmed, it is not asked for"


async def test_a_platform_administrator_does_without_a_second_factor(tmp_path: Any, database_url: str) -> None:
    world = World(tmp_path, database_url)
    world.app.state = world.state(api=ApiSettings(platform_second_factor=True))
    async with world.client:
        client = await _client(world, "platform")
        answer = await client.ask("GET", "/api/platform/tenants")
        assert answer.status_code == 403
        assert (await client.ask("GET", "/api/me")).json()["second_factor_missing"] is True
        await _enrolled(client)
        assert (await client.ask("GET", "/api/platform/tenants")).status_code == 200
        assert (await (await _client(world)).ask("GET", "/api/tenant/account")).status_code == 200
