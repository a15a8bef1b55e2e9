"""From the facts of a rate plan to the plan, and from sell and buy plans to the prices of one call."""

from __future__ import annotations

from datetime import UTC
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.domain.cause import Cause
from engine.domain.facts import RateFacts
from engine.domain.money.charging import LegsCharged, Rate, Rounding
from engine.domain.money.rate_plan import RateEntry, RatePlan

UNPRICED = RatePlan((), UTC)
"""A plan by which no call has a price."""


class Prices(NamedTuple):
    sell: Rate
    buy: Rate | None


def plan_of(facts: RateFacts) -> RatePlan:
    """The plan that the facts describe. Where its zone is none that this machine knows, no call has a price by it.

    Reads the system's time zones when a plan is fed, and never while a call waits.
    """
    try:
        zone = ZoneInfo(facts.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UNPRICED
    entries = facts.entries
    if not facts.others_refused:
        entries = (*entries, RateEntry(_plain_rate(facts)))
    legs = LegsCharged.CALLEE if facts.callback_legs == LegsCharged.CALLEE else LegsCharged.BOTH
    return RatePlan(entries, zone, version=facts.version, loss_allowed=facts.loss_allowed, callback_legs=legs)


def find_prices(
    sell_plan: RatePlan, buy_plan: RatePlan | None, direction: str, called: str, at_ms: int
) -> Prices | Cause:
    """The prices of a call that begins at ``at_ms``, or why it cannot be had.

    NO_RATE where either plan has none for it; ROUTE_LOSES_MONEY where it would be sold below its cost. A sell plan that
    allows losses needs no known cost.
    """
    sell = sell_plan.rate(direction, called, at_ms)
    if sell is None:
        return Cause.NO_RATE
    if buy_plan is None:
        return Prices(sell, None)
    buy = buy_plan.rate(direction, called, at_ms)
    if sell_plan.loss_allowed:
        return Prices(sell, buy)
    if buy is None:
        return Cause.NO_RATE
    return Cause.ROUTE_LOSES_MONEY if sell.sells_below(buy) else Prices(sell, buy)


def _plain_rate(facts: RateFacts) -> Rate:
    try:
        rounding = Rounding(facts.rounding)
    except ValueError:
        rounding = Rounding.HALF_UP  # as every plan was before there was a choice
    return Rate(
        facts.per_minute_micro,
        facts.first_increment_seconds,
        facts.next_increment_seconds,
        facts.minimum_seconds,
        facts.connect_fee_micro,
        rounding,
        facts.rounded_to_micro,
    )
