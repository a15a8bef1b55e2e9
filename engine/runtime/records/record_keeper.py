"""Keeps the calls' records: each milestone into the journal at once, CDRs into the database in batches behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.b2bua.running_call import AnswerHeard, CallRecord
from engine.domain.cdr import Cdr, CdrState
from engine.runtime.clock import ClockSetting
from engine.runtime.records.call_journal import (
    ENDED_LATELY_SECONDS,
    CallMilestone,
    CallStored,
    EveryoneTold,
    ProofOfLife,
    RecordingClosed,
    RecordingsStored,
    encode,
)
from engine.store.database import uninterrupted, writing
from engine.store.money.ledger_store import CallCharge, settle
from engine.store.money.minutes_store import MinutesUsed, settle_minutes
from engine.store.money.notice_store import notice_low
from engine.store.records.cdr_store import write_cdrs, write_recordings
from engine.store.records.journal import Journal
from engine.store.webhook_store import tell_of_records
from media.plane import RecordingFinished

BATCH_ROWS_MAX = 200
"""Rows in one transaction: 14–20 k rows/s were measured at 200, and a longer one makes other writers wait."""
RETRY_SECONDS_MAX = 5.0
FAILURES_MAX = 8
"""After so many in a row a record that is refused alone is set aside; what else fails is tried for ever."""
PROOF_OF_LIFE_SECONDS = 1.0
"""After a crash a call is charged up to the last proof of life, so this much talk at most is given away."""

log = structlog.get_logger()


class RecordKeeper:
    """What waits here is bounded by the calls' limit times the database's absence; the journal holds it as well."""

    def __init__(
        self,
        *,
        journal: Journal,
        database: AsyncEngine,
        engine_id: str,
        write_interval_seconds: float,
        now_ms: Callable[[], int],
        clock: ClockSetting | None = None,
    ) -> None:
        self._journal = journal
        self._database = database
        self._engine_id = engine_id
        self._write_interval_seconds = write_interval_seconds
        self._now_ms = now_ms
        self._clock = clock
        self._open: dict[str, CallRecord] = {}
        """Calls whose last record is not in the database: what a new journal segment must begin with."""
        self._heard: dict[str, list[AnswerHeard]] = {}
        """Of those, who has acknowledged our answer since that record."""
        self._changed: dict[str, Cdr] = {}
        self._recordings: list[RecordingFinished] = []
        self._storing = 0
        self._failures = 0
        self._batch_rows = BATCH_ROWS_MAX
        self._alive_at_ms = 0
        """The last proof of life, ours or the engine's before us."""

    def take(self, records: Iterable[CallRecord]) -> None:
        """Writes milestones into the journal; call it before they have consequences outside.

        A full disk is no reason to end a call: the records wait in memory, and the journal tries again.
        """
        for record in records:
            cdr = record.cdr
            self._journal.append(encode(CallMilestone(record)))
            self._open[cdr.id] = record
            self._changed[cdr.id] = cdr
            self._heard.pop(cdr.id, None)
        self._write_journal()

    def take_heard(self, heard: Iterable[AnswerHeard]) -> None:
        """Who has acknowledged our answer; the database has no use for it. At once: to who hangs up while an engine is
        away, the next one's copy of a 200 that he has acknowledged is an answer to something else."""
        for each in heard:
            if each.call_id in self._open:
                self._heard.setdefault(each.call_id, []).append(each)
            self._journal.append(encode(each))
        self._write_journal()

    def take_recording(self, recording: RecordingFinished) -> None:
        """Into the journal as well: the media worker may not tell of it again, and the database may be away."""
        self._journal.append(encode(RecordingClosed(recording)))
        self._recordings.append(recording)
        self._write_journal()

    async def adopt(
        self, records: Iterable[CallRecord], alive_at_ms: int, recordings: Iterable[RecordingFinished] = ()
    ) -> None:
        """Takes over what a crash left in earlier segments, and stores it; then those segments go."""
        self._alive_at_ms = alive_at_ms
        self.take(records)
        for recording in recordings:
            self.take_recording(recording)
        await self.store_waiting()
        await self._sync_journal(begin_segment=True)

    @property
    def waiting(self) -> int:
        """Rows that are not in the database yet."""
        return len(self._changed) + self._storing + len(self._recordings)

    async def run(self) -> None:
        """Runs until cancelled; then ``close`` writes what is left."""
        async with asyncio.TaskGroup() as group:  # apart: the journal waits for no database
            group.create_task(self._keep_journal())
            group.create_task(self._keep_storing())

    async def _keep_journal(self) -> None:
        proof_due = proofs_end = 0.0
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._write_interval_seconds)
            if self._open:
                proofs_end = loop.time() + ENDED_LATELY_SECONDS + PROOF_OF_LIFE_SECONDS
            if proof_due <= loop.time() < proofs_end:
                self._alive_at_ms = self._now_ms()
                self._journal.append(encode(ProofOfLife(self._alive_at_ms)))
                proof_due = loop.time() + PROOF_OF_LIFE_SECONDS
            await self._sync_journal()

    async def _keep_storing(self) -> None:
        while True:
            await asyncio.sleep(self._write_interval_seconds)
            if not await uninterrupted(self.store_waiting()):
                await asyncio.sleep(min(RETRY_SECONDS_MAX, self._write_interval_seconds * 2**self._failures))

    async def close(self) -> None:
        """The last writing. What the database does not take stays in the journal for the next start."""
        await self.store_waiting()
        self._journal.append(encode(EveryoneTold()))
        try:
            self._journal.close()
        except OSError as error:
            log.error("journal not written", reason=error.strerror)

    def _write_journal(self) -> None:
        try:
            self._journal.write()
        except OSError as error:
            log.error("journal not written", reason=error.strerror)

    async def _sync_journal(self, *, begin_segment: bool = False) -> None:
        try:
            if begin_segment or self._journal.is_segment_full:
                # Without the last proof calls that die right after this would end at their last milestone.
                proof = encode(ProofOfLife(self._alive_at_ms))
                calls = (encode(CallMilestone(record)) for record in self._open.values())
                heard = (encode(each) for of_call in self._heard.values() for each in of_call)
                recordings = (encode(RecordingClosed(recording)) for recording in self._recordings)
                clock = [encode(self._clock)] if self._clock is not None else []
                self._journal.begin_segment([*clock, proof, *calls, *heard, *recordings])
            self._journal.write()
            await asyncio.to_thread(self._journal.sync)
        except OSError as error:
            log.error("journal not synced", reason=error.strerror)

    async def store_waiting(self) -> bool:
        """True if all that waited is stored or set aside; on a failure it is kept, and the next try begins with it.

        What comes meanwhile waits for the next time: stored at once, it would be a batch of the few calls that changed
        while the batch before it was written, and so on, and at 100 calls/s a fifth of a call's cost.

        A record that the database is there for and does not take is found by halving the batch, and set aside: it must
        not hold up the others. The journal keeps it, and the next start tries again.
        """
        rows_due, recordings_due = len(self._changed), len(self._recordings)
        while (rows_due > 0 and self._changed) or (recordings_due > 0 and self._recordings):
            batch = [self._changed[call_id] for call_id in list(self._changed)[: self._batch_rows]]
            alone = self._batch_rows == 1 and bool(batch)
            recordings = [] if alone else self._recordings[: self._batch_rows]
            try:
                await self._store_batch(batch, recordings)
            except (SQLAlchemyError, OSError, ValueError, OverflowError) as error:
                self._failures = min(self._failures + 1, FAILURES_MAX)
                log.error("records not stored, will be tried again", waiting=self.waiting, error=type(error).__name__)
                if not _is_refusal(error):
                    return False
                if len(batch) + len(recordings) > 1:
                    self._batch_rows = max(1, max(len(batch), len(recordings)) // 2)
                elif self._failures < FAILURES_MAX:
                    return False
                else:
                    self._set_aside(batch, recordings)
            else:
                self._failures = 0
                self._batch_rows = min(2 * self._batch_rows, BATCH_ROWS_MAX)
                rows_due -= len(batch)
                recordings_due -= len(recordings)
        return True

    async def _store_batch(self, batch: list[Cdr], recordings: list[RecordingFinished]) -> None:
        # The records live on while the database is written: what is stored is what they say now.
        rows = [msgspec.structs.asdict(cdr) for cdr in batch]
        for cdr in batch:
            del self._changed[cdr.id]
        self._storing = len(batch)
        try:
            await self._store(rows, recordings)
        except BaseException:
            for cdr in batch:
                self._changed.setdefault(cdr.id, cdr)
            raise
        finally:
            self._storing = 0
        del self._recordings[: len(recordings)]
        if recordings:
            self._journal.append(encode(RecordingsStored([recording.call_id for recording in recordings])))
        self._close_stored(rows)

    def _set_aside(self, batch: list[Cdr], recordings: list[RecordingFinished]) -> None:
        """One record that was refused alone, FAILURES_MAX times."""
        for cdr in batch:
            del self._changed[cdr.id]
            log.error("the database does not take a call's record; the journal keeps it", call_id=cdr.id)
        for recording in recordings:
            self._recordings.remove(recording)
            log.error("the database does not take a recording's row", call_id=recording.call_id)
        self._failures = 0

    async def _store(self, rows: list[dict[str, Any]], recordings: list[RecordingFinished]) -> None:
        charges = [
            CallCharge(row["tenant_id"], row["id"], row["charge_micro"], row["ended_at_ms"])
            for row in rows
            if row["state"] is CdrState.ENDED and row["charge_micro"]
        ]
        uses = [
            MinutesUsed(row["id"], bucket_id, seconds, row["ended_at_ms"])
            for row in rows
            if row["state"] is CdrState.ENDED
            for bucket_id, seconds in row["minutes_used"]
        ]
        async with writing(self._database) as connection:
            if rows:
                await write_cdrs(connection, rows)
            if recordings:
                await write_recordings(
                    connection, [_recording_row(recording, self._engine_id) for recording in recordings]
                )
            if uses and (beyond_seconds := await settle_minutes(connection, self._engine_id, uses)):
                log.error("minutes used beyond the lease", seconds=beyond_seconds)
            if charges:
                settlement = await settle(connection, self._engine_id, charges)
                if settlement.beyond_lease_micro:
                    log.error("charged beyond the lease", micro=settlement.beyond_lease_micro)
                await notice_low(connection, {charge.tenant_id for charge in charges}, self._now_ms())
            # Last: what locks the feed and the accounts goes before what looks at webhooks.
            await tell_of_records(connection, rows, [recording.call_id for recording in recordings], self._now_ms())

    def _close_stored(self, rows: list[dict[str, Any]]) -> None:
        ended = [row["id"] for row in rows if row["state"] is CdrState.ENDED]
        for call_id in ended:
            self._open.pop(call_id, None)
            self._heard.pop(call_id, None)
        if ended:
            self._journal.append(encode(CallStored(ended)))


def _is_refusal(error: Exception) -> bool:
    """Whether the database is there, and does not take what it was given."""
    if isinstance(error, DBAPIError):
        return not (error.connection_invalidated or isinstance(error, OperationalError | InterfaceError))
    return isinstance(error, StatementError | ValueError | OverflowError)  # a value that no column's type can say


def _recording_row(recording: RecordingFinished, engine_id: str) -> dict[str, Any]:
    return {
        "engine_id": engine_id,
        "cdr_id": recording.call_id,
        "path": recording.path,
        "duration_ms": recording.duration_ms,
        "size_octets": recording.size_octets,
        "sha256": recording.sha256,
        "gaps_ms": [list(gap) for gap in recording.gaps_ms],
    }
