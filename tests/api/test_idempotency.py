"""A request that is sent again under its Idempotency-Key: a double click, a replay, a crash in between."""

import asyncio
from copy import copy
from typing import Any

import pytest
from litestar.testing import AsyncTestClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from admin_api.common.idempotency import takes_key
from engine.store.access.idempotency_store import (
    CLAIMED_MS,
    KEPT_MS,
    Claim,
    ClaimLost,
    claim,
    mark,
    prune_keys,
)
from engine.store.database import open_database, reading, writing_session
from engine.store.tables import Agent, IdempotencyKey

from .conftest import World

_AGENT = ("/api/platform/agents", {"tenant_id": 1, "code": "new", "name": "New"})
_KEY = {"Idempotency-Key": "click-1"}


async def _post(world: World, key: str = "click-1", who: str = "platform", **changed: Any) -> Any:
    path, body = _AGENT
    return await world.ask(who, "POST", path, json={**body, **changed}, headers={"Idempotency-Key": key})


async def _count(world: World) -> int:
    answer = await world.ask("platform", "GET", "/api/platform/agents?tenant_id=1")
    return sum(agent["code"] == "new" for agent in answer.json()["items"])


async def test_a_replay_is_carried_out_again(world: World) -> None:
    first, second = await _post(world), await _post(world)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert ("idempotency-replayed" in first.headers, second.headers["idempotency-replayed"]) == (False, "true")
    assert await _count(world) == 1


async def test_a_recharge_without_its_own_key_is_paid_in_once(world: World) -> None:
    path = "/api/platform/tenants/1/recharges"
    for _ in range(3):
        answer = await world.ask("platform", "POST", path, json={"amount_micro": 7, "key": "k7"}, headers=_KEY)
        assert answer.json()["applied"] is True
    other = await world.ask("platform", "POST", path, json={"amount_micro": 8, "key": "k8"}, headers=_KEY)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency.other_request")
    account = await world.ask("platform", "GET", "/api/platform/tenants/1/account")
    assert account.json()["balance_micro"] == answer.json()["balance_micro"]


async def test_a_double_click_is_carried_out_twice(world: World) -> None:
    """Two processes of the API on one database, eight clicks at once."""
    await world.token("platform")
    twin = copy(world)
    async with AsyncTestClient(world.elsewhere(), raise_server_exceptions=False) as client:
        twin.client = client
        answers = await asyncio.gather(*(_post(one) for _ in range(4) for one in (world, twin)))
    good = [answer.json() for answer in answers if answer.status_code == 201]
    assert good
    assert all(answer == good[0] for answer in good)
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} <= {"idempotency.running"}
    assert await _count(world) == 1


async def test_a_key_of_somebody_else_is_taken(world: World) -> None:
    body = {"code": "mine", "name": "N"}
    for who, tenant_id in (("tenant1", 1), ("tenant2", 2)):
        answer = await world.ask(who, "POST", "/api/tenant/agents", json=body, headers=_KEY)
        assert (answer.status_code, answer.json()["tenant_id"]) == (201, tenant_id)


async def test_what_failed_cannot_be_tried_again(world: World) -> None:
    refused = await _post(world, code="a1")
    assert refused.status_code == 409
    answer = await _post(world)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)


async def test_a_hang_up_is_sent_twice(world: World) -> None:
    for _ in range(2):
        answer = await world.ask("platform", "POST", "/api/platform/live-calls/call1/hang-up", headers=_KEY)
        assert answer.status_code == 202
    assert len([command for command in world.control.asked if type(command).__name__ == "HangUp"]) == 1


async def test_a_key_lives_for_ever(world: World) -> None:
    await _post(world)
    await world.write(IdempotencyKey, ("user 1", "click-1"), expires_at_ms=world.now_ms)
    answer = await _post(world)
    assert answer.json()["code"] == "agent.code_taken", "it was carried out anew"


@pytest.mark.parametrize("key", ["", "x" * 65, "two words"])
async def test_a_key_is_none(world: World, key: str) -> None:
    answer = await _post(world, key)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency.key_invalid")


async def test_a_secret_answer_is_kept(world: World) -> None:
    body = {"name": "k", "permissions": ["calls.read"]}
    answer = await world.ask("tenant1", "POST", "/api/tenant/api-keys", json=body, headers=_KEY)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency.not_here")
    document = (await world.client.get("/schema/openapi.json")).json()
    for path, item in document["paths"].items():
        operation = item.get("post")
        if operation is None or not takes_key("POST", path) or path.endswith("/offboarding-preview"):
            continue  # the preview's token opens nothing
        for status, response in operation["responses"].items():
            schema = response.get("content", {}).get("application/json", {}).get("schema", {})
            name = schema.get("$ref", "").rpartition("/")[2]
            shown = document["components"]["schemas"].get(name, schema).get("properties", {})
            secrets = {"password", "secret", "token", "access_token", "refresh_token", "recovery_codes"} & set(shown)
            assert not secrets, f"{path} {status}"


async def test_a_crash_between_the_writing_and_the_answer_does_it_again(world: World, database_url: str) -> None:
    """The first process dies; its claim lies there, with and without something written."""
    database = open_database(database_url)
    await claim(database, Claim("user 1", "click-1", "dead"), "?", world.now_ms)
    running = await _post(world)
    assert (running.status_code, running.json()["code"]) == (422, "idempotency.other_request")
    world.now_ms += CLAIMED_MS
    assert (await _post(world)).status_code == 201, "nothing was written, and its time is over"

    claimed = Claim("user 1", "click-2", "dead")
    await claim(database, claimed, "?", world.now_ms)
    async with writing_session(database, world.now_ms) as session:
        await mark(session, claimed)
    world.now_ms += CLAIMED_MS
    assert (await _post(world, "click-2")).json()["code"] == "idempotency.other_request"
    await database.dispose()


async def _write_under(database: AsyncEngine, claimed: Claim, now_ms: int) -> None:
    async with writing_session(database, now_ms) as session:
        (await session.get_one(Agent, 1)).name = "written"
        await session.flush()
        await mark(session, claimed)


async def test_one_who_lost_his_claim_still_writes(world: World, database_url: str) -> None:
    database = open_database(database_url)
    slow, quick = Claim("user 1", "k", "slow"), Claim("user 1", "k", "quick")
    assert await claim(database, slow, "same", world.now_ms) is None
    known = await claim(database, quick, "same", world.now_ms)
    assert known is not None
    assert known.is_running
    assert await claim(database, quick, "same", world.now_ms + CLAIMED_MS) is None
    with pytest.raises(ClaimLost):
        await _write_under(database, slow, world.now_ms)
    async with reading(database) as connection:
        assert await connection.scalar(select(Agent.name).where(Agent.id == 1)) == "Agent 1"
    assert await prune_keys(database, world.now_ms) == 0
    assert await prune_keys(database, world.now_ms + CLAIMED_MS + KEPT_MS) == 1
    await database.dispose()
