"""What the engine writes into its journal about calls, and what it makes of it after a crash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from engine.b2bua.running_call import CallRecord
from engine.domain.cause import CODES, Cause, ReleaseSide
from engine.domain.cdr import CdrState
from media.plane import RecordingFinished


class CallMilestone(msgspec.Struct, tag="call", array_like=True):
    """A call as of now."""

    record: CallRecord


class ProofOfLife(msgspec.Struct, tag="alive", array_like=True):
    """The engine was there at this time, and with it every call that had not ended."""

    at_ms: int


class CallStored(msgspec.Struct, tag="stored", array_like=True):
    """These calls' last records are in the database."""

    call_ids: list[str]


class RecordingClosed(msgspec.Struct, tag="recording", array_like=True):
    """A media worker has told of a recording, which it repeats for seconds only. The path is below their folder."""

    recording: RecordingFinished


class RecordingsStored(msgspec.Struct, tag="recordings stored", array_like=True):
    """These calls' recordings are in the database."""

    call_ids: list[str]


JournalRecord = CallMilestone | ProofOfLife | CallStored | RecordingClosed | RecordingsStored

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(JournalRecord).decode


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


def recover(payloads: Iterable[bytes]) -> Recovered:
    """Every call that the database may not have: ended, or talking when the engine died."""
    calls: dict[str, CallRecord] = {}
    recordings: dict[str, RecordingFinished] = {}
    alive_at_ms = 0
    unreadable = 0
    for payload in payloads:
        try:
            record = _decode(payload)
        except msgspec.MsgspecError:
            unreadable += 1
            continue
        match record:
            case CallMilestone(record=call):
                cdr = call.cdr
                calls[cdr.id] = call
                moments = (cdr.started_at_ms, cdr.ringing_at_ms, cdr.answered_at_ms, cdr.ended_at_ms)
                alive_at_ms = max(alive_at_ms, *(moment for moment in moments if moment is not None))
            case ProofOfLife(at_ms=at_ms):
                alive_at_ms = max(alive_at_ms, at_ms)
            case CallStored(call_ids=call_ids):
                for call_id in call_ids:
                    calls.pop(call_id, None)
            case RecordingClosed(recording=recording):
                recordings[recording.call_id] = recording
            case RecordingsStored(call_ids=call_ids):
                for call_id in call_ids:
                    recordings.pop(call_id, None)
    ended: list[CallRecord] = []
    talking: list[CallRecord] = []
    interrupted = 0
    for call in calls.values():
        first = calls.get(call.media_call_id)
        if call.cdr.state is CdrState.ENDED:
            ended.append(call)
        elif call.running is not None and first is not None and first.running is not None:
            talking.append(call)
        else:
            interrupted += 1
            end_interrupted(call, alive_at_ms)
            ended.append(call)
    return Recovered(ended, talking, interrupted, unreadable, alive_at_ms, list(recordings.values()))


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
