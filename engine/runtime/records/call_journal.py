"""What the engine writes into its journal about calls."""

from __future__ import annotations

import msgspec

from engine.b2bua.running_call import AnswerHeard, CallRecord
from engine.runtime.clock import ClockSetting
from media.plane import RecordingFinished

ENDED_LATELY_SECONDS = 4.0
"""Before its last proof of life an engine may have left a BYE unsent, or lost; by then three copies of it have left
(RFC 3261 §17.1.2.2: after 0.5, 1.5 and 3.5 s), and whoever has not heard them is not there."""


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


class EveryoneTold(msgspec.Struct, tag="told", array_like=True):
    """The engine goes of its own accord: whoever was on a call that has ended knows it."""


JournalRecord = (
    CallMilestone
    | AnswerHeard
    | ProofOfLife
    | CallStored
    | RecordingClosed
    | RecordingsStored
    | EveryoneTold
    | ClockSetting
)

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(JournalRecord).decode
