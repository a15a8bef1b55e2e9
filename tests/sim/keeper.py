"""The journal's octets, which outlive their engine, and what brings its records into the books.

``engine.runtime.records.record_keeper`` is that on a real machine: there it waits for disk and database, here for
neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy

from engine.b2bua.running_call import AnswerHeard, CallRecord
from engine.domain.call import milliseconds
from engine.domain.cdr import Cdr, CdrState
from engine.runtime.records.call_journal import CallMilestone, CallStored, ProofOfLife, encode
from tests.sim.books import SimulatedBooks
from tests.sim.timeline import Timeline

WRITE_INTERVAL_SECONDS = 0.2
PROOF_OF_LIFE_SECONDS = 1.0
STORING_SECONDS = 0.01
SEGMENT_RECORDS_MAX = 8


class SimulatedKeeper:
    """``journal`` is what is on the disk; ``resumes_at`` as in ``Node``."""

    def __init__(
        self,
        timeline: Timeline,
        books: SimulatedBooks,
        journal: list[bytes],
        resumes_at: Callable[[float], float],
    ) -> None:
        self.is_dead = False
        self._timeline = timeline
        self._books = books
        self._journal = journal
        self._resumes_at = resumes_at
        self._unwritten: list[bytes] = []
        self._open: dict[str, CallRecord] = {}
        self._heard: dict[str, list[AnswerHeard]] = {}
        self._changed: dict[str, Cdr] = {}
        self._is_awake = False
        self._proof_due = 0.0
        self._alive_at_ms = 0

    def take(self, records: Iterable[CallRecord]) -> None:
        """Writes milestones into the journal; call it before they have consequences outside."""
        for record in records:
            self._unwritten.append(encode(CallMilestone(record)))
            self._open[record.cdr.id] = record
            self._changed[record.cdr.id] = record.cdr
            self._heard.pop(record.cdr.id, None)
        self._write()
        self._stay_awake()

    def take_heard(self, heard: Iterable[AnswerHeard]) -> None:
        for each in heard:
            if each.call_id in self._open:
                self._heard.setdefault(each.call_id, []).append(each)
            self._unwritten.append(encode(each))
        self._write()

    def adopt(self, records: Iterable[CallRecord], alive_at_ms: int) -> None:
        """Takes over what a crash left, and stores it; then the old segments go."""
        self._alive_at_ms = alive_at_ms
        self.take(records)
        self._close(self._changed_rows(), is_stored=self._books.store(self._changed.values()))
        self._begin_segment()

    def close(self) -> None:
        """The last writing of an engine that hands over."""
        rows = self._changed_rows()
        self._close(rows, is_stored=self._books.store(rows))
        self._write()

    @property
    def waiting(self) -> int:
        return len(self._changed)

    def _stay_awake(self) -> None:
        if not self._is_awake and (self._changed or self._open):
            self._is_awake = True
            self._timeline.after(WRITE_INTERVAL_SECONDS if self._changed else PROOF_OF_LIFE_SECONDS, self._work)

    def _work(self) -> None:
        now = self._timeline.now
        if self.is_dead:
            return
        if (resumes_at := self._resumes_at(now)) > now:
            self._timeline.at(resumes_at, self._work)
            return
        if self._open and now >= self._proof_due:
            self._alive_at_ms = milliseconds(now)
            self._unwritten.append(encode(ProofOfLife(self._alive_at_ms)))
            self._proof_due = now + PROOF_OF_LIFE_SECONDS
        if len(self._journal) > SEGMENT_RECORDS_MAX:
            self._begin_segment()
        self._write()
        rows = self._changed_rows()
        if rows:
            # The transaction is under way: a death from here on leaves it stored, and the journal not saying so.
            self._timeline.after(STORING_SECONDS, lambda: self._stored(rows))
        else:
            self._is_awake = False
            self._stay_awake()

    def _stored(self, rows: list[Cdr]) -> None:
        is_stored = self._books.store(rows)
        if not self.is_dead:
            self._close(rows, is_stored=is_stored)
            self._is_awake = False
            self._stay_awake()

    def _changed_rows(self) -> list[Cdr]:
        # The records live on while the books are written: what is stored is what they say now.
        return [copy(cdr) for cdr in self._changed.values()]

    def _close(self, rows: list[Cdr], *, is_stored: bool) -> None:
        if not is_stored:
            return
        ended = [row.id for row in rows if row.state is CdrState.ENDED]
        for row in rows:
            if self._changed.get(row.id) == row:
                del self._changed[row.id]
        for call_id in ended:
            self._open.pop(call_id, None)
            self._heard.pop(call_id, None)
        if ended:
            self._unwritten.append(encode(CallStored(ended)))

    def _begin_segment(self) -> None:
        self._journal[:] = [
            encode(ProofOfLife(self._alive_at_ms)),
            *(encode(CallMilestone(record)) for record in self._open.values()),
            *(encode(each) for of_call in self._heard.values() for each in of_call),
        ]
        self._unwritten.clear()

    def _write(self) -> None:
        self._journal += self._unwritten
        self._unwritten.clear()
