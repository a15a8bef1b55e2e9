"""What the next engine makes of a journal after a crash."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from engine.b2bua.running_call import AnswerHeard, CallRecord, RunningCall, SetUp
from engine.domain.cause import CODES, Cause, ReleaseSide
from engine.domain.cdr import CdrState
from engine.runtime.clock import ClockSetting
from engine.runtime.records.call_journal import (
    ENDED_LATELY_SECONDS,
    CallMilestone,
    CallStored,
    EveryoneTold,
    JournalRecord,
    ProofOfLife,
    RecordingClosed,
    RecordingsStored,
    decode,
)
from engine.runtime.records.journal_sieve import JournalSieve
from media.plane import RecordingFinished

ENDS_KEPT_SECONDS = 60.0
"""A media worker that was too busy to take its commands is not so for longer."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a journal says was left undone."""

    ended: list[CallRecord]
    """Complete records, to be stored and charged."""
    talking: list[CallRecord]
    """Calls that may go on, if the media plane has held them."""
    interrupted: int
    """How many of the ended ones were being set up when the engine died."""
    unreadable: int
    alive_at_ms: int
    """The engine's last proof of life; 0 for an empty journal."""
    recordings: list[RecordingFinished]
    """Closed, and perhaps not stored."""
    hung_up: list[RunningCall]
    """Of calls that ended lately, stored or not: maybe nobody has told their legs."""
    left_waiting: list[CallRecord]
    """Of calls that were being set up, or were until lately: whoever has no answer, or rings, is to be told."""
    ended_at_ms: dict[str, int]
    """Of calls that ended in the last ENDS_KEPT_SECONDS, stored or not: a media worker may not have been told."""
    clock: ClockSetting | None = None
    """By which all those times are."""

    @property
    def goes_on(self) -> bool:
        """Whether any call is left, so that the clock has to be the same."""
        return bool(self.talking or self.ended)


def recover(payloads: Iterable[bytes]) -> Recovered:
    """Every call that the database may not have: ended, or talking when the engine died."""
    # The collector would go through all that has been read, again and again, for nothing: half of the time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        sieve = JournalSieve(payloads)
        found = _Found()
        unreadable = sieve.unreadable
        for payload in sieve.left:
            try:
                record = decode(payload)
            except msgspec.MsgspecError:
                unreadable += 1
            else:
                found.take(record)
    finally:
        if was_enabled:
            gc.enable()
    return _sorted_out(found, sieve.alive_at_ms, sieve.ended_at_ms, unreadable)


class _Found:
    """What is left of the journal has said so far, record by record."""

    def __init__(self) -> None:
        self.calls: dict[str, CallRecord] = {}
        self.recordings: dict[str, RecordingFinished] = {}
        self.hung_up: dict[str, tuple[int, RunningCall]] = {}
        self.clock: ClockSetting | None = None
        self.left_waiting: dict[str, tuple[int, CallRecord]] = {}
        self._running: dict[str, RunningCall] = {}
        self._setups: dict[str, SetUp] = {}

    def take(self, record: JournalRecord) -> None:
        match record:
            case CallMilestone(record=call):
                self._milestone(call)
            case AnswerHeard(call_id=call_id, local_tag=local_tag):
                if (answered := self.calls.get(call_id)) is not None:
                    answered.heard(local_tag)
                    self._note_running(answered)
            case CallStored(call_ids=call_ids):
                for call_id in call_ids:
                    self.calls.pop(call_id, None)
            case RecordingClosed(recording=recording):
                self.recordings[recording.call_id] = recording
            case EveryoneTold():
                self.hung_up.clear()
                self.left_waiting.clear()
            case ClockSetting():
                self.clock = record
            case ProofOfLife() | RecordingsStored():
                pass  # the sieve has heard them

    def _milestone(self, call: CallRecord) -> None:
        cdr = call.cdr
        self.calls[cdr.id] = call
        self._note_running(call)
        if cdr.ended_at_ms is not None and (last := self._running.pop(cdr.id, None)) is not None:
            self.hung_up[cdr.id] = cdr.ended_at_ms, last
        setup = self._setups.pop(cdr.id, None)
        if call.setup is not None:
            self._setups[cdr.id] = call.setup
        elif cdr.ended_at_ms is not None and setup is not None:
            self.left_waiting[cdr.id] = cdr.ended_at_ms, CallRecord(cdr, setup=setup)

    def _note_running(self, call: CallRecord) -> None:
        if call.running is not None:
            self._running[call.cdr.id] = call.running


def _sorted_out(found: _Found, alive_at_ms: int, ended_at_ms: Mapping[str, int], unreadable: int) -> Recovered:
    calls = found.calls
    late_ms = alive_at_ms - int(ENDED_LATELY_SECONDS * 1000)
    hung_up = [last for at_ms, last in found.hung_up.values() if at_ms >= late_ms]
    left_waiting = [last for at_ms, last in found.left_waiting.values() if at_ms >= late_ms]
    ended: list[CallRecord] = []
    talking: list[CallRecord] = []
    interrupted = 0
    for call in calls.values():
        first = calls.get(call.media_call_id)
        if call.setup is not None:  # also where an engine had ended it for the one before, and has died itself
            left_waiting.append(call)
        if call.cdr.state is CdrState.ENDED:
            ended.append(call)
        elif call.running is not None and first is not None and first.running is not None:
            talking.append(call)
        else:
            interrupted += 1
            end_interrupted(call, alive_at_ms)
            ended.append(call)
            if call.running is not None:
                hung_up.append(call.running)
    recordings = list(found.recordings.values())
    early_ms = alive_at_ms - int(ENDS_KEPT_SECONDS * 1000)
    ends = {call_id: at_ms for call_id, at_ms in ended_at_ms.items() if at_ms >= early_ms}
    ends |= {call.cdr.id: call.cdr.ended_at_ms for call in ended if call.cdr.ended_at_ms is not None}
    return Recovered(
        ended, talking, interrupted, unreadable, alive_at_ms, recordings, hung_up, left_waiting, ends, found.clock
    )


def end_interrupted(call: CallRecord, alive_at_ms: int) -> None:
    """Ends a call with the engine's last proof of life: later than that nobody can say that it had the line, so later
    than that it is not charged."""
    cdr = call.cdr
    cdr.state = CdrState.ENDED
    cdr.ended_at_ms = max(alive_at_ms, cdr.answered_at_ms or cdr.started_at_ms)
    cdr.cause, cdr.release_side = Cause.ENGINE_RESTART, ReleaseSide.PLATFORM
    cdr.q850_cause = CODES[Cause.ENGINE_RESTART].q850_cause
    cdr.sip_status = 200 if cdr.answered_at_ms is not None else CODES[Cause.ENGINE_RESTART].sip_status
    if cdr.answered_at_ms is None:
        cdr.recording_path = None
    if call.tariff is not None:
        cdr.take_charge(call.tariff.charge(cdr.talk_ms))
