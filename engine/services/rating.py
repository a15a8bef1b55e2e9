"""Prices a finished call by rate plans: a carrier's CDR that is pushed to us, or one of ours once more.

It is the engine's own arithmetic (``Tariff.charge``), so that a call costs the same whoever carried it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.domain.cause import Cause
from engine.domain.charging import Charge, Tariff
from engine.domain.rate_plan import RatePlan
from engine.domain.routing import Direction
from engine.domain.tariffs import UNPRICED

_PACKAGE = 0
"""Stands for whatever buckets the call had: which they were makes no difference to its price."""


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """What of a call decides its price. Times are milliseconds, numbers E.164 with ``+``."""

    rate_id: int
    buy_rate_id: int | None
    direction: Direction
    called_number: str
    started_at_ms: int
    talk_ms: int
    package_seconds: int = 0
    """What package minutes have paid for already."""


def rate_call(plans: Mapping[int, RatePlan], call: FinishedCall) -> Charge | Cause:
    """The call's charge and cost by ``plans`` (by id), or NO_RATE where it has no price in them.

    A call that was had is charged even where it loses money: that is asked before a call, and not after it. Minutes
    that it has used stay used, so that at least these seconds are billed.
    """
    rate = plans.get(call.rate_id, UNPRICED).rate(call.direction, call.called_number, call.started_at_ms)
    if rate is None:
        return Cause.NO_RATE
    buy = None
    if call.buy_rate_id is not None:
        buy = plans.get(call.buy_rate_id, UNPRICED).rate(call.direction, call.called_number, call.started_at_ms)
    charge = Tariff(rate, buy, (_PACKAGE,), {_PACKAGE: call.package_seconds}).charge(call.talk_ms)
    return Charge(
        billed_seconds=max(charge.billed_seconds, call.package_seconds),
        package_seconds=call.package_seconds,
        charge_micro=charge.charge_micro,
        cost_micro=charge.cost_micro,
    )
