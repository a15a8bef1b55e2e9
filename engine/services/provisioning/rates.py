"""The provisioning file's rate plans."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import UNSET, UnsetType

from engine.domain.money.charging import Rate as Price
from engine.domain.money.charging import Rounding
from engine.domain.money.rate_plan import RateEntry as PlanEntry
from engine.domain.money.rate_plan import TimeWindow
from engine.services.provisioning.entries import PriceEntry, RateEntry
from engine.services.provisioning.file import micro_from_yuan
from engine.services.provisioning.rows import Loading
from engine.store.tables import Rate

_DEFAULTS: dict[str, Any] = {
    "first_increment_seconds": 60,
    "next_increment_seconds": 60,
    "minimum_seconds": 0,
    "rounding": "half_up",
    "rounded_to_micro": 1,
    "zone": "Asia/Shanghai",
}
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


async def load_rates(loading: Loading, entries: list[tuple[str, RateEntry]]) -> None:
    rows = await loading.rows(Rate, "code", (entry.code for _, entry in entries))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        row = rows.get(entry.code)
        problems = len(loading.problems)
        values = {
            "code": entry.code,
            "name": entry.name,
            "per_minute_micro": loading.amount(place, "per_minute", entry.per_minute),
            "first_increment_seconds": entry.first_increment_seconds,
            "next_increment_seconds": entry.next_increment_seconds,
            "minimum_seconds": entry.minimum_seconds,
            "connect_fee_micro": loading.amount(place, "connect_fee", entry.connect_fee),
            "rounding": entry.rounding,
            "rounded_to_micro": loading.checked(place, "rounded_to", _money_step, entry.rounded_to),
            "zone": loading.checked(place, "zone", _zone_name, entry.zone),
            "loss_allowed": entry.loss_allowed,
            "callback_legs": entry.callback_legs,
        }
        if entry.per_minute is not UNSET:
            values["others_refused"] = False
        elif entry.entries is not UNSET and entry.entries:
            # Numbers in no entry have no price: none that is free by accident.
            values |= {"others_refused": True, "per_minute_micro": 0}
        elif row is None:
            loading.problem(place, "per_minute", "is missing, and there are no entries")
        if not loading.twice(place, "code", entry.code, seen) and len(loading.problems) == problems:
            values["entries"] = _plan_entries(loading, place, entry.entries, _plan_values(row, values))
        if len(loading.problems) == problems:
            loading.write(Rate, row, values)


def _plan_values(row: Rate | None, values: dict[str, Any]) -> dict[str, Any]:
    """What holds for the whole plan once ``values`` are written."""
    there = {name: getattr(row, name) for name in _DEFAULTS} if row is not None else _DEFAULTS
    return {name: there[name] if values.get(name, UNSET) is UNSET else values[name] for name in _DEFAULTS}


def _plan_entries(
    loading: Loading, place: str, prices: list[PriceEntry] | UnsetType, plan: dict[str, Any]
) -> list[Any] | UnsetType:
    """The entries as they are stored: each with all its price in it, so that it stands for itself."""
    if isinstance(prices, UnsetType):
        return UNSET
    zone = ZoneInfo(plan["zone"])
    return [_plan_entry(loading, f"{place}.entries[{index}]", price, plan, zone) for index, price in enumerate(prices)]


def _plan_entry(loading: Loading, place: str, price: PriceEntry, plan: dict[str, Any], zone: tzinfo) -> Any:
    from_minute = loading.checked(place, "from_time", _minute_of_day, price.from_time)
    until_minute = loading.checked(place, "until_time", _minute_of_day, price.until_time)
    per_minute_micro = loading.amount(place, "per_minute", price.per_minute)
    connect_fee_micro = loading.amount(place, "connect_fee", price.connect_fee)
    if UNSET in (from_minute, until_minute, per_minute_micro, connect_fee_micro):
        return None  # a problem that has been told

    def own(name: str) -> int:
        value = getattr(price, name)
        return int(plan[name] if value is UNSET else value)

    window = None
    if price.weekdays is not UNSET or from_minute != until_minute:
        days = _WEEKDAYS if isinstance(price.weekdays, UnsetType) else price.weekdays
        window = TimeWindow(sum(1 << _WEEKDAYS.index(day) for day in set(days)), from_minute, until_minute)
    entry = PlanEntry(
        Price(
            per_minute_micro,
            own("first_increment_seconds"),
            own("next_increment_seconds"),
            own("minimum_seconds"),
            connect_fee_micro,
            Rounding(plan["rounding"]),
            plan["rounded_to_micro"],
        ),
        price.prefix,
        price.direction,
        window,
        _instant_ms(price.valid_from, zone),
        _instant_ms(price.valid_until, zone),
    )
    return msgspec.to_builtins(entry)


def _instant_ms(at: datetime | UnsetType, zone: tzinfo) -> int | None:
    """A date-time without an offset is of the plan's zone."""
    if isinstance(at, UnsetType):
        return None
    return round((at if at.tzinfo is not None else at.replace(tzinfo=zone)).timestamp() * 1000)


def _minute_of_day(text: str) -> int:
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError('is no time of day such as "08:30"')
    return int(match[1]) * 60 + int(match[2])


def _money_step(text: str) -> int:
    micro = micro_from_yuan(text)
    if micro <= 0:
        raise ValueError("is not above zero")
    return micro


def _zone_name(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError('is no time zone such as "Asia/Shanghai"') from error
    return text
