import msgspec
import pytest

from engine.b2bua.running_call import CallRecord, JoinedCall, RunningCall, SetUp
from engine.domain.cause import Cause
from engine.domain.cdr import Cdr, CdrState
from engine.domain.events import Leg
from engine.domain.lines.routing import Parties
from engine.domain.money.charging import Rate, Tariff
from engine.runtime.records.call_journal import (
    CallMilestone,
    CallStored,
    EveryoneTold,
    JournalRecord,
    ProofOfLife,
    encode,
)
from engine.runtime.records.recovery import Recovered, recover
from sip.core.dialogs.setup_snapshot import SentInvite, UnansweredInvite
from sip.core.hop import Hop

START_MS = 1_800_000_000_000
RATE = Rate(per_minute_micro=60_000, first_increment_seconds=1, next_increment_seconds=1)


def cdr(call_id: str, **fields: object) -> Cdr:
    made = Cdr.started(call_id, Parties(tenant_id=1), START_MS)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def milestone(of: Cdr) -> CallMilestone:
    return CallMilestone(CallRecord(of, Tariff(RATE)))


def answered(call_id: str) -> Cdr:
    return cdr(call_id, state=CdrState.ANSWERED, answered_at_ms=START_MS + 5000, recording_path=f"{call_id}.wav")


def cdrs(recovered: Recovered) -> list[Cdr]:
    return [record.cdr for record in recovered.ended]


def test_a_call_that_cannot_be_taken_up_ends_with_the_last_proof_of_life() -> None:
    recovered = recover(
        [
            encode(milestone(cdr("1"))),
            encode(milestone(answered("1"))),
            encode(ProofOfLife(START_MS + 35_000)),
        ]
    )
    (record,) = cdrs(recovered)
    assert recovered.interrupted == 1
    assert (record.state, record.cause, record.talk_ms) == (CdrState.ENDED, Cause.ENGINE_RESTART, 30_000)
    assert (record.billed_seconds, record.charge_micro) == (30, 30_000)
    assert record.recording_path == "1.wav"


def test_another_calls_milestone_is_a_proof_of_life_too() -> None:
    other = cdr("2", started_at_ms=START_MS + 15_000)
    recovered = recover([encode(milestone(answered("1"))), encode(milestone(other))])
    assert [record.talk_ms for record in cdrs(recovered)] == [10_000, 0]


def test_a_call_that_rang_costs_nothing_and_has_no_recording() -> None:
    ringing = cdr("1", state=CdrState.RINGING, ringing_at_ms=START_MS + 1, recording_path="1.wav")
    (record,) = cdrs(recover([encode(milestone(ringing)), encode(ProofOfLife(START_MS + 9000))]))
    assert (record.charge_micro, record.recording_path, record.sip_status) == (0, None, 500)


def test_an_ended_call_keeps_its_end_and_its_charge() -> None:
    ended = cdr("1", state=CdrState.ENDED, ended_at_ms=START_MS + 1, cause=Cause.BUSY, charge_micro=7)
    recovered = recover([encode(milestone(ended)), encode(ProofOfLife(START_MS + 9000))])
    assert recovered.interrupted == 0
    assert [(record.cause, record.charge_micro) for record in cdrs(recovered)] == [(Cause.BUSY, 7)]


def test_what_the_database_has_is_not_brought_again() -> None:
    ended = cdr("1", state=CdrState.ENDED, ended_at_ms=START_MS + 1)
    assert recover([encode(milestone(ended)), encode(CallStored(["1"]))]).ended == []


def test_a_record_of_another_kind_is_counted_and_loses_no_other() -> None:
    recovered = recover([b"\x93garbage", encode(CallMilestone(CallRecord(cdr("1")))), b""])
    assert recovered.unreadable == 2
    assert [record.id for record in cdrs(recovered)] == ["1"]


TALKS = RunningCall("+8613900000000", None, (), 70, 60, None, None)


@pytest.mark.parametrize(
    ("later", "told_again"),
    [
        ([], [TALKS]),
        ([CallStored(["1"])], [TALKS]),  # its BYE has left, and may be lost
        ([ProofOfLife(START_MS + 20_000 + 3_900)], [TALKS]),
        ([ProofOfLife(START_MS + 20_000 + 4_100)], []),
        ([EveryoneTold()], []),
    ],
)
def test_legs_of_a_call_that_ended_lately_are_remembered(later: list[JournalRecord], told_again: list[object]) -> None:
    ended = answered("1")
    ended.state, ended.ended_at_ms, ended.cause = CdrState.ENDED, START_MS + 20_000, Cause.NORMAL
    last_words = [CallMilestone(CallRecord(answered("1"), running=TALKS)), CallMilestone(CallRecord(ended)), *later]
    assert recover(map(encode, last_words)).hung_up == told_again


WAITS = SetUp(UnansweredInvite("z9hG4bKx 1:5060 INVITE", Hop("udp", "192.0.2.1", 5060), 1, "Via: x", "<sip:1>"), ())


@pytest.mark.parametrize(
    ("later", "left_waiting"),
    [
        ([], 1),
        ([CallStored(["1"])], 1),  # its refusal has left, and may be lost
        ([ProofOfLife(START_MS + 20_000 + 3_900)], 1),
        ([ProofOfLife(START_MS + 20_000 + 4_100)], 0),
        ([EveryoneTold()], 0),
    ],
)
def test_who_waited_for_a_call_that_failed_lately_is_remembered(later: list[JournalRecord], left_waiting: int) -> None:
    ended = cdr("1", state=CdrState.ENDED, ended_at_ms=START_MS + 20_000, cause=Cause.BUSY, sip_status=486)
    last_words = [CallMilestone(CallRecord(cdr("1"), setup=WAITS)), CallMilestone(CallRecord(ended)), *later]
    recovered = recover(map(encode, last_words))
    assert [(each.cdr.sip_status, each.setup) for each in recovered.left_waiting] == [(486, WAITS)] * left_waiting


def test_who_waits_when_the_engine_dies_is_remembered_until_the_record_is_stored() -> None:
    words = [encode(CallMilestone(CallRecord(cdr("1"), setup=WAITS))), encode(ProofOfLife(START_MS + 50_000))]
    (record,) = recover(words).left_waiting
    assert (record.cdr.cause, record.cdr.sip_status, record.setup) == (Cause.ENGINE_RESTART, 500, WAITS)
    adopted = [encode(CallMilestone(record)), encode(ProofOfLife(START_MS + 90_000))]
    assert len(recover(adopted).left_waiting) == 1, "the second engine has died before it could tell"
    assert recover([*adopted, encode(CallStored(["1"])), encode(ProofOfLife(START_MS + 95_000))]).left_waiting == []


def test_nobody_waits_any_more_once_both_talk() -> None:
    setup, talk = CallRecord(cdr("1"), setup=WAITS), CallRecord(answered("1"), running=TALKS)
    recovered = recover([encode(CallMilestone(setup)), encode(CallMilestone(talk))])
    assert recovered.left_waiting == []


def test_records_of_engines_that_kept_less_are_read() -> None:
    full = CallRecord(answered("1"), Tariff(RATE), TALKS, ("tag",), WAITS)
    fields = msgspec.msgpack.decode(encode(CallMilestone(full)))
    fields[1] = fields[1][:4]  # as it was without the setup
    fields[1][2] = fields[1][2][:11]  # nor a transfer's subscription
    recovered = recover([msgspec.msgpack.encode(fields)])
    assert (recovered.unreadable, len(recovered.ended) + len(recovered.talking)) == (0, 1)


def test_a_setup_shows_no_number() -> None:
    sent = SentInvite(
        Hop("udp", "192.0.2.1", 5060), "sip:13800000000@x", "z9hG4bKx", "<sip:1>", "<sip:138>", "1", 1, ""
    )
    assert "138" not in repr((sent, SetUp(WAITS.caller, (sent,)), WAITS.caller._replace(to="<sip:138>")))  # type: ignore[union-attr]  # it has one


def test_a_party_who_was_leaving_a_call_that_went_with_its_first_is_told() -> None:
    joined = JoinedCall("first", Leg.CALLER, Leg.CALLEE, START_MS, ())
    running = RunningCall("+8613900000000", None, (), 70, 60, None, None, joined=joined)
    recovered = recover([encode(CallMilestone(CallRecord(answered("1"), running=running)))])
    assert (recovered.interrupted, recovered.hung_up) == (1, [running])


def test_when_a_stored_call_ended_is_still_known() -> None:
    """Its media worker may not have heard of it: the recording went on until the next engine came."""
    long_ago = cdr("1", state=CdrState.ENDED, ended_at_ms=START_MS + 1000)
    lately, open_ = cdr("2", state=CdrState.ENDED, ended_at_ms=START_MS + 99_000), answered("3")
    recovered = recover(
        [
            *(encode(milestone(each)) for each in (long_ago, lately, open_)),
            encode(CallStored(["1", "2"])),
            encode(ProofOfLife(START_MS + 100_000)),
            encode(EveryoneTold()),
        ]
    )
    assert recovered.ended_at_ms == {"2": START_MS + 99_000, "3": START_MS + 100_000}
