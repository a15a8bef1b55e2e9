"""The sieve saves time: it must not change what is made of a journal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.b2bua.running_call import AnswerHeard, CallRecord, RunningCall, SetUp
from engine.domain.cdr import Cdr, CdrState
from engine.domain.lines.routing import Parties
from engine.domain.money.charging import Rate, Tariff
from engine.runtime.records.call_journal import (
    CallMilestone,
    CallStored,
    EveryoneTold,
    JournalRecord,
    ProofOfLife,
    RecordingClosed,
    RecordingsStored,
    encode,
)
from engine.runtime.records.journal_sieve import JournalSieve
from engine.runtime.records.recovery import recover
from media.plane import RecordingFinished, Side
from sip.core.dialogs.session_snapshot import SessionSnapshot
from sip.core.dialogs.setup_snapshot import UnansweredInvite
from sip.core.hop import Hop

START_MS = 1_800_000_000_000
HOP = Hop("udp", "192.0.2.1", 5060)
LEG = SessionSnapshot(
    "c", "<sip:1>", "our tag", "<sip:2>", "its tag", "sip:2", (), 1, 1, HOP, HOP, True, "", False, False, b"v=0", True,
    0, False, b"SIP/2.0 200 OK", HOP,
)  # fmt: skip
TALKS = RunningCall("+8613900000000", None, (), 70, 60, LEG, None)
WAITS = SetUp(UnansweredInvite("z9hG4bKx 1:5060 INVITE", HOP, 1, "Via: x", "<sip:1>"), ())
RECORDED = RecordingFinished("1", "1.wav", 1000, 32_044, "0" * 64, [(Side.CALLEE, 100, 120)])


def lives(call_id: str, started_ms: int, talks_ms: int) -> list[JournalRecord]:
    """All that a call has in the journal while it goes on, in order."""
    cdrs = [Cdr.started(call_id, Parties(tenant_id=1), started_ms) for _ in range(3)]
    cdrs[1].state, cdrs[1].answered_at_ms = CdrState.ANSWERED, started_ms + 1000
    cdrs[2].state, cdrs[2].answered_at_ms = CdrState.ENDED, started_ms + 1000
    cdrs[2].ended_at_ms = started_ms + 1000 + talks_ms
    begun, talking, ended = (CallRecord(cdr, Tariff(Rate(60_000))) for cdr in cdrs)
    begun.setup, talking.running = WAITS, TALKS
    return [
        CallMilestone(begun),
        CallMilestone(talking),
        AnswerHeard(call_id, "our tag"),
        CallMilestone(ended),
        RecordingClosed(replace_id(RECORDED, call_id)),
        CallStored([call_id]),
        RecordingsStored([call_id]),
    ]


def replace_id(recording: RecordingFinished, call_id: str) -> RecordingFinished:
    return RecordingFinished(
        call_id, f"{call_id}.wav", recording.duration_ms, recording.size_octets, recording.sha256, recording.gaps_ms
    )


def moment_ms(record: JournalRecord) -> int | None:
    if isinstance(record, CallMilestone):
        cdr = record.record.cdr
        return max(cdr.started_at_ms, cdr.answered_at_ms or 0, cdr.ended_at_ms or 0)
    return None


@st.composite
def journals(draw: st.DrawFn) -> list[bytes]:
    """Calls that began at some time and came to some point, their records in the order in which they were written."""
    records: list[tuple[int, int, JournalRecord]] = []
    for number in range(draw(st.integers(0, 6))):
        started_ms = START_MS + draw(st.integers(0, 20_000))
        now_ms = started_ms
        life = lives(str(number), started_ms, draw(st.integers(0, 9000)))
        for record in life[: draw(st.integers(0, len(life)))]:
            now_ms = max(now_ms, moment_ms(record) or now_ms + draw(st.integers(0, 6000)))
            records.append((now_ms, len(records), record))
    for _ in range(draw(st.integers(0, 3))):
        at_ms = START_MS + draw(st.integers(0, 40_000))
        records.append((at_ms, len(records), ProofOfLife(at_ms)))
    if draw(st.booleans()):
        records.append((START_MS + draw(st.integers(0, 40_000)), len(records), EveryoneTold()))
    return [encode(record) for _, _, record in sorted(records, key=lambda each: each[:2])]


@given(journals())
def test_what_the_sieve_lets_go_changes_nothing(journal: list[bytes]) -> None:
    sieved = recover(journal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JournalSieve, "_forget_stored", lambda _self: None)
        assert sieved == recover(journal)


def test_what_is_over_and_stored_is_not_held() -> None:
    words: list[Any] = [
        record for number in range(200) for record in lives(str(number), START_MS + number * 1000, 2000)
    ]
    sieve = JournalSieve(map(encode, words))
    calls = [payload for payload in sieve.left if b"+8613900000000" in payload]
    assert len(calls) == 5, "of the calls that ended in the last four seconds, and no other"
    assert len(sieve.ended_at_ms) == 200
    assert sieve.alive_at_ms == START_MS + 199_000 + 3000


def test_a_recording_that_is_told_of_again_is_stored_again() -> None:
    closed = RecordingClosed(RECORDED)
    assert recover(map(encode, [closed, RecordingsStored(["1"])])).recordings == []
    assert recover(map(encode, [closed, RecordingsStored(["1"]), closed])).recordings == [RECORDED]


def test_who_has_acknowledged_is_remembered_as_long_as_the_call() -> None:
    begun, talking, heard, ended, *_ = lives("1", START_MS, 2000)
    for words in ([begun, talking, heard], [begun, talking, heard, ended]):
        recovered = recover(map(encode, words))
        legs = [record.running.caller for record in recovered.talking if record.running is not None]
        legs += [running.caller for running in recovered.hung_up]
        assert [leg and leg.answer for leg in legs] == [b""]
