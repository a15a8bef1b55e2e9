"""A call on package minutes: they go first, money goes on to the second, and nothing of either is lost."""

import msgspec
import pytest

from engine.domain.call import Call, CallPolicy, CallState
from engine.domain.cause import Cause
from engine.domain.cdr import Cdr
from engine.domain.events import (
    CalleeAnswered,
    CallerCancelled,
    CallEvent,
    CallOutput,
    CreditChanged,
    CreditGranted,
    CreditRefused,
    HoldCredit,
    HoldMinutes,
    HungUp,
    Leg,
    MediaAnswered,
    MediaOffered,
    Milestone,
    MinutesGranted,
    PostCredit,
    PostMinutes,
    SetTimer,
    TimerFired,
    TimerKind,
)
from engine.domain.lines.routing import Parties
from engine.domain.money.charging import Rate, Tariff

START = 1_800_000_000.0
BY_SECOND = Rate(60_000, 1, 1, connect_fee_micro=5_000)
BY_MINUTE = Rate(60_000, 60, 60)
POLICY = CallPolicy(ring_seconds_max=60.0, duration_seconds_max=3600, slice_seconds=60, warning_seconds=10.0)
ANSWER: tuple[CallEvent, ...] = (MediaOffered(b"o"), CalleeAnswered(b"s"), MediaAnswered(b"a"))


def new_call(rate: Rate = BY_SECOND) -> tuple[Call, list[CallOutput]]:
    call = Call(
        Cdr.started("call-1", Parties(tenant_id=1), round(START * 1000)),
        tariff=Tariff(rate, buy=Rate(30_000, 60, 60), buckets=(7, 8)),
        policy=POLICY,
        agent_leg=Leg.CALLER,
        offer=b"caller's sdp",
    )
    return call, call.start(START)


def talking(*grants: CallEvent, rate: Rate = BY_SECOND) -> tuple[Call, list[CallOutput]]:
    call, outputs = new_call(rate)
    for event in (*grants, *ANSWER):
        outputs = call.receive(event, START)
    assert call.state is CallState.TALKING
    return call, outputs


def cut_at(outputs: list[CallOutput]) -> float:
    return (
        next(output.at for output in outputs if isinstance(output, SetTimer) and output.kind is TimerKind.CUT) - START
    )


def test_minutes_are_asked_for_before_money() -> None:
    call, outputs = new_call()
    assert outputs == [Milestone(), HoldMinutes((7, 8), 60)]
    assert call.receive(MinutesGranted(((7, 60),)), START) == [HoldCredit(0, 0)], "no money beside them"


def test_a_call_that_crosses_from_minutes_to_money_is_right_to_the_second() -> None:
    call, _ = new_call()
    # 20 seconds of one bucket, 15 of the next, and money for the other 25 of the slice: fee and 25 seconds.
    assert call.receive(MinutesGranted(((7, 20), (8, 15))), START) == [HoldCredit(30_000, 0)]
    call, outputs = talking(MinutesGranted(((7, 20), (8, 15))), CreditGranted(30_000))
    assert cut_at(outputs) == 60
    outputs = call.receive(HungUp(Leg.CALLER), START + 36)
    cdr = call.cdr
    assert (cdr.billed_seconds, cdr.package_seconds, cdr.charge_micro, cdr.cost_micro) == (36, 35, 6_000, 30_000)
    assert PostCredit(30_000, 6_000) in outputs
    assert PostMinutes(((7, 20), (8, 15)), ((7, 20), (8, 15))) in outputs


def test_a_call_within_its_minutes_costs_nothing_and_gives_the_rest_back() -> None:
    call, _ = talking(MinutesGranted(((7, 60),)), CreditGranted(0))
    outputs = call.receive(HungUp(Leg.CALLEE), START + 12.001)
    assert (call.cdr.package_seconds, call.cdr.charge_micro, call.cdr.minutes_used) == (13, 0, ((7, 13),))
    assert PostMinutes(((7, 60),), ((7, 13),)) in outputs
    assert not any(isinstance(output, PostCredit) for output in outputs)


def test_the_next_slice_is_of_minutes_too_and_the_journal_knows() -> None:
    call, _ = talking(MinutesGranted(((7, 60),)), CreditGranted(0))
    assert call.receive(TimerFired(TimerKind.CREDIT), START + 47) == [HoldMinutes((7, 8), 60)]
    assert call.receive(MinutesGranted(((7, 10), (8, 50))), START + 47) == [Milestone(), HoldCredit(0, 0)]
    assert cut_at(call.receive(CreditGranted(0), START + 47)) == 120


def test_the_last_minutes_without_money_are_the_final_unit() -> None:
    call, _ = new_call()
    assert call.receive(MinutesGranted(((7, 35),)), START) == [HoldCredit(30_000, 0)], "any money will do"
    call, outputs = talking(MinutesGranted(((7, 35),)), CreditGranted(0))
    assert cut_at(outputs) == 35
    outputs = call.receive(TimerFired(TimerKind.CUT), START + 35)
    assert (call.cdr.cause, call.cdr.package_seconds, call.cdr.charge_micro) == (Cause.CREDIT_EXHAUSTED, 35, 0)


def test_minutes_shorter_than_an_increment_need_money_for_its_rest() -> None:
    call, _ = new_call(BY_MINUTE)
    assert call.receive(MinutesGranted(((7, 35),)), START) == [HoldCredit(25_000, 25_000)]
    outputs = call.receive(CreditRefused(), START)
    assert PostMinutes(((7, 35),), ()) in outputs, "a call that cannot begin gives its minutes back"
    assert call.cdr.cause is Cause.NO_CREDIT


def test_a_topup_of_money_extends_a_call_that_ends_with_its_minutes() -> None:
    call, _ = talking(MinutesGranted(((7, 35),)), CreditGranted(0))
    assert call.receive(CreditChanged(), START + 30) == [HoldMinutes((7, 8), 60)]
    assert call.receive(MinutesGranted(()), START + 30)[-1] == HoldCredit(65_000, 6_000)
    assert cut_at(call.receive(CreditGranted(65_000), START + 30)) == 95


def test_minutes_granted_after_the_end_are_given_back() -> None:
    call, _ = new_call()
    call.receive(CallerCancelled(), START)
    assert call.receive(MinutesGranted(((7, 60),)), START) == [PostMinutes(((7, 60),), ())]


@pytest.mark.parametrize("talked", [1, 34, 35, 36, 59])
def test_a_tariff_from_the_journal_charges_as_the_call_would_have(talked: int) -> None:
    call, _ = talking(MinutesGranted(((7, 20), (8, 15))), CreditGranted(30_000))
    tariff = Tariff(BY_SECOND, Rate(30_000, 60, 60), (7, 8), {7: 20, 8: 15})
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(tariff), type=Tariff)
    call.receive(HungUp(Leg.CALLER), START + talked)
    charge = kept.charge(talked * 1000)
    assert (charge.charge_micro, charge.by_bucket) == (call.cdr.charge_micro, call.cdr.minutes_used)
