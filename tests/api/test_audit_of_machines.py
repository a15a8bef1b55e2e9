"""What machines and commands change is on record under their names, and what leaves the log is on record too."""

from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from admin_api.housekeeping import keep_audit, keep_orders
from admin_api.number_keeping import keep_numbers
from engine.cli.invocation import command_actor
from engine.store.access.audit import DAY_MS, machine
from engine.store.database import open_database, reading, writing, writing_session
from engine.store.tables import Order, XNumber
from engine.store.tables.identity import AuditEntry, AuditPruning

from .conftest import NOW_MS, World


async def _entries(world: World, **wanted: Any) -> list[Any]:
    conditions = [getattr(AuditEntry, name) == value for name, value in wanted.items()]
    async with reading(world.context.database) as connection:
        return list((await connection.execute(select(AuditEntry).where(*conditions).order_by(AuditEntry.id))).all())


async def test_a_number_is_released_by_nobody(world: World) -> None:
    await world.write(XNumber, 4, status="quarantined", quarantined_until_ms=NOW_MS)
    assert await keep_numbers(world.context.database, NOW_MS + 1) == (1, 0)
    (entry,) = await _entries(world, actor="number keeping")
    assert (entry.actor_kind, entry.entity, entry.entity_id, entry.after["status"]) == (
        "system",
        "x_numbers",
        "4",
        "active",
    )
    moves = (await world.ask("platform", "GET", "/api/platform/x-numbers/4/history")).json()["items"]
    assert (moves[0]["by"], moves[0]["by_user_id"]) == ("machine", None)


async def test_an_order_is_ended_by_nobody(world: World) -> None:
    database = open_database(world.settings.database_url)
    async with writing_session(database, NOW_MS) as session:
        orders = (await session.scalars(select(Order).where(Order.state == "submitted"))).all()
        assert orders, "the world has an order that waits"
        for order in orders:
            order.decide_by_ms = NOW_MS
    await database.dispose()
    await keep_orders(world.context.database, NOW_MS + 1)
    entries = await _entries(world, actor="orders", entity="orders")
    assert {entry.entity_id for entry in entries} == {str(order.id) for order in orders}
    assert {entry.actor_kind for entry in entries} == {"system"}


@pytest.mark.parametrize(
    ("method", "path", "body", "entity"),
    [
        ("PATCH", "/api/tenant/webhooks/1", {"status": "paused"}, "webhooks"),
        ("POST", "/api/tenant/webhooks/1/secret", None, "webhooks"),
        ("PUT", "/api/tenant/recording-retention", {"days": 0}, "recording_retentions"),
        ("POST", "/api/tenant/legal-holds", {"reason": "court", "agent_id": 1}, "legal_holds"),
        ("POST", "/api/platform/cdrs/cdr3/recording/deletion", {"reason": "asked for"}, "recordings"),
        ("PUT", "/api/platform/carriers/1/record-format", None, "carrier_record_formats"),
    ],
)
async def test_a_change_passes_the_log_by(world: World, method: str, path: str, body: Any, entity: str) -> None:
    if path.endswith("record-format"):
        body = {"caller": "x", "callee": "b", "start": "c", "duration": "d"}
    who = "platform" if "/platform/" in path else "tenant1"
    before = len(await _entries(world, entity=entity))
    assert (await world.ask(who, method, path, json=body)).is_success
    (entry,) = (await _entries(world, entity=entity))[before:]
    assert entry.actor == who
    assert "whsec" not in str(entry.after)


def test_a_command_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "li")
    assert command_actor("load").name == "axbridge load (li)"

    def nobody() -> str:
        raise OSError

    monkeypatch.setattr("getpass.getuser", nobody)
    assert command_actor("load").name.startswith("axbridge load (uid ")


async def test_old_entries_go_without_a_word(world: World) -> None:
    database, days = world.context.database, 30
    now_ms = NOW_MS + 40 * DAY_MS
    async with writing_session(database, now_ms, machine("a test")) as session:
        (await session.get_one(XNumber, 4)).status = "suspended"
    old = len(await _entries(world)) - 1
    assert old > 0
    assert await keep_audit(database, 0, now_ms) == 0, "for ever"
    assert await keep_audit(database, 41, now_ms) == 0, "none is as old"
    assert await keep_audit(database, days, now_ms) == old
    kept, said = await _entries(world)
    assert (kept.actor, said.actor, said.action, said.entity) == ("a test", "housekeeping", "prune", "audit_entries")
    assert (said.after["entries"], said.after["days"]) == (old, days)
    async with reading(database) as connection:
        (row,) = (await connection.execute(select(AuditPruning))).all()
    assert (row.entries, row.days, row.until_ms % DAY_MS) == (old, days, 0)
    assert await keep_audit(database, days, now_ms + 1) == 0
    assert len(await _entries(world)) == 2, "and not a word more where nothing goes"


async def test_somebody_edits_the_log(world: World) -> None:
    database = world.context.database
    async with writing(database) as connection:  # of so early a time that it frees no entry
        await connection.execute(insert(AuditPruning).values(until_ms=1, at_ms=1, entries=1, days=1))
    for statement in (delete(AuditEntry), update(AuditEntry).values(actor="nobody")):
        with pytest.raises(DBAPIError, match="append-only"):
            async with writing(database) as connection:
                await connection.execute(statement)
    for change in (delete(AuditPruning), update(AuditPruning).values(entries=0)):
        with pytest.raises(DBAPIError, match="append-only"):
            async with writing(database) as connection:
                await connection.execute(change)
