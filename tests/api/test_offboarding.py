"""An agent leaves."""

from typing import Any

import pytest

from engine.domain.facts import SipAccountFacts
from engine.domain.money.package_minutes import MinutesBucket as BucketFacts
from engine.services.staff.offboarding import UNDO_MS
from engine.store.database import open_database, reading, writing_session
from engine.store.directory_reader import read_all, read_changes
from engine.store.tables import MinutesBucket, SipAccount
from engine.store.tables.offboarding import Offboarding

from .conftest import A1, B1, X1, World


async def _ask(world: World, method: str, path: str, status: int, body: Any = None) -> Any:
    answer = await world.ask("tenant1", method, f"/api/tenant{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def _equip(world: World) -> None:
    """Gives agent 1 a softphone, minutes and a department to head, beside his number and binding."""
    database = open_database(world.settings.database_url)
    async with writing_session(database, world.now_ms) as session:
        session.add(SipAccount(agent_id=1, username="u1", realm="r", ha1_md5="m", ha1_sha256="s"))
        for cause_id, agent_id, expires_at_ms in (("o1", 1, 10**15), ("o2", 1, 1), ("o3", 2, 10**15)):
            bucket = MinutesBucket(tenant_id=1, agent_id=agent_id, cause_id=cause_id, seconds_bought=60)
            bucket.seconds_left, bucket.starts_at_ms, bucket.expires_at_ms = 60, 0, expires_at_ms
            session.add(bucket)
    await database.dispose()
    await _ask(world, "PUT", "/departments/1/heads", 200, {"agent_ids": [1]})


async def _facts(world: World) -> Any:
    database = open_database(world.settings.database_url)
    async with reading(database) as connection:
        facts = (await read_all(connection))[1]
    await database.dispose()
    return sorted(map(repr, facts))


async def _leave(world: World, successor_id: int | None = 2) -> Any:
    plan = await _ask(world, "POST", "/agents/1/offboarding-preview", 200, {"successor_id": successor_id})
    body = {"token": plan["token"], "successor_id": successor_id}
    return await _ask(world, "POST", "/agents/1/offboarding", 201, body)


@pytest.mark.parametrize("successor_id", [2, None])
async def test_something_of_the_leavers_stays_behind(world: World, successor_id: int | None) -> None:
    await _equip(world)
    before = await _facts(world)
    plan = await _ask(world, "POST", "/agents/1/offboarding-preview", 200, {"successor_id": successor_id})
    counts = plan["counts"]
    assert counts.pop("minutes_buckets") >= 1
    assert counts == {"bindings": 1, "x_numbers": 1, "sip_accounts": 2, "headships": 1}
    assert await _facts(world) == before, "a preview changes nothing"
    assert (await world.ask("agent1", "GET", "/api/agent/me")).status_code == 200
    done = await _leave(world, successor_id)
    assert done["moves"] == plan["moves"]
    done["counts"].pop("minutes_buckets")
    assert done["counts"] == counts
    agent = await _ask(world, "GET", "/agents/1", 200)
    assert (agent["status"], agent["phone"]) == ("left", None)
    numbers = (await _ask(world, "GET", "/x-numbers", 200))["items"]
    assert {number["number"]: number["agent_id"] for number in numbers}[X1] == successor_id
    assert (await _ask(world, "GET", "/departments/1", 200))["head_ids"] == []
    assert (await world.ask("agent1", "GET", "/api/agent/me")).status_code == 401
    database = open_database(world.settings.database_url)
    async with reading(database) as connection:
        _, facts, _ = await read_changes(connection, 0)
    await database.dispose()
    buckets = [fact for fact in facts if isinstance(fact, BucketFacts) and fact.expires_at_ms > world.now_ms]
    assert buckets
    assert all(bucket.agent_id != 1 for bucket in buckets)
    assert [fact.status for fact in facts if isinstance(fact, SipAccountFacts)] == ["suspended"] * 2
    steps = (await _ask(world, "GET", "/x-numbers/1/history", 200))["items"]
    assert (steps[0]["from_agent_id"], steps[0]["to_agent_id"]) == (1, successor_id)
    # Undone, everything is as it was, for the engine too.
    await _ask(world, "POST", f"/offboardings/{done['id']}/undo", 200)
    assert await _facts(world) == before
    assert (await _ask(world, "GET", "/departments/1", 200))["head_ids"] == [1]
    assert (await world.ask("agent1", "GET", "/api/agent/me")).status_code == 401, "but he logs in anew"
    refused = await _ask(world, "POST", f"/offboardings/{done['id']}/undo", 409)
    assert refused["code"] == "offboarding.undone"


async def test_facts_change_between_the_preview_and_the_doing(world: World) -> None:
    plan = await _ask(world, "POST", "/agents/1/offboarding-preview", 200, {"successor_id": 2})
    other = await _ask(world, "POST", "/agents/1/offboarding-preview", 200, {})
    await _ask(world, "POST", "/agents/1/offboarding", 409, {"token": other["token"], "successor_id": 2})
    await _ask(world, "PUT", "/x-numbers/2/agent", 200, {"agent_id": 1})
    refused = await _ask(world, "POST", "/agents/1/offboarding", 409, {"token": plan["token"], "successor_id": 2})
    assert (refused["code"], refused["allowed"]) == ("offboarding.changed", ["preview it again"])
    assert (await _ask(world, "GET", "/agents/1", 200))["status"] == "active"


async def test_an_undo_takes_from_others_what_they_have_been_given(world: World) -> None:
    done = await _leave(world)
    before = await _facts(world)
    await _ask(world, "PATCH", "/agents/2", 200, {"phone": A1})
    await _ask(world, "POST", "/bindings", 201, {"x_number": X1, "b_number": B1, "agent_id": 2})
    await _ask(world, "PUT", "/x-numbers/1/agent", 200, {"agent_id": None})
    assert await _facts(world) != before
    now = await _facts(world)
    refused = await _ask(world, "POST", f"/offboardings/{done['id']}/undo", 409)
    assert refused["code"] == "offboarding.taken"
    assert {error["field"] for error in refused["errors"][1:]} == {"agent/1", "bindings/binding1", "x_numbers/1"}
    assert A1 not in str(refused)
    assert await _facts(world) == now, "all or nothing"


async def test_it_is_undone_after_a_day(world: World) -> None:
    done = await _leave(world)
    await world.write(Offboarding, done["id"], applied_at_ms=world.now_ms - UNDO_MS - 1)
    refused = await _ask(world, "POST", f"/offboardings/{done['id']}/undo", 409)
    assert refused["code"] == "offboarding.too_late"


async def test_a_binding_that_expired_meanwhile_comes_to_life(world: World) -> None:
    await _ask(world, "PATCH", "/bindings/binding1", 200, {"expires_at_ms": world.now_ms + 1000})
    done = await _leave(world)
    world.now_ms += 2000
    await _ask(world, "POST", f"/offboardings/{done['id']}/undo", 200)
    assert (await _ask(world, "GET", "/bindings/binding1", 200))["ended_at_ms"] == world.now_ms - 1000


async def test_who_has_left_leaves_again(world: World) -> None:
    await _leave(world)
    assert (await _ask(world, "POST", "/agents/1/offboarding-preview", 409, {}))["code"] == "agent.left"
    assert (await _ask(world, "PATCH", "/agents/1", 409, {"status": "active"}))["code"] == "agent.left"
    refused = await _ask(world, "POST", "/agents/2/offboarding-preview", 422, {"successor_id": 1})
    assert refused["code"] == "agent.unknown"
