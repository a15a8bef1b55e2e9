"""Two people edit one row: the second is told, and neither's work is lost."""

import asyncio
from typing import Any

import pytest

from .conftest import World

ROWS = [
    ("platform", "/api/platform/tenants/1", {"name": "One"}, {"name": "Two"}),
    ("platform", "/api/platform/agents/1", {"name": "One"}, {"name": "Two"}),
    ("platform", "/api/platform/lines/1", {"name": "One"}, {"name": "Two"}),
    ("platform", "/api/platform/carriers/1", {"name": "One"}, {"name": "Two"}),
    ("platform", "/api/platform/roles/5", {"name": "One"}, {"name": "Two"}),
    ("tenant1", "/api/tenant/agents/1", {"name": "One"}, {"name": "Two"}),
]


async def _etag(world: World, who: str, path: str) -> str:
    answer = await world.ask(who, "GET", path)
    assert answer.status_code == 200, answer.text
    etag: str = answer.headers["etag"]
    return etag


@pytest.mark.parametrize(("who", "path", "one", "two"), ROWS)
async def test_the_second_writes_over_the_first(
    world: World, who: str, path: str, one: dict[str, Any], two: dict[str, Any]
) -> None:
    seen = {"If-Match": await _etag(world, who, path)}
    first = await world.ask(who, "PATCH", path, json=one, headers=seen)
    assert first.status_code == 200, first.text
    second = await world.ask(who, "PATCH", path, json=two, headers=seen)
    assert (second.status_code, second.json()["code"]) == (412, "precondition_failed")
    assert (await world.ask(who, "GET", path)).json()["name"] == "One"
    again = {"If-Match": await _etag(world, who, path)}
    assert (await world.ask(who, "PATCH", path, json=two, headers=again)).status_code == 200
    assert (await world.ask(who, "PATCH", path, json=one)).status_code == 200, "it is not demanded"
    assert (await world.ask(who, "PATCH", path, json=two, headers={"If-Match": "*"})).status_code == 200


async def test_a_number_is_suspended_that_was_given_away_meanwhile(world: World) -> None:
    path = "/api/platform/x-numbers/4"
    seen = {"If-Match": await _etag(world, "platform", path)}
    given = await world.ask("platform", "PUT", f"{path}/tenant", json={"tenant_id": 1})
    assert given.status_code == 200, given.text
    answer = await world.ask("platform", "PATCH", path, json={"status": "suspended"}, headers=seen)
    assert answer.status_code == 412


async def test_many_write_at_once(world: World) -> None:
    path = "/api/platform/tenants/1"
    seen = {"If-Match": await _etag(world, "platform", path)}
    asked = (world.ask("platform", "PATCH", path, json={"name": f"N{n}"}, headers=seen) for n in range(6))
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*asked))
    assert statuses == [200, 412, 412, 412, 412, 412]


async def test_an_answer_that_is_known_is_sent_again(world: World) -> None:
    path = "/api/platform/lines/1"
    etag = await _etag(world, "platform", path)
    for known in (etag, f'"other", W/{etag}', "*"):
        answer = await world.ask("platform", "GET", path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    answer = await world.ask("platform", "GET", path, headers={"If-None-Match": '"other"'})
    assert answer.status_code == 200
    await world.ask("platform", "PATCH", path, json={"name": "New"})
    answer = await world.ask("platform", "GET", path, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.json()["name"]) == (200, "New")


async def test_if_match_tells_whether_a_foreign_row_is_there(world: World) -> None:
    for path in ("/api/tenant/agents/3", "/api/tenant/agents/99"):
        answer = await world.ask("tenant1", "PATCH", path, json={"name": "N"}, headers={"If-Match": '"x"'})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_if_match_is_not_heeded_where_there_is_nothing_to_match(world: World) -> None:
    path, body = "/api/platform/agents/1/suspension", {"running_calls": "finish"}
    answer = await world.ask("platform", "PUT", path, json=body, headers={"If-Match": '"x"'})
    assert (answer.status_code, answer.json()["code"]) == (400, "precondition.not_here")
