"""CDRs, charges and recordings reach the database once, whatever it does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.b2bua.running_call import AnswerHeard, CallRecord, RunningCall
from engine.domain.cause import Cause, ReleaseSide
from engine.domain.cdr import Cdr, CdrState
from engine.domain.lines.routing import Parties
from engine.domain.money.charging import Rate, Tariff
from engine.runtime.records import record_keeper
from engine.runtime.records.record_keeper import RecordKeeper
from engine.runtime.records.recovery import recover
from engine.store import tables
from engine.store.database import open_database, reading, writing_session
from engine.store.money.lease_store import lease
from engine.store.money.minutes_store import buy_minutes, uneven_buckets
from engine.store.records.cdr_store import write_cdrs
from engine.store.records.journal import Journal, read_journal, segments
from media.plane import RecordingFinished
from sip.core.dialogs.session_snapshot import SessionSnapshot
from sip.core.hop import Hop

TARIFF = Tariff(Rate(60_000))
BALANCE_MICRO = 1_000_000


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(database_url)
    async with writing_session(engine, 0) as session:
        session.add(tables.Tenant(id=1, code="t", name="T", created_at_ms=0))
        await session.flush()
        session.add(tables.Account(tenant_id=1, balance_micro=BALANCE_MICRO))
    async with engine.begin() as connection:
        await lease(connection, "engine-1", 1, 500_000)
    yield engine
    await engine.dispose()


def keeper(folder: Path, database: AsyncEngine) -> RecordKeeper:
    return RecordKeeper(
        journal=Journal(folder / "journal"),
        database=database,
        engine_id="engine-1",
        write_interval_seconds=0.01,
        now_ms=lambda: 1000,
    )


def ended(call_id: str, charge_micro: int = 60_000) -> Cdr:
    cdr = Cdr.started(call_id, Parties(tenant_id=1), 1000)
    cdr.state = CdrState.ENDED
    cdr.answered_at_ms, cdr.ended_at_ms, cdr.billed_seconds = 2000, 3000, 60
    cdr.charge_micro, cdr.cause, cdr.release_side = charge_micro, Cause.NORMAL, ReleaseSide.CALLER
    return cdr


async def stored(database: AsyncEngine) -> tuple[list[Any], int, int]:
    async with reading(database) as connection:
        cdrs = list(await connection.execute(select(tables.Cdr.id, tables.Cdr.state).order_by(tables.Cdr.id)))
        account = (await connection.execute(select(tables.Account.balance_micro, tables.Account.leased_micro))).one()
    return [tuple(row) for row in cdrs], account.balance_micro, account.leased_micro


async def test_a_call_is_stored_and_charged_out_of_its_lease(tmp_path: Path, database: AsyncEngine) -> None:
    records = keeper(tmp_path, database)
    records.take([CallRecord(Cdr.started("1", Parties(tenant_id=1), 1000), TARIFF), CallRecord(ended("1"), TARIFF)])
    await records.store_waiting()
    assert await stored(database) == ([("1", "ended")], BALANCE_MICRO - 60_000, 440_000)


async def test_what_comes_while_a_batch_is_written_waits_for_the_next(
    tmp_path: Path, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a busy engine writes one small batch after another, and never rests its WRITE_INTERVAL."""
    records = keeper(tmp_path, database)
    batches: list[int] = []

    async def write(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        batches.append(len(rows))
        if len(batches) < 5:
            records.take([CallRecord(ended(f"later-{len(batches)}"), TARIFF)])
        await write_cdrs(connection, rows)

    monkeypatch.setattr(record_keeper, "write_cdrs", write)
    records.take([CallRecord(ended("1"), TARIFF), CallRecord(ended("2"), TARIFF)])
    assert await records.store_waiting()
    assert batches == [2]
    assert records.waiting == 1


async def test_the_last_writing_leaves_nothing(tmp_path: Path, database: AsyncEngine) -> None:
    records = keeper(tmp_path, database)
    records.take([CallRecord(ended(str(number), 1), TARIFF) for number in range(450)])
    await records.close()
    assert records.waiting == 0
    assert len((await stored(database))[0]) == 450


async def test_a_record_is_in_the_journal_before_take_returns(tmp_path: Path, database: AsyncEngine) -> None:
    keeper(tmp_path, database).take([CallRecord(ended("1"), TARIFF)])
    assert [record.cdr.id for record in recover(read_journal(tmp_path / "journal")).ended] == ["1"]


async def test_a_journal_read_twice_charges_once(tmp_path: Path, database: AsyncEngine) -> None:
    first = keeper(tmp_path, database)
    first.take([CallRecord(ended("1"), TARIFF)])
    await first.store_waiting()  # stored, but the engine dies before the journal knows
    second = keeper(tmp_path, database)
    recovered = recover(read_journal(tmp_path / "journal"))
    await second.adopt(recovered.ended, recovered.alive_at_ms)
    assert await stored(database) == ([("1", "ended")], BALANCE_MICRO - 60_000, 440_000)
    assert len(segments(tmp_path / "journal")) == 1, "the earlier segments have served"


async def test_what_is_stored_is_struck_out_of_the_journal(tmp_path: Path, database: AsyncEngine) -> None:
    records = keeper(tmp_path, database)
    records.take([CallRecord(ended("1"), TARIFF)])
    await records.close()
    assert recover(read_journal(tmp_path / "journal")).ended == []


async def test_records_wait_while_the_database_is_away(
    tmp_path: Path, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = keeper(tmp_path, database)

    async def away(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("away"))

    with monkeypatch.context() as patch:
        patch.setattr(record_keeper, "write_cdrs", away)
        records.take([CallRecord(ended("1"), TARIFF)])
        assert not await records.store_waiting()
        assert records.waiting == 1
    assert await records.store_waiting()
    assert (await stored(database))[0] == [("1", "ended")]


async def test_the_loop_goes_on_after_a_failure(
    tmp_path: Path, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = keeper(tmp_path, database)
    failures = 2
    write = record_keeper.write_cdrs

    async def unwilling(connection: Any, rows: Any) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise OperationalError("INSERT", {}, Exception("locked"))
        await write(connection, rows)

    monkeypatch.setattr(record_keeper, "write_cdrs", unwilling)
    task = asyncio.create_task(records.run())
    records.take([CallRecord(ended("1"), TARIFF)])
    async with asyncio.timeout(5):
        while records.waiting:
            await asyncio.sleep(0.01)
    task.cancel()
    assert (await stored(database))[0] == [("1", "ended")]


async def test_a_recording_is_stored_once_though_told_twice(tmp_path: Path, database: AsyncEngine) -> None:
    records = keeper(tmp_path, database)
    told = RecordingFinished("1", "1.wav", 5000, 160_044, "0" * 64, [])
    for _ in range(2):
        records.take_recording(told)
        await records.store_waiting()
    async with reading(database) as connection:
        rows = (await connection.execute(select(tables.Recording.cdr_id, tables.Recording.duration_ms))).all()
    assert [tuple(row) for row in rows] == [("1", 5000)]


async def test_a_full_segment_gives_way_to_one_with_the_open_calls(
    tmp_path: Path, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.records.journal.SEGMENT_OCTETS_MAX", 1)
    records = keeper(tmp_path, database)
    running = Cdr.started("2", Parties(tenant_id=1), 1000)
    records.take([CallRecord(ended("1"), TARIFF), CallRecord(running, TARIFF)])
    task = asyncio.create_task(records.run())
    async with asyncio.timeout(5):
        while records.waiting:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    recovered = recover(read_journal(tmp_path / "journal"))
    assert [record.cdr.id for record in recovered.ended] == ["2"]


async def test_minutes_of_a_call_are_used_up_with_its_record(tmp_path: Path, database: AsyncEngine) -> None:
    async with writing_session(database, 1000) as session:
        await buy_minutes(session, 1, "order", 100, starts_at_ms=0, expires_at_ms=10**13)
    records = keeper(tmp_path, database)
    call = ended("1", charge_micro=0)
    call.package_seconds, call.minutes_used = 13, ((1, 13),)
    running = Cdr.started("2", Parties(tenant_id=1), 1000)
    running.minutes_used = ((1, 5),)
    records.take([CallRecord(call, TARIFF), CallRecord(running, TARIFF)])
    assert await records.store_waiting()
    async with reading(database) as connection:
        uses = (await connection.execute(tables.MinutesUse.__table__.select())).all()
        assert [(use.cdr_id, use.seconds) for use in uses] == [("1", 13)]
        assert await uneven_buckets(connection) == []


async def test_the_last_proof_of_life_outlives_its_segment(tmp_path: Path, database: AsyncEngine) -> None:
    """A second crash right after it would else end a long talk where it began, and charge nothing for it."""
    records = keeper(tmp_path, database)
    talking = Cdr.started("1", Parties(tenant_id=1), 1000)
    talking.answered_at_ms = 2000
    await records.adopt([CallRecord(talking, TARIFF)], 90_000)
    assert recover(read_journal(tmp_path / "journal")).alive_at_ms == 90_000


async def test_recording_told_just_before_the_engine_died_is_stored_by_the_next(
    tmp_path: Path, database: AsyncEngine
) -> None:
    first = keeper(tmp_path, database)
    first.take_recording(RecordingFinished("1", "1.wav", 1000, 32_044, "00", []))
    recovered = recover(read_journal(tmp_path / "journal"))
    second = keeper(tmp_path, database)
    await second.adopt(recovered.ended, recovered.alive_at_ms, recovered.recordings)
    async with reading(database) as connection:
        assert (await connection.scalars(select(tables.Recording.cdr_id))).all() == ["1"]
    await second.close()
    assert recover(read_journal(tmp_path / "journal")).recordings == []


async def test_recording_that_waits_for_the_database_is_in_the_next_segment_too(
    tmp_path: Path, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("away"))

    monkeypatch.setattr(record_keeper, "write_recordings", away)
    records = keeper(tmp_path, database)
    records.take_recording(RecordingFinished("1", "1.wav", 1000, 32_044, "00", []))
    await records.adopt([], 1000)
    assert len(segments(tmp_path / "journal")) == 1
    assert [each.call_id for each in recover(read_journal(tmp_path / "journal")).recordings] == ["1"]


@pytest.mark.parametrize(("spoilt", "value"), [("billed_seconds", None), ("started_at_ms", 2**63)])
async def test_a_record_that_the_database_refuses_holds_up_no_other(
    tmp_path: Path, database: AsyncEngine, spoilt: str, value: int | None
) -> None:
    records = keeper(tmp_path, database)
    poisoned = ended("3")
    setattr(poisoned, spoilt, value)
    records.take([CallRecord(ended(call_id, 1), TARIFF) for call_id in ("1", "2")])
    records.take([CallRecord(poisoned, TARIFF)])
    records.take([CallRecord(ended(call_id, 1), TARIFF) for call_id in ("4", "5", "6", "7")])
    records.take_recording(RecordingFinished("1", "1.wav", 5000, 160_044, "0" * 64, []))
    for _ in range(10):
        if await records.store_waiting():
            break
    rows, balance_micro, _ = await stored(database)
    assert [call_id for call_id, _ in rows] == ["1", "2", "4", "5", "6", "7"]
    assert balance_micro == BALANCE_MICRO - 6
    kept = set()
    for payload in read_journal(tmp_path / "journal"):
        kept |= {call_id for call_id in "1234567" if b"\xa1" + call_id.encode() in payload}
    assert "3" in kept, "lost"


async def test_proofs_of_life_are_written_while_the_database_hangs(
    tmp_path: Path, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(record_keeper, "write_cdrs", hangs)
    monkeypatch.setattr(record_keeper, "PROOF_OF_LIFE_SECONDS", 0.0)
    now_ms = iter(range(1000, 10**6, 1000))
    records = RecordKeeper(
        journal=Journal(tmp_path / "journal"),
        database=database,
        engine_id="engine-1",
        write_interval_seconds=0.01,
        now_ms=lambda: next(now_ms),
    )
    records.take([CallRecord(Cdr.started("1", Parties(tenant_id=1), 1000), TARIFF)])
    task = asyncio.create_task(records.run())
    try:
        async with asyncio.timeout(5):
            while recover(read_journal(tmp_path / "journal")).alive_at_ms < 5000:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()


@pytest.mark.parametrize("milliseconds", [4, 8, 12, 20, 30])
async def test_an_engine_that_stops_in_mid_writing_stores_the_rest_at_once(
    tmp_path: Path, database: AsyncEngine, milliseconds: int
) -> None:
    """The writing that it broke off kept the database locked: the last one waited ten seconds for it, and gave up."""
    records = keeper(tmp_path, database)
    records.take([CallRecord(ended(f"{number}", 1), TARIFF) for number in range(1000)])
    task = asyncio.create_task(records.run())
    await asyncio.sleep(0.01 + milliseconds / 1000)
    task.cancel()
    ended_so = await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(8):
        await records.close()
    assert isinstance(ended_so[0], asyncio.CancelledError)
    assert records.waiting == 0
    rows, balance_micro, _ = await stored(database)
    assert (len(rows), balance_micro) == (1000, BALANCE_MICRO - 1000)


async def test_who_has_heard_our_answer_is_known_in_the_next_segment_too(tmp_path: Path, database: AsyncEngine) -> None:
    hop = Hop("udp", "192.0.2.1", 5060)
    caller = SessionSnapshot(
        "id", "<sip:x@a>;tag=1", "1", "<sip:y@b>;tag=2", "2", "sip:y@b", (), 1, 1, hop, hop, False, "", False, False,
        b"", False, 0, False, answer=b"SIP/2.0 200 OK\r\n\r\n", answer_hop=hop,
    )  # fmt: skip
    cdr = Cdr.started("1", Parties(tenant_id=1), 1000)
    cdr.state, cdr.answered_at_ms = CdrState.ANSWERED, 2000
    records = keeper(tmp_path, database)
    records.take([CallRecord(cdr, TARIFF, RunningCall("+86138", None, (), 70, 60, caller, None))])
    records.take_heard([AnswerHeard("1", "1")])
    await records.adopt([], 2000)  # which begins a segment
    assert len(segments(tmp_path / "journal")) == 1
    (talking,) = recover(read_journal(tmp_path / "journal")).talking
    assert talking.running is not None
    assert talking.running.caller == caller.acknowledged()
