"""Rate plans: prices by prefix, direction and time; each change is a version, and calls that run keep theirs."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from litestar import Controller, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.errors import Refused
from admin_api.common.fields import AmountMicro, Code, IncrementSeconds, MinimumSeconds, Name, TimeMs, apply, given
from admin_api.common.paging import GivenPage, Id, Page, Sorts
from admin_api.common.rows import list_rows
from admin_api.common.views import view_of
from engine.domain.money.rate_plan import ALL_WEEKDAYS, MINUTES_OF_DAY
from engine.domain.people.permission import Permission
from engine.store.listing import read_one
from engine.store.tables import Rate

ENTRIES_MAX = 5000
"""A plan of one country's prefixes; all of a plan is in one body of 1 MiB."""

Rounding = Literal["half_up", "up", "down"]
RoundedTo = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Minute = Annotated[int, Meta(ge=0, lt=MINUTES_OF_DAY)]


class Price(msgspec.Struct, forbid_unknown_fields=True):
    """``rounded_to_micro``: 10,000 is a fen."""

    per_minute_micro: AmountMicro
    first_increment_seconds: IncrementSeconds = 60
    next_increment_seconds: IncrementSeconds = 60
    minimum_seconds: MinimumSeconds = 0
    connect_fee_micro: AmountMicro = 0
    rounding: Rounding = "half_up"
    rounded_to_micro: RoundedTo = 1


class Window(msgspec.Struct, forbid_unknown_fields=True):
    """In the plan's zone. ``weekdays`` has a bit for each day, Monday's the lowest; equal minutes are the whole day."""

    weekdays: Annotated[int, Meta(ge=1, le=ALL_WEEKDAYS)] = ALL_WEEKDAYS
    from_minute: Minute = 0
    until_minute: Minute = 0


class PlanEntry(msgspec.Struct, forbid_unknown_fields=True):
    """Of the entries that hold for a call the longest ``prefix`` (E.164 without +) wins, of several the first."""

    rate: Price
    prefix: Annotated[str, Meta(pattern=r"^[0-9]{0,15}\Z")] = ""
    direction: Literal["both", "a_to_b", "b_to_a"] = "both"
    window: Window | None = None
    valid_from_ms: TimeMs | None = None
    valid_until_ms: TimeMs | None = None


Entries = Annotated[list[PlanEntry], Meta(max_length=ENTRIES_MAX)]
Zone = Annotated[str, Meta(min_length=1, max_length=64)]


CallbackLegs = Annotated[
    Literal["both", "callee"],
    Meta(description="What is charged of a callback call: both legs by their own numbers, or the customer's alone."),
]


class NewRate(msgspec.Struct, forbid_unknown_fields=True):
    """The plain price is of numbers in no entry; with ``others_refused`` such calls are refused instead."""

    code: Code
    name: Name
    per_minute_micro: AmountMicro
    first_increment_seconds: IncrementSeconds = 60
    next_increment_seconds: IncrementSeconds = 60
    minimum_seconds: MinimumSeconds = 0
    connect_fee_micro: AmountMicro = 0
    rounding: Rounding = "half_up"
    rounded_to_micro: RoundedTo = 1
    zone: Zone = "Asia/Shanghai"
    entries: Entries = []
    others_refused: bool = False
    loss_allowed: bool = False
    callback_legs: CallbackLegs = "both"


class RatePatch(msgspec.Struct, forbid_unknown_fields=True):
    """Calls that run keep the rate that they began with. ``entries`` replaces all of them."""

    name: Name | UnsetType = UNSET
    per_minute_micro: AmountMicro | UnsetType = UNSET
    first_increment_seconds: IncrementSeconds | UnsetType = UNSET
    next_increment_seconds: IncrementSeconds | UnsetType = UNSET
    minimum_seconds: MinimumSeconds | UnsetType = UNSET
    connect_fee_micro: AmountMicro | UnsetType = UNSET
    rounding: Rounding | UnsetType = UNSET
    rounded_to_micro: RoundedTo | UnsetType = UNSET
    zone: Zone | UnsetType = UNSET
    entries: Entries | UnsetType = UNSET
    others_refused: bool | UnsetType = UNSET
    loss_allowed: bool | UnsetType = UNSET
    callback_legs: CallbackLegs | UnsetType = UNSET


class RateView(msgspec.Struct):
    id: int
    code: str
    name: str
    per_minute_micro: int
    first_increment_seconds: int
    next_increment_seconds: int
    minimum_seconds: int
    connect_fee_micro: int
    rounding: str
    rounded_to_micro: int
    zone: str
    entries: list[dict[str, Any]]
    others_refused: bool
    loss_allowed: bool
    callback_legs: str
    version: int


def _values(data: NewRate | RatePatch) -> dict[str, Any]:
    values = given(data)
    if "entries" in values:
        values["entries"] = msgspec.to_builtins(values["entries"])
    if "zone" in values:
        try:
            ZoneInfo(values["zone"])
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise Refused("zone", "is no time zone") from error
    return values


_SORTS = Sorts("id", "id", id=Rate.id, code=Rate.code, name=Rate.name, per_minute_micro=Rate.per_minute_micro)


class RateController(Controller):
    path = "/rates"
    tags = ("lines",)

    @get("/", opt={"permission": Permission.RATES_READ}, dependencies=_SORTS.given, summary="Rate plans")
    async def list_rates(self, context: GivenContext, audience: GivenScope, wanted: GivenPage) -> Page[RateView]:
        return await list_rows(context, audience, Rate, RateView, wanted)

    @post("/", opt={"permission": Permission.RATES_WRITE}, summary="Make a rate plan")
    async def create_rate(self, context: GivenContext, data: JSONBody[NewRate]) -> RateView:
        rate = Rate(**_values(data))
        async with context.writing() as session:
            session.add(rate)
            await session.flush()
            return view_of(rate, RateView)

    @patch("/{rate_id:int}", opt={"permission": Permission.RATES_WRITE}, summary="Change a rate plan: a new version")
    async def patch_rate(
        self, context: GivenContext, audience: GivenScope, rate_id: Id, data: JSONBody[RatePatch]
    ) -> RateView:
        values = _values(data)
        async with context.writing() as session:
            rate = found(await read_one(session, audience, Rate, rate_id), "rate")
            apply(rate, values)
            await session.flush()
            return view_of(rate, RateView)
