"""What the engine writes into its journal about calls, and what it makes of it after a crash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from engine.domain.cause import CODES, Cause, ReleaseSide
from engine.domain.cdr import Cdr, CdrState
from engine.domain.charging import Rate


class CallMilestone(msgspec.Struct, tag="call", array_like=True):
    """A call's record as of now, with the rate it began with (None for a call that was turned away)."""

    cdr: Cdr
    rate: Rate | None


class ProofOfLife(msgspec.Struct, tag="alive", array_like=True):
    """The engine was there at this time, and with it every call that had not ended."""

    at_ms: int


class CallStored(msgspec.Struct, tag="stored", array_like=True):
    """These calls' last records are in the database."""

    call_ids: list[str]


JournalRecord = CallMilestone | ProofOfLife | CallStored

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(JournalRecord).decode


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a journal says was left undone: complete records, to be stored and charged."""

    cdrs: list[Cdr]
    interrupted: int
    """How many of them were running when the engine died."""
    unreadable: int


def recover(payloads: Iterable[bytes]) -> Recovered:
    """Every call that the database may not have, ended.

    A call that was running ended with the engine's last proof of life: later than that nobody can say that it had the
    line, so later than that it is not charged.
    """
    calls: dict[str, CallMilestone] = {}
    alive_at_ms = 0
    unreadable = 0
    for payload in payloads:
        try:
            record = _decode(payload)
        except msgspec.MsgspecError:
            unreadable += 1
            continue
        match record:
            case CallMilestone(cdr=cdr):
                calls[cdr.id] = record
                moments = (cdr.started_at_ms, cdr.ringing_at_ms, cdr.answered_at_ms, cdr.ended_at_ms)
                alive_at_ms = max(alive_at_ms, *(moment for moment in moments if moment is not None))
            case ProofOfLife(at_ms=at_ms):
                alive_at_ms = max(alive_at_ms, at_ms)
            case CallStored(call_ids=call_ids):
                for call_id in call_ids:
                    calls.pop(call_id, None)
    interrupted = 0
    for milestone in calls.values():
        if milestone.cdr.state is not CdrState.ENDED:
            interrupted += 1
            _end_interrupted(milestone, alive_at_ms)
    return Recovered([milestone.cdr for milestone in calls.values()], interrupted, unreadable)


def _end_interrupted(milestone: CallMilestone, alive_at_ms: int) -> None:
    cdr = milestone.cdr
    cdr.state = CdrState.ENDED
    cdr.ended_at_ms = max(alive_at_ms, cdr.answered_at_ms or cdr.started_at_ms)
    cdr.cause, cdr.release_side = Cause.ENGINE_RESTART, ReleaseSide.PLATFORM
    cdr.q850_cause = CODES[Cause.ENGINE_RESTART].q850_cause
    cdr.sip_status = 200 if cdr.answered_at_ms is not None else CODES[Cause.ENGINE_RESTART].sip_status
    if cdr.answered_at_ms is None:
        cdr.recording_path = None
    if milestone.rate is not None:
        cdr.billed_seconds = milestone.rate.billed_seconds(cdr.talk_ms)
        cdr.charge_micro = milestone.rate.price_micro(cdr.billed_seconds)
