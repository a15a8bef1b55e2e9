"""Money by hand, and what it went on."""

from typing import Any

import pytest
from sqlalchemy import select

from engine.domain.facts import AgentCapFacts, MoneyRulesFacts
from engine.store.database import open_database, reading, writing
from engine.store.directory_reader import read_all, read_changes
from engine.store.money.spending_store import read_charged
from engine.store.records.cdr_store import write_cdrs
from engine.store.tables import VelocityAlarm, WebhookDelivery

from .conftest import NOW_MS, World, cdr


async def _platform(world: World, method: str, path: str, **request: Any) -> Any:
    return await world.ask("platform", method, f"/api/platform{path}", **request)


@pytest.mark.parametrize("kind", ["refunds", "transfers"])
async def test_money_is_paid_out_twice_or_out_of_an_overdraft(world: World, kind: str) -> None:
    body = {"amount_micro": 4000, "key": "k"} | ({"payee_id": 2} if kind == "transfers" else {})
    path = f"/tenants/1/{kind}"
    for _ in range(2):
        answer = await _platform(world, "POST", path, json=body)
        assert (answer.status_code, answer.json()) == (200, {"state": "done", "balance_micro": 1000})
    assert (await _platform(world, "POST", path, json=body | {"amount_micro": 1})).status_code == 409
    answer = await _platform(world, "POST", path, json=body | {"key": "k2", "amount_micro": 1001})
    assert (answer.status_code, answer.json()["code"]) == (409, "balance_too_low")
    assert (await _platform(world, "POST", f"/tenants/9/{kind}", json=body)).status_code == 404
    balance = (await _platform(world, "GET", "/tenants/2/account")).json()["balance_micro"]
    assert balance == (9000 if kind == "transfers" else 5000)


async def test_a_correction_is_sent_twice_or_says_nothing(world: World) -> None:
    body = {"amount_micro": -6000, "key": "k", "note": "charged twice"}
    for applied in (True, False):
        answer = await _platform(world, "POST", "/tenants/1/corrections", json=body)
        assert answer.json() == {"applied": applied, "balance_micro": -1000}
    assert (await _platform(world, "POST", "/tenants/1/corrections", json=body | {"note": ""})).status_code == 400
    assert (
        await _platform(world, "POST", "/tenants/1/corrections", json=body | {"amount_micro": 0})
    ).status_code == 422


async def test_nobody_knows_who_changed_a_limit(world: World) -> None:
    body = {"limit_micro": 9000, "reason": "a good customer"}
    for _ in range(2):
        answer = await _platform(world, "PUT", "/tenants/1/overdraft-limit", json=body)
        assert answer.json()["overdraft_limit_micro"] == 9000
    changes = (await _platform(world, "GET", "/tenants/1/overdraft-changes")).json()["items"]
    assert [(each["from_micro"], each["to_micro"], each["reason"], each["by"]) for each in changes] == [
        (1000, 9000, "a good customer", "platform")
    ]


@pytest.mark.parametrize(("by", "ids"), [("line", [None]), ("agent", [1, 2])])
async def test_spending_counts_another_s_calls_or_day(world: World, by: str, ids: list[int | None]) -> None:
    period = f"?since=2027-01-14&until=2027-01-17&by={by}"
    items = (await world.ask("tenant1", "GET", f"/api/tenant/spending{period}")).json()["items"]
    assert [(each["start"], each["of"]) for each in items] == [("2027-01-15", each) for each in ids]
    assert sum(each["micro"] for each in items) == 240_000
    months = await world.ask("tenant1", "GET", f"/api/tenant/spending{period}&step=month")
    assert {each["start"] for each in months.json()["items"]} == {"2027-01"}
    answer = await world.ask("tenant1", "GET", "/api/tenant/spending?since=2020-01-01&until=2027-01-17")
    assert (answer.status_code, answer.json()["code"]) == (422, "too_much")


async def test_a_plan_s_entries_are_lost_or_take_what_no_call_can_have(world: World) -> None:
    window = {"from_minute": 480, "until_minute": 1200}
    entry: dict[str, Any] = {"rate": {"per_minute_micro": 50_000}, "prefix": "86", "window": window}
    body = {"code": "r9", "name": "N", "per_minute_micro": 0, "entries": [entry], "others_refused": True}
    made = (await _platform(world, "POST", "/rates", json=body)).json()
    assert (made["version"], made["entries"][0]["rate"]["first_increment_seconds"]) == (1, 60)
    path = f"/rates/{made['id']}"
    changed = (await _platform(world, "PATCH", path, json={"entries": made["entries"] * 2})).json()
    assert (changed["version"], len(changed["entries"])) == (2, 2)
    wrong: tuple[dict[str, Any], ...] = (
        {"prefix": "+86"},
        {"rate": {}},
        {"window": {"weekdays": 0}},
        {"direction": "up"},
    )
    for bad in wrong:
        assert (await _platform(world, "PATCH", path, json={"entries": [entry | bad]})).status_code == 400
    assert (await _platform(world, "PATCH", path, json={"zone": "Nowhere"})).status_code == 422
    trunk = await _platform(world, "PATCH", "/trunks/1", json={"buy_rate_id": made["id"]})
    assert trunk.json()["buy_rate_id"] == made["id"]
    assert (await _platform(world, "PATCH", "/trunks/1", json={"buy_rate_id": 99})).status_code == 422


async def test_a_spend_cap_reaches_no_engine_or_another_s_agent(world: World) -> None:
    answer = await _platform(world, "PATCH", "/tenants/1/money-rules", json={"day_cap_micro": 500})
    assert (answer.json()["zone"], answer.json()["day_cap_micro"]) == ("Asia/Shanghai", 500)
    assert (await _platform(world, "PATCH", "/tenants/9/money-rules", json={"day_cap_micro": 1})).status_code == 404
    assert (await _platform(world, "PATCH", "/tenants/1/money-rules", json={"day_cap_micro": -1})).status_code == 400
    answer = await world.ask("tenant1", "PUT", "/api/tenant/spend-caps/2", json={"day_cap_micro": 0})
    assert answer.json() == {"agent_id": 2, "day_cap_micro": 0}
    assert (await world.ask("tenant1", "GET", "/api/tenant/money-rules")).json()["day_cap_micro"] == 500
    database = open_database(world.settings.database_url)
    async with writing(database) as connection:
        ended = [("new", NOW_MS), ("old", NOW_MS - 1), ("rerated", NOW_MS + 1)]
        rows = [cdr(1, 1, 1, started_at_ms=NOW_MS - 9, ended_at_ms=at_ms) | {"id": call_id} for call_id, at_ms in ended]
        rows[2]["corrected_micro"] = 20_000
        others = [cdr(2, *of, ended_at_ms=NOW_MS) | {"id": f"of agent {of[1]}"} for of in ((1, 2), (2, 3))]
        await write_cdrs(connection, [*rows, *others])
    async with reading(database) as connection:
        _, facts = await read_all(connection)
        charged = await read_charged(connection, 1, NOW_MS)
    assert MoneyRulesFacts(1, "Asia/Shanghai", 500) in facts
    assert AgentCapFacts(2, 1, 0) in facts
    assert charged == {1: 220_000, 2: 120_000}
    await world.ask("tenant1", "DELETE", "/api/tenant/spend-caps/2")
    async with reading(database) as connection:
        _, _, removed = await read_changes(connection, 0)
    await database.dispose()
    assert ("agent_spend_caps", "2") in removed


async def test_who_is_stopped_lets_himself_go_on_or_nobody_can(world: World) -> None:
    rules = {"velocity_factor": 3, "agent_velocity_attempts_max": 40, "velocity_stops_calls": True}
    answer = await _platform(world, "PATCH", "/tenants/1/money-rules", json=rules)
    assert {name: answer.json()[name] for name in rules} == rules
    answer = await world.ask("tenant1", "PATCH", "/api/tenant/money-rules", json={"velocity_factor": 0})
    assert answer.status_code == 400, "what he is held to is not his to set"
    assert (await _platform(world, "PATCH", "/tenants/1/money-rules", json={"velocity_factor": -1})).status_code == 400
    await world.write(VelocityAlarm, 1, agent_id=None)
    path = "/velocity-alarms/1/acknowledgement"
    answer = await world.ask("tenant1", "POST", "/api/tenant" + path, json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "alarm.platform_only")
    assert (await _platform(world, "POST", path, json={"note": "they rang us"})).status_code == 200
    answer = await _platform(world, "POST", path, json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    shown = (await world.ask("tenant1", "GET", "/api/tenant/velocity-alarms?open=false")).json()["items"]
    assert [(each["acknowledged_by"], each["note"]) for each in shown] == [("platform", "they rang us")]
    assert (await world.ask("tenant1", "GET", "/api/tenant/velocity-alarms?open=true")).json()["items"] == []
    audited = (await world.ask("tenant1", "GET", "/api/tenant/audit?entity=velocity_alarms")).json()["items"]
    assert audited[0]["after"]["note"] == "they rang us"


async def test_a_low_balance_is_told_of_twice_or_not_again(world: World) -> None:
    """Tenant 1 has 5,000 and may go 1,000 below."""

    async def told() -> list[int]:
        items = (await world.ask("tenant1", "GET", "/api/tenant/money-events")).json()["items"]
        return [each["content"]["left_micro"] for each in items if each["content"]]

    async def move(micro: int) -> None:
        body = {"amount_micro": micro, "key": str(world.now_ms), "note": "why"}
        assert (await _platform(world, "POST", "/tenants/1/corrections", json=body)).status_code == 200
        world.now_ms += 1

    hook = {"url": "https://example.com/hook", "kinds": ["account.low"]}
    assert (await world.ask("tenant1", "POST", "/api/tenant/webhooks", json=hook)).status_code == 201
    rules = {"low_balance_micro": 2000}
    assert (await world.ask("tenant1", "PATCH", "/api/tenant/money-rules", json=rules)).status_code == 200
    await move(-4000)
    assert await told() == [], "2,000 are not below 2,000"
    await move(-1)
    await move(-1)
    assert await told() == [1999]
    await move(500)
    await move(-600)
    assert await told() == [1898, 1999]
    answer = await _platform(world, "PUT", "/tenants/1/overdraft-limit", json={"limit_micro": 5000, "reason": "why"})
    assert answer.status_code == 200
    assert (await _platform(world, "GET", "/tenants/1/money-rules")).json()["low_since_ms"] is None
    answer = await _platform(world, "PATCH", "/tenants/1/money-rules", json={"low_balance_micro": 10**9})
    assert answer.json()["low_since_ms"] == world.now_ms
    assert len(await told()) == 3
    database = open_database(world.settings.database_url)
    async with reading(database) as connection:
        news = (await connection.execute(select(WebhookDelivery.kind, WebhookDelivery.subject_id))).all()
    await database.dispose()
    assert len({subject for kind, subject in news if kind == "account.low"}) == 3
