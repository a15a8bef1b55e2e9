from engine.domain.cause import Cause
from engine.domain.cdr import Cdr, CdrState
from engine.domain.charging import Rate
from engine.domain.routing import Parties
from engine.services.call_journal import CallMilestone, CallStored, ProofOfLife, encode, recover

START_MS = 1_800_000_000_000
RATE = Rate(per_minute_micro=60_000, first_increment_seconds=1, next_increment_seconds=1)


def cdr(call_id: str, **fields: object) -> Cdr:
    made = Cdr.started(call_id, Parties(tenant_id=1), START_MS)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def answered(call_id: str) -> Cdr:
    return cdr(call_id, state=CdrState.ANSWERED, answered_at_ms=START_MS + 5000, recording_path=f"{call_id}.wav")


def test_a_call_that_was_running_ends_with_the_last_proof_of_life() -> None:
    recovered = recover(
        [
            encode(CallMilestone(cdr("1"), RATE)),
            encode(CallMilestone(answered("1"), RATE)),
            encode(ProofOfLife(START_MS + 35_000)),
        ]
    )
    (record,) = recovered.cdrs
    assert recovered.interrupted == 1
    assert (record.state, record.cause, record.talk_ms) == (CdrState.ENDED, Cause.ENGINE_RESTART, 30_000)
    assert (record.billed_seconds, record.charge_micro) == (30, 30_000)
    assert record.recording_path == "1.wav"


def test_another_calls_milestone_is_a_proof_of_life_too() -> None:
    other = cdr("2", started_at_ms=START_MS + 15_000)
    recovered = recover([encode(CallMilestone(answered("1"), RATE)), encode(CallMilestone(other, RATE))])
    assert [record.talk_ms for record in recovered.cdrs] == [10_000, 0]


def test_a_call_that_rang_costs_nothing_and_has_no_recording() -> None:
    ringing = cdr("1", state=CdrState.RINGING, ringing_at_ms=START_MS + 1, recording_path="1.wav")
    (record,) = recover([encode(CallMilestone(ringing, RATE)), encode(ProofOfLife(START_MS + 9000))]).cdrs
    assert (record.charge_micro, record.recording_path, record.sip_status) == (0, None, 500)


def test_an_ended_call_keeps_its_end_and_its_charge() -> None:
    ended = cdr("1", state=CdrState.ENDED, ended_at_ms=START_MS + 1, cause=Cause.BUSY, charge_micro=7)
    recovered = recover([encode(CallMilestone(ended, RATE)), encode(ProofOfLife(START_MS + 9000))])
    assert recovered.interrupted == 0
    assert [(record.cause, record.charge_micro) for record in recovered.cdrs] == [(Cause.BUSY, 7)]


def test_what_the_database_has_is_not_brought_again() -> None:
    ended = cdr("1", state=CdrState.ENDED, ended_at_ms=START_MS + 1)
    assert recover([encode(CallMilestone(ended, RATE)), encode(CallStored(["1"]))]).cdrs == []


def test_a_record_of_another_kind_is_counted_and_loses_no_other() -> None:
    recovered = recover([b"\x93garbage", encode(CallMilestone(cdr("1"), None)), b""])
    assert recovered.unreadable == 2
    assert [record.id for record in recovered.cdrs] == ["1"]
