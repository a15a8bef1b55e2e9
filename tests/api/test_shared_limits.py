"""Limits hold over all API processes: here two applications on one database."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from admin_api.common.auth import KeyRates
from admin_api.housekeeping import keep_failures
from admin_api.session.attempts import OF_PAIR
from engine.store.access.login_failures import KNOWN_MS, QUIET_MS
from engine.store.access.user_store import KeyRecord
from engine.store.database import open_database, reading
from engine.store.tables import ApiKeyBudget, LoginFailure

from .conftest import NOW_MS, PASSWORD, World


class Other:
    """Another process's application."""

    def __init__(self, world: World) -> None:
        self.app = world.elsewhere()
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)  # type: ignore[arg-type]
        self.client = httpx.AsyncClient(transport=transport, base_url="http://testserver.local")

    async def close(self) -> None:
        await self.client.aclose()
        await self.app.state.context.database.dispose()


async def _log_in(client: httpx.AsyncClient, password: str) -> Any:
    return await client.post("/api/login", json={"login": "tenant1", "password": password})


async def test_a_second_process_hears_the_failures_of_the_first_anew(world: World) -> None:
    other = Other(world)
    try:
        for number in range(OF_PAIR.free_failures):
            client = (world.client, other.client)[number % 2]
            assert (await _log_in(client, "wrong")).status_code == 401
        for client in (world.client, other.client):
            answer = await _log_in(client, PASSWORD)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        world.now_ms += 1000
        assert (await _log_in(other.client, PASSWORD)).status_code == 200
        assert (await _log_in(world.client, "wrong")).status_code == 401, "forgiven, and counted from the beginning"
        assert (await _log_in(world.client, PASSWORD)).status_code == 200
    finally:
        await other.close()


async def test_failures_at_once_are_counted_once(world: World) -> None:
    await asyncio.gather(*(_log_in(world.client, "wrong") for _ in range(4)))
    async with reading(world.context.database) as connection:
        counted = (await connection.scalars(select(LoginFailure.failures))).all()
    assert counted == [4, 4, 4], "of the pair, the address and the login"


async def test_failures_are_kept_for_ever_or_with_what_was_typed(world: World) -> None:
    await _log_in(world.client, "wrong")
    await _log_in(world.client, PASSWORD)
    async with reading(world.context.database) as connection:
        stored = (await connection.execute(select(LoginFailure))).all()
    assert len(stored) == 2, "the address's failure, and that he is known there"
    assert "tenant1" not in str(stored)
    assert "127.0.0.1" not in str(stored)
    assert await keep_failures(world.context.database, NOW_MS + QUIET_MS) == 0
    assert await keep_failures(world.context.database, NOW_MS + QUIET_MS + 1) == 1
    assert await keep_failures(world.context.database, NOW_MS + KNOWN_MS + 1) == 1


def _key(per_minute_max: int) -> KeyRecord:
    fields = dict.fromkeys(KeyRecord.__dataclass_fields__)
    return KeyRecord(**{**fields, "id": 1, "requests_per_minute_max": per_minute_max})  # type: ignore[arg-type]


@pytest.mark.parametrize("per_minute_max", [1, 7, 100])
async def test_two_processes_let_twice_the_rate_pass(world: World, per_minute_max: int) -> None:
    database = open_database(world.settings.database_url)
    processes = [KeyRates(world.context.database), KeyRates(database)]
    key, passed = _key(per_minute_max), 0
    for second in range(60):
        for rates in processes:
            for _ in range(max(1, per_minute_max // 30)):
                passed += await rates.wait_ms(key, NOW_MS + second * 1000) == 0
    # A bucket that is full at the beginning, and fills evenly: twice a minute's in the first minute, and no more.
    assert per_minute_max <= passed <= 2 * per_minute_max
    await database.dispose()


async def test_each_request_of_a_key_writes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, key, taken = KeyRates(world.context.database), _key(6000), []
    for _ in range(600):
        assert await rates.wait_ms(key, NOW_MS) == 0
        async with reading(world.context.database) as connection:
            taken.append(await connection.scalar(select(ApiKeyBudget.left_milli)))
    assert len(set(taken)) == 2, "three hundred at a time"
    slow = _key(1)
    rates = KeyRates(world.context.database)
    async with reading(world.context.database) as connection:
        assert await connection.scalar(select(func.count()).select_from(ApiKeyBudget)) == 1
    waits = [await rates.wait_ms(slow, NOW_MS + 1), await rates.wait_ms(slow, NOW_MS + 1)]
    assert waits[0] == 0
    assert 0 < waits[1] <= 60_000
    assert await rates.wait_ms(slow, NOW_MS + 2) == waits[1] - 1, "without asking the database"
