"""The call machine over every state and event, and the histories that matter."""

from __future__ import annotations

import pytest

from engine.domain.call import TRANSITIONS, Call, CallPolicy, CallState
from engine.domain.cause import Cause, ReleaseSide
from engine.domain.cdr import Cdr, CdrState
from engine.domain.events import (
    Accept,
    AckMissing,
    AnswerMedia,
    CalleeAnswered,
    CalleeFailed,
    CalleeRinging,
    CallerAnswered,
    CallerCancelled,
    CallEvent,
    CallOutput,
    CancelDial,
    Confirm,
    CreditChanged,
    CreditGranted,
    CreditRefused,
    DeleteMedia,
    Dial,
    HoldCredit,
    HungUp,
    KeyPressed,
    Leg,
    MediaAnswered,
    MediaOffered,
    MediaRefused,
    MediaTimedOut,
    MinutesGranted,
    OfferMedia,
    PlatformHangUp,
    PlayWarning,
    PostCredit,
    Refuse,
    Release,
    Ring,
    SetTimer,
    StartRecording,
    TimerFired,
    TimerKind,
)
from engine.domain.lines.routing import Parties
from engine.domain.money.charging import Rate, Tariff

START = 1_800_000_000.0
RATE = Rate(per_minute_micro=120_000, first_increment_seconds=60, next_increment_seconds=60)
POLICY = CallPolicy(ring_seconds_max=60.0, duration_seconds_max=3600, slice_seconds=60, warning_seconds=10.0)

EVENTS: tuple[CallEvent, ...] = (
    CreditGranted(120_000),
    CreditRefused(),
    CreditChanged(),
    MinutesGranted(((1, 60),)),
    MediaOffered(b"offer"),
    MediaAnswered(b"answer"),
    MediaRefused(Cause.CAPACITY),
    MediaTimedOut(),
    CalleeRinging(),
    CalleeAnswered(b"sdp"),
    CalleeFailed(Cause.BUSY, 486),
    CallerAnswered(b"answer"),
    CallerAnswered(b""),
    KeyPressed(Leg.CALLER, "5", 80),
    CallerCancelled(),
    HungUp(Leg.CALLER),
    HungUp(Leg.CALLEE),
    AckMissing(),
    PlatformHangUp(Cause.HUNG_UP_BY_PLATFORM),
    *(TimerFired(kind) for kind in TimerKind),
)

TO_STATE: dict[CallState, tuple[CallEvent, ...]] = {
    CallState.AUTHORISING: (),
    CallState.OFFERING: (CreditGranted(120_000),),
    CallState.DIALLING: (CreditGranted(120_000), MediaOffered(b"o")),
    CallState.RINGING: (CreditGranted(120_000), MediaOffered(b"o"), CalleeRinging()),
    CallState.CONNECTING: (CreditGranted(120_000), MediaOffered(b"o"), CalleeRinging(), CalleeAnswered(b"s")),
    CallState.CONFIRMING: (CreditGranted(120_000), CalleeAnswered(b"callee's offer"), MediaOffered(b"o")),
    CallState.TALKING: (
        CreditGranted(120_000),
        MediaOffered(b"o"),
        CalleeRinging(),
        CalleeAnswered(b"s"),
        MediaAnswered(b"a"),
    ),
    CallState.ENDED: (CreditRefused(),),
}

EXPECTED: dict[CallState, dict[type, CallState]] = {
    CallState.AUTHORISING: {
        CreditGranted: CallState.OFFERING,
        CreditRefused: CallState.ENDED,
        CallerCancelled: CallState.ENDED,
        PlatformHangUp: CallState.ENDED,
    },
    CallState.OFFERING: {
        MediaOffered: CallState.DIALLING,
        MediaRefused: CallState.ENDED,
        CallerCancelled: CallState.ENDED,
        PlatformHangUp: CallState.ENDED,
    },
    CallState.DIALLING: {
        CalleeRinging: CallState.RINGING,
        CalleeAnswered: CallState.CONNECTING,
        CalleeFailed: CallState.ENDED,
        MediaRefused: CallState.ENDED,
        CallerCancelled: CallState.ENDED,
        PlatformHangUp: CallState.ENDED,
    },
    CallState.RINGING: {
        CalleeAnswered: CallState.CONNECTING,
        CalleeFailed: CallState.ENDED,
        MediaRefused: CallState.ENDED,
        CallerCancelled: CallState.ENDED,
        PlatformHangUp: CallState.ENDED,
    },
    CallState.CONNECTING: {
        MediaOffered: CallState.CONFIRMING,
        MediaAnswered: CallState.TALKING,
        MediaRefused: CallState.ENDED,
        CallerCancelled: CallState.ENDED,
        HungUp: CallState.ENDED,
        PlatformHangUp: CallState.ENDED,
    },
    CallState.CONFIRMING: {
        CallerAnswered: CallState.CONFIRMING,
        MediaAnswered: CallState.TALKING,
        MediaRefused: CallState.ENDED,
        CallerCancelled: CallState.ENDED,
        AckMissing: CallState.ENDED,
        HungUp: CallState.ENDED,
        PlatformHangUp: CallState.ENDED,
    },
    CallState.TALKING: {
        HungUp: CallState.ENDED,
        AckMissing: CallState.ENDED,
        MediaTimedOut: CallState.ENDED,
        PlatformHangUp: CallState.ENDED,
    },
    CallState.ENDED: {},
}


def new_call(
    *, granted: int = 120_000, rate: Rate = RATE, agent_leg: Leg = Leg.CALLER, offer: bytes = b"caller's sdp"
) -> Call:
    parties = Parties(tenant_id=1, a_number="+8613800000001", x_number="+861065500001")
    cdr = Cdr.started("call-1", parties, round(START * 1000))
    cdr.recording_path = "call-1.wav"
    return Call(cdr, tariff=Tariff(rate), policy=POLICY, agent_leg=agent_leg, offer=offer)


def in_state(state: CallState) -> Call:
    call = new_call(offer=b"" if state is CallState.CONFIRMING else b"caller's sdp")
    call.start(START)
    for event in TO_STATE[state]:
        call.receive(event, START)
    assert call.state is state
    return call


def talking(*, granted: int = 120_000, rate: Rate = RATE, agent_leg: Leg = Leg.CALLER) -> tuple[Call, list[CallOutput]]:
    call = new_call(rate=rate, agent_leg=agent_leg)
    call.start(START)
    outputs: list[CallOutput] = []
    for event in (CreditGranted(granted), *TO_STATE[CallState.TALKING][1:]):
        outputs = call.receive(event, START)
    assert call.state is CallState.TALKING
    return call, outputs


def timers(outputs: list[CallOutput]) -> dict[TimerKind, float]:
    return {output.kind: output.at - START for output in outputs if isinstance(output, SetTimer)}


@pytest.mark.parametrize("state", CallState)
@pytest.mark.parametrize("event", EVENTS, ids=repr)
def test_every_state_meets_every_event(state: CallState, event: CallEvent) -> None:
    call = in_state(state)
    outputs = call.receive(event, START + 5)
    expected = EXPECTED[state].get(type(event), state)
    if state is CallState.CONFIRMING and event == CallerAnswered(b""):
        expected = CallState.ENDED
    if isinstance(event, TimerFired):
        ends = {
            (CallState.DIALLING, TimerKind.RING),
            (CallState.RINGING, TimerKind.RING),
            (CallState.TALKING, TimerKind.CUT),
        }
        expected = CallState.ENDED if (state, event.kind) in ends else state
    assert call.state is expected
    if type(event) not in TRANSITIONS[state]:
        assert outputs == []
    if expected is CallState.ENDED and state is not CallState.ENDED:
        assert call.cdr.state is CdrState.ENDED
        assert call.cdr.cause is not None
        assert call.cdr.release_side is not None
        assert call.cdr.ended_at_ms is not None
        assert call.held_micro == 0, "nothing stays held"
        posts = [output for output in outputs if isinstance(output, PostCredit)]
        assert len(posts) == (0 if state is CallState.AUTHORISING else 1)
        assert any(isinstance(output, DeleteMedia) for output in outputs) == (
            state is not CallState.AUTHORISING and not (state is CallState.OFFERING and isinstance(event, MediaRefused))
        )
        caller_knows = isinstance(event, CallerCancelled) or event == HungUp(Leg.CALLER)
        told = any(
            isinstance(output, Refuse) or (isinstance(output, Release) and output.leg is Leg.CALLER)
            for output in outputs
        )
        assert told or caller_knows or state is CallState.CONNECTING


def test_a_call_is_authorised_offered_dialled_and_joined_in_this_order() -> None:
    call = new_call()
    assert HoldCredit(wanted_micro=120_000, least_micro=120_000) in call.start(START)
    assert call.receive(CreditGranted(120_000), START) == [OfferMedia(b"caller's sdp")]
    assert Dial(b"offer") in call.receive(MediaOffered(b"offer"), START)
    call.receive(CalleeRinging(), START + 1)
    assert call.receive(CalleeAnswered(b"callee's sdp"), START + 4) == [AnswerMedia(b"callee's sdp")]
    outputs = call.receive(MediaAnswered(b"answer"), START + 4.002)
    assert Accept(b"answer") in outputs
    assert StartRecording(START + 4.002) in outputs
    outputs = call.receive(HungUp(Leg.CALLEE), START + 34.002)
    assert Release(Leg.CALLER, Cause.NORMAL) in outputs
    assert PostCredit(held_micro=120_000, charge_micro=120_000) in outputs
    cdr = call.cdr
    assert (cdr.ringing_at_ms or 0) - cdr.started_at_ms == 1000
    assert cdr.talk_ms == 30_000
    assert (cdr.billed_seconds, cdr.release_side, cdr.cause) == (60, ReleaseSide.CALLEE, Cause.NORMAL)


def test_a_callee_that_never_answered_costs_nothing() -> None:
    call = in_state(CallState.RINGING)
    outputs = call.receive(CalleeFailed(Cause.BUSY, 486), START + 9)
    assert PostCredit(held_micro=120_000, charge_micro=0) in outputs
    assert (call.cdr.charge_micro, call.cdr.sip_status, call.cdr.recording_path) == (0, 486, None)


def test_cancel_that_meets_the_callees_answer_costs_nothing_and_frees_the_callee() -> None:
    call = in_state(CallState.CONNECTING)
    outputs = call.receive(CallerCancelled(), START + 3)
    assert Release(Leg.CALLEE, Cause.CANCELLED) in outputs
    assert (call.cdr.charge_micro, call.cdr.answered_at_ms, call.cdr.sip_status) == (0, None, 487)


def test_early_media_and_answer_at_once_connect_on_the_last_answer() -> None:
    call = in_state(CallState.DIALLING)
    call.receive(CalleeRinging(b"early"), START + 1)
    call.receive(CalleeAnswered(b"final"), START + 1)
    assert call.receive(MediaAnswered(b"early answer"), START + 1) == []
    assert Accept(b"final answer") in call.receive(MediaAnswered(b"final answer"), START + 1.01)


def test_a_200_without_sdp_after_early_media_connects_with_that() -> None:
    call = in_state(CallState.DIALLING)
    call.receive(CalleeRinging(b"early"), START + 1)
    call.receive(MediaAnswered(b"early answer"), START + 1)
    assert Accept(b"early answer") in call.receive(CalleeAnswered(b""), START + 2)


def test_a_200_without_any_sdp_ends_the_call_on_both_sides() -> None:
    call = in_state(CallState.RINGING)
    outputs = call.receive(CalleeAnswered(b""), START + 2)
    assert Release(Leg.CALLEE, Cause.INCOMPATIBLE_MEDIA) in outputs
    assert Refuse(Cause.INCOMPATIBLE_MEDIA) in outputs


def test_the_next_slice_is_held_before_the_warning_would_be_due() -> None:
    call, outputs = talking()
    assert timers(outputs) == {TimerKind.CREDIT: 47.0, TimerKind.CUT: 60.0}
    assert call.receive(TimerFired(TimerKind.CREDIT), START + 47) == [HoldCredit(120_000, 120_000)]
    outputs = call.receive(CreditGranted(120_000), START + 47)
    assert timers(outputs) == {TimerKind.CREDIT: 107.0, TimerKind.CUT: 120.0}


@pytest.mark.parametrize("agent_leg", Leg)
def test_credit_gone_in_mid_call_warns_the_agent_alone_and_cuts_to_the_millisecond(agent_leg: Leg) -> None:
    call, _ = talking(agent_leg=agent_leg)
    call.receive(TimerFired(TimerKind.CREDIT), START + 47)
    outputs = call.receive(CreditRefused(), START + 47)
    assert timers(outputs) == {TimerKind.WARNING: 50.0, TimerKind.CUT: 60.0}
    assert call.receive(TimerFired(TimerKind.WARNING), START + 50) == [PlayWarning(agent_leg)]
    outputs = call.receive(TimerFired(TimerKind.CUT), START + 60.7)
    assert {output.leg for output in outputs if isinstance(output, Release)} == set(Leg)
    assert call.cdr.talk_ms == 60_000, "a late timer gives no free talk and charges for none"
    assert (call.cdr.charge_micro, call.cdr.cause) == (120_000, Cause.CREDIT_EXHAUSTED)
    assert DeleteMedia(START + 60) in outputs


def test_a_hang_up_handled_late_is_charged_for_the_granted_time_at_most() -> None:
    call, _ = talking()
    call.receive(HungUp(Leg.CALLER), START + 60.4)
    assert (call.cdr.talk_ms, call.cdr.charge_micro) == (60_000, 120_000)


def test_topup_extends_running_call() -> None:
    call, _ = talking()
    call.receive(TimerFired(TimerKind.CREDIT), START + 47)
    call.receive(CreditRefused(), START + 47)
    call.receive(TimerFired(TimerKind.WARNING), START + 50)
    assert call.receive(CreditChanged(), START + 55) == [HoldCredit(120_000, 120_000)]
    assert call.receive(CreditChanged(), START + 55) == [], "one question at a time"
    outputs = call.receive(CreditGranted(120_000), START + 55)
    assert timers(outputs) == {TimerKind.CREDIT: 107.0, TimerKind.CUT: 120.0}


def test_call_is_not_cut_while_its_next_slice_is_on_its_way() -> None:
    """An engine that stood still, or was dead, asks for the slice when the one before is over already."""
    call, _ = talking()
    call.receive(TimerFired(TimerKind.CREDIT), START + 61)
    outputs = call.receive(TimerFired(TimerKind.CUT), START + 61)
    assert timers(outputs) == {TimerKind.CUT: 63.0}
    assert call.state is CallState.TALKING
    outputs = call.receive(CreditGranted(120_000), START + 61.01)
    assert timers(outputs) == {TimerKind.CREDIT: 107.0, TimerKind.CUT: 120.0}
    call.receive(HungUp(Leg.CALLER), START + 70)
    assert (call.cdr.talk_ms, call.cdr.charge_micro) == (70_000, 240_000)


def test_slice_that_does_not_come_is_waited_for_once() -> None:
    call, _ = talking()
    call.receive(TimerFired(TimerKind.CREDIT), START + 47)
    assert timers(call.receive(TimerFired(TimerKind.CUT), START + 60)) == {TimerKind.CUT: 62.0}
    call.receive(TimerFired(TimerKind.CUT), START + 62)
    assert (call.cdr.cause, call.cdr.talk_ms) == (Cause.CREDIT_EXHAUSTED, 60_000)


def test_slice_refused_after_the_granted_time_ends_the_call_there() -> None:
    call, _ = talking()
    call.receive(TimerFired(TimerKind.CREDIT), START + 61)
    call.receive(TimerFired(TimerKind.CUT), START + 61)
    assert timers(call.receive(CreditRefused(), START + 61.01)) == {TimerKind.WARNING: 50.0, TimerKind.CUT: 60.0}
    call.receive(TimerFired(TimerKind.CUT), START + 61.01)
    assert (call.cdr.cause, call.cdr.talk_ms) == (Cause.CREDIT_EXHAUSTED, 60_000)


def test_call_taken_up_with_less_than_it_had_asks_for_more_before_it_is_cut() -> None:
    """Others may have been quicker to hold again what the lease still has; the account may have plenty."""
    before, _ = talking()
    call = Call.resumed(before.cdr, tariff=Tariff(RATE), policy=POLICY, agent_leg=Leg.CALLER, granted_seconds=60)
    assert timers(call.resume(0)) == {TimerKind.CREDIT: -13.0, TimerKind.CUT: 0.0}
    # For the 20 s that it has talked and a slice of 60 more: two minutes, but one would do.
    assert call.receive(TimerFired(TimerKind.CREDIT), START + 20) == [HoldCredit(240_000, 120_000)]
    assert timers(call.receive(TimerFired(TimerKind.CUT), START + 20)) == {TimerKind.CUT: 22.0}
    outputs = call.receive(CreditGranted(120_000), START + 20.01)
    assert timers(outputs) == {TimerKind.CREDIT: 47.0, TimerKind.CUT: 60.0}


def test_a_partial_grant_is_the_final_unit() -> None:
    by_second = Rate(per_minute_micro=60_000, first_increment_seconds=1, next_increment_seconds=1)
    _, outputs = talking(granted=25_000, rate=by_second)
    assert timers(outputs) == {TimerKind.WARNING: 15.0, TimerKind.CUT: 25.0}


def test_a_hold_granted_after_the_end_is_given_back() -> None:
    call = in_state(CallState.AUTHORISING)
    call.receive(CallerCancelled(), START)
    assert call.receive(CreditGranted(120_000), START) == [PostCredit(120_000, 0)]


def test_the_longest_duration_is_no_matter_of_credit() -> None:
    policy = CallPolicy(ring_seconds_max=60, duration_seconds_max=60, slice_seconds=60, warning_seconds=10)
    call = Call(
        Cdr.started("call-1", Parties(tenant_id=1), round(START * 1000)),
        tariff=Tariff(RATE),
        policy=policy,
        agent_leg=Leg.CALLER,
        offer=b"caller's sdp",
    )
    call.start(START)
    outputs: list[CallOutput] = []
    for event in TO_STATE[CallState.TALKING]:
        outputs = call.receive(event, START)
    assert timers(outputs) == {TimerKind.CUT: 60.0}
    call.receive(TimerFired(TimerKind.CUT), START + 60)
    assert call.cdr.cause is Cause.DURATION_LIMIT


def test_ringing_too_long_cancels_the_callee_and_tells_the_caller() -> None:
    call = in_state(CallState.RINGING)
    outputs = call.receive(TimerFired(TimerKind.RING), START + 60)
    assert CancelDial() in outputs
    assert Refuse(Cause.NO_ANSWER) in outputs


def test_a_caller_without_an_offer_gets_the_callees_and_talks_from_his_answer_on() -> None:
    call = new_call(offer=b"")
    call.start(START)
    assert Dial(b"") in call.receive(CreditGranted(120_000), START)
    assert Ring() in call.receive(CalleeRinging(b"a preview, and no answer to anything"), START + 1)
    assert call.receive(CalleeAnswered(b"callee's offer"), START + 4) == [OfferMedia(b"callee's offer", Leg.CALLEE)]
    assert call.receive(MediaOffered(b"offer"), START + 4) == [Accept(b"offer")]
    assert call.cdr.answered_at_ms is None
    assert call.receive(CallerAnswered(b"caller's answer"), START + 5) == [AnswerMedia(b"caller's answer", Leg.CALLER)]
    assert Confirm(b"answer") in call.receive(MediaAnswered(b"answer"), START + 5)
    assert (call.state, call.cdr.answered_at_ms) == (CallState.TALKING, (START + 5) * 1000)


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (CallerAnswered(b""), Cause.INCOMPATIBLE_MEDIA),
        (MediaRefused(Cause.INCOMPATIBLE_MEDIA), Cause.INCOMPATIBLE_MEDIA),
        (AckMissing(), Cause.ACK_MISSING),
    ],
)
def test_an_answer_that_is_missing_or_bad_ends_both_legs_and_costs_nothing(event: CallEvent, cause: Cause) -> None:
    call = in_state(CallState.CONFIRMING)
    outputs = call.receive(event, START + 9)
    assert {output.leg for output in outputs if isinstance(output, Release)} == set(Leg)
    assert PostCredit(120_000, 0) in outputs
    assert (call.cdr.cause, call.cdr.answered_at_ms, call.cdr.talk_ms) == (cause, None, 0)


def test_a_callees_offer_that_is_refused_leaves_no_media_to_delete() -> None:
    call = new_call(offer=b"")
    call.start(START)
    call.receive(CreditGranted(120_000), START)
    call.receive(CalleeAnswered(b"callee's offer"), START + 4)
    outputs = call.receive(MediaRefused(Cause.CAPACITY), START + 4)
    assert not any(isinstance(output, DeleteMedia) for output in outputs)
    assert Refuse(Cause.CAPACITY) in outputs
