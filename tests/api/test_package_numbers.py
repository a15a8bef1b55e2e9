"""A package with numbers through the API: made, ordered, approved, seen by whom it concerns, and over."""

from typing import Any

from admin_api.housekeeping import keep_orders
from engine.store.database import open_database

from .conftest import X4, World

PACKAGE = {
    "code": "with-numbers",
    "name": "With a number",
    "minutes": 10,
    "price_micro": 0,
    "tenant_id": 1,
    "line_ids": [2],
    "numbers": [{"line_id": 2, "count": 1}],
}


async def _ok(world: World, who: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    answer = await world.ask(who, method, f"/api/{who.rstrip('12')}{path}", json=body)
    assert answer.is_success, answer.text
    return answer.json()


async def test_a_package_s_number_is_nobody_s_or_stays_for_ever(world: World) -> None:
    package = await _ok(world, "platform", "POST", "/packages", PACKAGE)
    assert package["numbers"] == [{"line_id": 2, "count": 1}]
    same = await _ok(world, "platform", "PATCH", f"/packages/{package['id']}", {"numbers": package["numbers"]})
    assert same["version"] == 1
    orders = []
    for agent_id in (1, 2):
        wanted = {"kind": "purchase", "key": f"k{agent_id}", "package_id": package["id"], "agent_id": agent_id}
        orders.append((await _ok(world, "tenant1", "POST", "/orders", wanted))["id"])
    assert [each["number"] for each in (await _ok(world, "agent2", "GET", "/x-numbers"))["items"]] == []
    approved = await _ok(world, "platform", "POST", f"/orders/{orders[1]}/approve", {})
    answer = await world.ask("platform", "POST", f"/api/platform/orders/{orders[0]}/approve", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_few_numbers")
    assert (await _ok(world, "tenant1", "GET", f"/orders/{orders[0]}"))["state"] == "submitted"
    (shown,) = (await _ok(world, "agent2", "GET", "/x-numbers"))["items"]
    assert shown["number"] == X4
    (shown,) = [each for each in (await _ok(world, "tenant1", "GET", "/x-numbers"))["items"] if each["id"] == 4]
    assert (shown["agent_id"], shown["bucket_id"], shown["line_id"]) == (2, approved["bucket_id"], 2)
    history = (await _ok(world, "platform", "GET", "/x-numbers/4/history"))["items"]
    assert [(each["kind"], each["reason"]) for each in history] == [
        ("assigned", f"order {orders[1]}"),
        ("allocated", f"order {orders[1]}"),
    ]
    permitted = (await _ok(world, "platform", "GET", "/lines/2/tenants"))["items"]
    assert {each["tenant_id"] for each in permitted} == {1, 2}
    database = open_database(world.settings.database_url)
    await keep_orders(database, world.now_ms + 32 * 24 * 3600 * 1000)
    await database.dispose()
    assert 4 not in {each["id"] for each in (await _ok(world, "tenant1", "GET", "/x-numbers"))["items"]}
    permitted = (await _ok(world, "platform", "GET", "/lines/2/tenants"))["items"]
    assert {each["tenant_id"] for each in permitted} == {2}


async def test_a_package_s_numbers_are_misspelt(world: World) -> None:
    for numbers in ([{"line_id": 2, "count": 0}], [{"line_id": 2}], [{"line_id": 2, "count": 1, "x": 1}], [2]):
        answer = await world.ask("platform", "POST", "/api/platform/packages", json=PACKAGE | {"numbers": numbers})
        assert answer.status_code == 400
    for numbers in ([{"line_id": 1, "count": 1}], [{"line_id": 2, "count": 60}, {"line_id": 2, "count": 41}]):
        answer = await world.ask("platform", "POST", "/api/platform/packages", json=PACKAGE | {"numbers": numbers})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "numbers")
