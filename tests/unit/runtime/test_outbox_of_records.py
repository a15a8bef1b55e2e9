"""The engine's record keeper writes the news of a call in the transaction that stores its CDR."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.b2bua.running_call import CallRecord
from engine.domain.cause import Cause, ReleaseSide
from engine.domain.cdr import Cdr, CdrState
from engine.domain.lines.routing import Parties
from engine.domain.money.charging import Rate, Tariff
from engine.runtime.records.record_keeper import RecordKeeper
from engine.store.database import open_database, reading, writing_session
from engine.store.records.journal import Journal
from engine.store.tables import Account, Tenant, Webhook, WebhookDelivery
from engine.store.tables.orders import MoneyEvent, MoneyRules
from media.plane import RecordingFinished


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(database_url)
    async with writing_session(engine, 0) as session:
        session.add(Tenant(id=1, code="t", name="T", created_at_ms=0))
        await session.flush()
        session.add(Account(tenant_id=1))
        kinds = ["cdr.ended", "recording.ready"]
        session.add(Webhook(tenant_id=1, url="https://x", kinds=kinds, sealed_secret="", created_at_ms=0))
    yield engine
    await engine.dispose()


async def test_an_ended_call_is_stored_and_nobody_told(tmp_path: Path, database: AsyncEngine) -> None:
    records = RecordKeeper(
        journal=Journal(tmp_path / "journal"),
        database=database,
        engine_id="engine-1",
        write_interval_seconds=0.01,
        now_ms=lambda: 5_000,
    )
    cdr = Cdr.started("c1", Parties(tenant_id=1), 1000)
    cdr.state, cdr.ended_at_ms, cdr.cause = CdrState.ENDED, 3000, Cause.NORMAL
    cdr.release_side = ReleaseSide.CALLER
    running = CallRecord(Cdr.started("c2", Parties(tenant_id=1), 1000), Tariff(Rate(1)))
    records.take([CallRecord(cdr, Tariff(Rate(1))), running])
    records.take_recording(
        RecordingFinished(call_id="c1", path="p", duration_ms=1, size_octets=2, sha256="s", gaps_ms=[])
    )
    await records.store_waiting()
    await records.close()
    async with reading(database) as connection:
        row = WebhookDelivery
        told = await connection.execute(
            select(row.kind, row.subject_id, row.occurred_at_ms, row.state).order_by(row.id)
        )
        assert [tuple(delivery) for delivery in told] == [
            ("cdr.ended", "c1", 3000, "pending"),
            ("recording.ready", "c1", 5000, "pending"),
        ]


async def test_calls_use_up_a_balance_and_nobody_hears_of_it(tmp_path: Path, database: AsyncEngine) -> None:
    async with writing_session(database, 0) as session:
        session.add(MoneyRules(tenant_id=1, low_balance_micro=-100))
    records = RecordKeeper(
        journal=Journal(tmp_path / "journal"),
        database=database,
        engine_id="engine-1",
        write_interval_seconds=0.01,
        now_ms=lambda: 5_000,
    )
    for number, charge_micro in enumerate((100, 1, 1)):
        cdr = Cdr.started(f"c{number}", Parties(tenant_id=1), 1000)
        cdr.state, cdr.ended_at_ms, cdr.charge_micro = CdrState.ENDED, 3000, charge_micro
        records.take([CallRecord(cdr, Tariff(Rate(1)))])
        await records.store_waiting()
    await records.close()
    async with reading(database) as connection:
        told = (await connection.execute(select(MoneyEvent.kind, MoneyEvent.content, MoneyEvent.at_ms))).all()
    assert [tuple(each) for each in told] == [("low_balance", {"left_micro": -101, "threshold_micro": -100}, 5_000)]
