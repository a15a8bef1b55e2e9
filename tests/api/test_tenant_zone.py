import pytest
from sqlalchemy import select

from engine.domain.facts import MoneyRulesFacts
from engine.store.database import reading, writing_session
from engine.store.directory_reader import read_all
from engine.store.tables.orders import ClosedMonth, MoneyRules

from .conftest import NOW_MS, World

PATH = "/api/platform/tenants/2/zone"


async def test_a_tenants_zone_is_not_set(world: World) -> None:
    before = (await world.ask("tenant2", "GET", "/api/tenant/money-rules")).json()
    answer = await world.ask("platform", "PUT", PATH, json={"zone": "Europe/Berlin"})
    assert (answer.status_code, answer.json()) == (200, {"zone": "Europe/Berlin"})
    after = (await world.ask("tenant2", "GET", "/api/tenant/money-rules")).json()
    assert after == before | {"zone": "Europe/Berlin"}
    async with reading(world.context.database) as connection:
        _, facts = await read_all(connection)
    assert "Europe/Berlin" in [fact.zone for fact in facts if isinstance(fact, MoneyRulesFacts)]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Asia"])
async def test_a_zone_is_none(world: World, zone: str) -> None:
    answer = await world.ask("platform", "PUT", PATH, json={"zone": zone})
    assert (answer.status_code, answer.json()["code"]) == (422, "zone.unknown")
    assert (await world.ask("platform", "PUT", PATH, json={"zone": "a\x00b"})).status_code == 400


async def test_a_closed_month_moves(world: World) -> None:
    async with writing_session(world.context.database, NOW_MS) as session:
        session.add(
            ClosedMonth(
                tenant_id=2, month="2026-12", ends_at_ms=1, last_transaction_id=1, closing_micro=0, closed_at_ms=NOW_MS
            )
        )
    answer = await world.ask("platform", "PUT", PATH, json={"zone": "Europe/Berlin"})
    assert (answer.status_code, answer.json()["code"]) == (409, "zone.months_closed")
    async with reading(world.context.database) as connection:
        zones = (await connection.scalars(select(MoneyRules.zone).where(MoneyRules.tenant_id == 2))).all()
    assert "Europe/Berlin" not in zones
    assert (await world.ask("platform", "PUT", PATH, json={"zone": "Asia/Shanghai"})).status_code == 200, "it is so"
