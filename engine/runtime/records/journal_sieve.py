"""What of a journal still matters: most of it is of calls that are over and stored.

A milestone is some 1,000 octets, and to read it whole takes eight times as long as its head, which says whose it is and
when. So every record's head is read, and the whole only of what is left in the sieve: less than half of the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from engine.b2bua.running_call import AnswerHeard
from engine.runtime.clock import ClockSetting
from engine.runtime.records.call_journal import (
    ENDED_LATELY_SECONDS,
    CallStored,
    EveryoneTold,
    ProofOfLife,
    RecordingsStored,
)


class _CdrHead(msgspec.Struct):
    """Of `Cdr`, whose other fields are passed over."""

    id: str
    started_at_ms: int
    ringing_at_ms: int | None = None
    answered_at_ms: int | None = None
    ended_at_ms: int | None = None

    @property
    def last_moment_ms(self) -> int:
        """They come in this order, and the calls' clock does not go back (ADR 17)."""
        return self.ended_at_ms or self.answered_at_ms or self.ringing_at_ms or self.started_at_ms


class _RecordHead(msgspec.Struct, array_like=True):
    """Of `CallRecord`."""

    cdr: _CdrHead


class _MilestoneHead(msgspec.Struct, tag="call", array_like=True):
    """Of `CallMilestone`."""

    record: _RecordHead


class _FinishedHead(msgspec.Struct, tag="recorded", array_like=True):
    """Of `RecordingFinished`."""

    call_id: str


class _ClosedHead(msgspec.Struct, tag="recording", array_like=True):
    """Of `RecordingClosed`."""

    recording: _FinishedHead


_Head = (
    _MilestoneHead
    | AnswerHeard
    | ProofOfLife
    | CallStored
    | _ClosedHead
    | RecordingsStored
    | EveryoneTold
    | ClockSetting
)
_decode_head = msgspec.msgpack.Decoder(_Head).decode


class JournalSieve:
    """Takes a journal's payloads in their order. What it holds of them is what is open, and what was lately."""

    def __init__(self, payloads: Iterable[bytes]) -> None:
        self.alive_at_ms = 0
        """The last moment that any record tells of."""
        self.ended_at_ms: dict[str, int] = {}
        """Of every call that has ended."""
        self.unreadable = 0
        self._left: dict[int, bytes] = {}
        """By their place in the journal."""
        self._of_call: dict[str, list[int]] = {}
        self._of_recording: dict[str, list[int]] = {}
        self._stored: deque[str] = deque()
        """Calls that are over and in the database, and ended too lately to be forgotten."""
        for number, payload in enumerate(payloads):
            try:
                head = _decode_head(payload)
            except msgspec.MsgspecError:
                self.unreadable += 1
            else:
                self._take(number, payload, head)

    @property
    def left(self) -> Iterable[bytes]:
        """The payloads that are to be read whole, in their order."""
        return self._left.values()

    def _take(self, number: int, payload: bytes, head: _Head) -> None:
        match head:
            case _MilestoneHead():
                cdr = head.record.cdr
                call_id, moment_ms = cdr.id, cdr.last_moment_ms
                self._left[number] = payload
                if (numbers := self._of_call.get(call_id)) is None:
                    self._of_call[call_id] = [number]
                else:
                    numbers.append(number)
                if moment_ms > self.alive_at_ms:
                    self.alive_at_ms = moment_ms
                if cdr.ended_at_ms is not None:
                    self.ended_at_ms[call_id] = moment_ms
            case AnswerHeard():
                if (of_call := self._of_call.get(head.call_id)) is not None:
                    self._left[number] = payload
                    of_call.append(number)
            case _ClosedHead():
                self._left[number] = payload
                self._of_recording.setdefault(head.recording.call_id, []).append(number)
            case RecordingsStored():
                for call_id in head.call_ids:
                    self._forget(self._of_recording, call_id)
            case CallStored():
                self._left[number] = payload
                self._stored.extend(call_id for call_id in head.call_ids if call_id in self.ended_at_ms)
                self._forget_stored()
            case ProofOfLife():
                self.alive_at_ms = max(self.alive_at_ms, head.at_ms)
            case EveryoneTold() | ClockSetting():
                self._left[number] = payload

    def _forget_stored(self) -> None:
        late_ms = self.alive_at_ms - int(ENDED_LATELY_SECONDS * 1000)
        while self._stored and self.ended_at_ms[self._stored[0]] < late_ms:
            self._forget(self._of_call, self._stored.popleft())

    def _forget(self, kind: dict[str, list[int]], call_id: str) -> None:
        for number in kind.pop(call_id, ()):
            del self._left[number]
