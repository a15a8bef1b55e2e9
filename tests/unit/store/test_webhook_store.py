"""The outbox: a fact and the news of it are one transaction, and are there once."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store import webhook_store
from engine.store.database import reading, writing, writing_session
from engine.store.records.cdr_store import CDR_COLUMNS, write_cdrs, write_recordings
from engine.store.tables import Tenant, Webhook, WebhookDelivery
from engine.store.webhook_store import (
    KEPT_MS,
    SUSPENDED_AFTER_MS,
    Event,
    EventKind,
    Outcome,
    TooManyEvents,
    due_deliveries,
    due_webhooks,
    lease,
    prune_deliveries,
    record_outcomes,
    replay_period,
    tell,
    tell_of_records,
)

NOW_MS = 1_800_000_000_000
BOTH = [EventKind.CDR_ENDED, EventKind.RECORDING_READY]


def cdr(cdr_id: str, tenant_id: int | None = 1, state: str = "ended") -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(CDR_COLUMNS)
    row |= {"id": cdr_id, "state": state, "started_at_ms": NOW_MS, "tenant_id": tenant_id, "ended_at_ms": NOW_MS + 1}
    return row | {"billed_seconds": 0, "package_seconds": 0, "charge_micro": 0}


def recording(cdr_id: str) -> dict[str, Any]:
    return {"cdr_id": cdr_id, "path": "p", "duration_ms": 1, "size_octets": 2, "sha256": "s", "gaps_ms": []}


async def subscribe(database: AsyncEngine, tenant_id: int, kinds: list[EventKind], **values: Any) -> int:
    async with writing_session(database, NOW_MS) as session:
        if await session.get(Tenant, tenant_id) is None:
            session.add(Tenant(id=tenant_id, code=f"t{tenant_id}", name="T", created_at_ms=0))
            await session.flush()
        values = {"url": "https://x", "sealed_secret": "", "created_at_ms": 0} | values
        row = Webhook(tenant_id=tenant_id, kinds=list(kinds), **values)
        session.add(row)
        await session.flush()
        return row.id


async def store(database: AsyncEngine, cdrs: list[dict[str, Any]], recorded: tuple[str, ...] = ()) -> None:
    """As the engine's record keeper does it."""
    async with writing(database) as connection:
        await write_cdrs(connection, cdrs)
        await write_recordings(connection, [recording(cdr_id) for cdr_id in recorded])
        await tell_of_records(connection, cdrs, recorded, NOW_MS)


async def told(database: AsyncEngine, webhook_id: int) -> list[tuple[str, str]]:
    async with reading(database) as connection:
        rows = await connection.execute(
            select(WebhookDelivery.kind, WebhookDelivery.subject_id)
            .where(WebhookDelivery.webhook_id == webhook_id)
            .order_by(WebhookDelivery.id)
        )
        return [(row.kind, row.subject_id) for row in rows]


async def test_a_tenant_is_told_of_anothers_call_or_of_what_it_does_not_want(database: AsyncEngine) -> None:
    cdrs_only = await subscribe(database, 1, [EventKind.CDR_ENDED])
    recordings_only = await subscribe(database, 1, [EventKind.RECORDING_READY])
    other = await subscribe(database, 2, BOTH)
    paused = await subscribe(database, 1, BOTH, status="paused")
    await store(database, [cdr("c1"), cdr("c2", 2), cdr("c3", None), cdr("c4", state="answered")], ("c1", "c3"))
    assert await told(database, cdrs_only) == [("cdr.ended", "c1")]
    assert await told(database, recordings_only) == [("recording.ready", "c1")]
    assert await told(database, other) == [("cdr.ended", "c2")]
    assert await told(database, paused) == []


async def test_a_batch_that_is_written_twice_is_told_twice(database: AsyncEngine) -> None:
    webhook_id = await subscribe(database, 1, BOTH)
    for _ in range(2):
        await store(database, [cdr("c1")], ("c1",))
    assert await told(database, webhook_id) == [("cdr.ended", "c1"), ("recording.ready", "c1")]


async def test_a_recording_comes_before_its_cdr_and_is_forgotten(database: AsyncEngine) -> None:
    webhook_id = await subscribe(database, 1, [EventKind.RECORDING_READY])
    await store(database, [], ("c1",))
    assert await told(database, webhook_id) == []
    await store(database, [cdr("c1")])
    assert await told(database, webhook_id) == [("recording.ready", "c1")]


async def test_news_of_a_cdr_that_was_not_stored(database: AsyncEngine) -> None:
    webhook_id = await subscribe(database, 1, BOTH)
    async with database.connect() as connection, connection.begin() as transaction:
        await write_cdrs(connection, [cdr("c1")])
        await tell_of_records(connection, [cdr("c1")], (), NOW_MS)
        await transaction.rollback()
    assert await told(database, webhook_id) == []


async def test_a_full_batch_has_more_parameters_than_a_statement_takes(database: AsyncEngine) -> None:
    webhooks = [await subscribe(database, 1, BOTH) for _ in range(10)]
    cdrs = [cdr(f"c{n}") for n in range(400)]
    await store(database, cdrs, tuple(row["id"] for row in cdrs))
    for webhook_id in webhooks:
        assert len(await told(database, webhook_id)) == 800


async def test_an_events_payload_is_lost(database: AsyncEngine) -> None:
    webhook_id = await subscribe(database, 1, [EventKind.ACCOUNT_LOW])
    event = Event(EventKind.ACCOUNT_LOW, 1, "low-1", NOW_MS, {"balance_micro": -5})
    async with writing(database) as connection:
        await tell(connection, [event], NOW_MS)
        (row,) = await due_deliveries(connection, webhook_id, NOW_MS, 10)
    assert (row.subject_id, row.payload) == ("low-1", {"balance_micro": -5})


async def test_two_processes_deliver_to_one_endpoint(database: AsyncEngine) -> None:
    webhook_id = await subscribe(database, 1, BOTH)
    await store(database, [cdr("c1")])
    async with writing(database) as connection:
        assert await due_webhooks(connection, NOW_MS - 1, 10) == []
        assert await due_webhooks(connection, NOW_MS, 10) == [webhook_id]
        first = await lease(connection, webhook_id, taken_until_ms=None, now_ms=NOW_MS)
        assert first is not None
        assert await due_webhooks(connection, NOW_MS, 10) == []
        assert await lease(connection, webhook_id, taken_until_ms=None, now_ms=NOW_MS + 1) is None
        mine = await lease(connection, webhook_id, taken_until_ms=first.leased_until_ms, now_ms=NOW_MS + 1)
        assert mine is not None
        assert await lease(connection, webhook_id, taken_until_ms=first.leased_until_ms, now_ms=NOW_MS + 1) is None
        # It died: another goes on.
        assert await lease(connection, webhook_id, taken_until_ms=None, now_ms=mine.leased_until_ms) is not None


async def _fail(database: AsyncEngine, webhook_id: int, now_ms: int, error: str | None) -> bool:
    async with writing(database) as connection:
        due = await due_deliveries(connection, webhook_id, now_ms, 1)
        outcome = Outcome(due[0].id, 500 if error else 204, error, now_ms + 1 if error else None)
        return await record_outcomes(connection, webhook_id, [outcome], pause_until_ms=now_ms, now_ms=now_ms)


async def test_an_endpoint_that_fails_for_ever_is_asked_for_ever(database: AsyncEngine) -> None:
    webhook_id = await subscribe(database, 1, BOTH)
    await store(database, [cdr("c1"), cdr("c2"), cdr("c3")])
    assert not await _fail(database, webhook_id, NOW_MS, "answered 500")
    assert not await _fail(database, webhook_id, NOW_MS + SUSPENDED_AFTER_MS, None)  # a success begins anew
    assert not await _fail(database, webhook_id, NOW_MS + SUSPENDED_AFTER_MS, "answered 500")
    assert await _fail(database, webhook_id, NOW_MS + 2 * SUSPENDED_AFTER_MS, "answered 500")
    async with writing(database) as connection:
        assert await due_webhooks(connection, NOW_MS * 2, 10) == []
        assert await lease(connection, webhook_id, taken_until_ms=None, now_ms=NOW_MS * 2) is None
    await store(database, [cdr("c4")])
    assert ("cdr.ended", "c4") not in await told(database, webhook_id)


async def _replay(database: AsyncEngine, webhook_id: int, kinds: set[EventKind], from_ms: int, to_ms: int) -> int:
    async with writing_session(database, NOW_MS) as session:
        webhook = await session.get_one(Webhook, webhook_id)
        return await replay_period(session, webhook, kinds, from_ms, to_ms, NOW_MS + 50)


async def test_a_replay_misses_what_was_never_told(database: AsyncEngine) -> None:
    await store(database, [cdr("c0"), cdr("c9", 2)], ("c0", "c9"))  # before there was a webhook
    webhook_id = await subscribe(database, 1, BOTH)
    await store(database, [cdr("c1")])
    async with writing(database) as connection:
        (due,) = await due_deliveries(connection, webhook_id, NOW_MS, 10)
        await record_outcomes(connection, webhook_id, [Outcome(due.id, 200, None, None)], pause_until_ms=0, now_ms=1)
    assert await _replay(database, webhook_id, set(BOTH), NOW_MS, NOW_MS) == 0
    assert await _replay(database, webhook_id, set(BOTH), NOW_MS, NOW_MS + 1) == 3
    async with reading(database) as connection:
        due_again = await due_deliveries(connection, webhook_id, NOW_MS + 50, 10)
    assert sorted((row.kind, row.subject_id, row.attempts) for row in due_again) == [
        ("cdr.ended", "c0", 0),
        ("cdr.ended", "c1", 0),
        ("recording.ready", "c0", 0),
    ]


async def test_a_replay_has_no_end(database: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_store, "REPLAYED_MAX", 2)
    webhook_id = await subscribe(database, 1, BOTH)
    await store(database, [cdr(f"c{n}") for n in range(3)])
    with pytest.raises(TooManyEvents):
        await _replay(database, webhook_id, set(BOTH), 0, NOW_MS + 1)


async def test_the_outbox_grows_for_ever_or_loses_what_waits(database: AsyncEngine) -> None:
    kept = await subscribe(database, 1, BOTH)
    deleted = await subscribe(database, 1, BOTH)
    await store(database, [cdr("c1"), cdr("c2")])
    assert not await _fail(database, kept, NOW_MS, None)
    await writing_status(database, deleted, "deleted")
    async with writing(database) as connection:
        assert await prune_deliveries(connection, NOW_MS + KEPT_MS) == 2
        assert await prune_deliveries(connection, NOW_MS + KEPT_MS + 2) == 1
        assert await connection.scalar(select(WebhookDelivery.subject_id)) == "c2"
        assert list(await connection.scalars(select(Webhook.id))) == [kept]


async def writing_status(database: AsyncEngine, webhook_id: int, status: str) -> None:
    async with writing_session(database, NOW_MS) as session:
        (await session.get_one(Webhook, webhook_id)).status = status
