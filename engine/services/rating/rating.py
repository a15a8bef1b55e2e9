"""Prices a finished call by rate plans: a carrier's CDR that is pushed to us, or one of ours once more.

It is the engine's own arithmetic (``Tariff.charge``), so that a call costs the same whoever carried it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.domain.cause import Cause
from engine.domain.lines.routing import Direction
from engine.domain.money.charging import Charge, FirstLeg, LegsCharged, Rate, Tariff, callback_charge
from engine.domain.money.rate_plan import RatePlan

_PACKAGE = 0
"""Stands for whatever buckets the call had: which they were makes no difference to its price."""


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """What of a call decides its price. Times are milliseconds, numbers E.164 with ``+``."""

    direction: Direction
    called_number: str
    started_at_ms: int
    talk_ms: int
    package_seconds: int = 0
    """What package minutes have paid for already."""
    first_leg_ms: int | None = None
    """Of a callback call: how long the agent's leg was up, which was dialled first."""
    agent_number: str = ""
    """Of a callback call."""


def rate_call(sell: RatePlan, buy: RatePlan | None, call: FinishedCall) -> Charge | Cause:
    """The call's charge and cost by these plans, or NO_RATE where it has no price in the first.

    A call that was had is charged even where it loses money: that is asked before a call, and not after it. Minutes
    that it has used stay used, so that at least these seconds are billed.
    """
    charge = charge_of(sell, buy, call, {_PACKAGE: call.package_seconds})
    if isinstance(charge, Cause):
        return charge
    return Charge(
        billed_seconds=max(charge.billed_seconds, call.package_seconds),
        package_seconds=call.package_seconds,
        charge_micro=charge.charge_micro,
        cost_micro=charge.cost_micro,
    )


def charge_of(sell: RatePlan, buy: RatePlan | None, call: FinishedCall, minutes: Mapping[int, int]) -> Charge | Cause:
    """As ``rate_call``, where ``minutes``, seconds by bucket in the order of use, may be used and need not."""
    rate = sell.rate(call.direction, call.called_number, call.started_at_ms)
    if rate is None:
        return Cause.NO_RATE
    cost = None if buy is None else buy.rate(call.direction, call.called_number, call.started_at_ms)
    tariff = Tariff(rate, cost, tuple(minutes), dict(minutes))
    if call.first_leg_ms is None:
        return tariff.charge(call.talk_ms)
    first = _first_leg_rate(sell, call)
    if first is None and sell.callback_legs is LegsCharged.BOTH:
        return Cause.NO_RATE
    first_cost = None if buy is None else _first_leg_rate(buy, call)
    if buy is not None and first_cost is None and buy.callback_legs is LegsCharged.BOTH:
        tariff.buy = None  # half of a cost is none
    return callback_charge(tariff, call.talk_ms, FirstLeg(call.first_leg_ms, first, first_cost))


def _first_leg_rate(plan: RatePlan, call: FinishedCall) -> Rate | None:
    if plan.callback_legs is not LegsCharged.BOTH:
        return None
    return plan.rate(Direction.B_TO_A, call.agent_number, call.started_at_ms)
