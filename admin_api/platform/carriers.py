"""Carriers and what calls go over: trunks, rates and lines."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from litestar import Controller, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from admin_api.common.context import Context, GivenContext, GivenScope, found
from admin_api.common.errors import Refused
from admin_api.common.fields import (
    AmountMicro,
    Code,
    Count,
    IncrementSeconds,
    MinimumSeconds,
    Name,
    RowId,
    Status,
    apply,
    checked,
    given,
)
from admin_api.common.paging import PAGE_DEFAULT, Cursor, Id, Limit, Page, id_cursor, page
from admin_api.common.views import CarrierView, LineView, RateView, TrunkView, View, view_of
from engine.domain.permission import Permission
from engine.services.provisioning_file import (
    GATEWAYS_MAX,
    DialPrefix,
    GatewayEntry,
    GatewayPort,
    LimitOrNone,
    Redirects,
    StripDigits,
    Transport,
    TrunkSrtp,
    checked_gateway_host,
    checked_source_address,
)
from engine.store.listing import read_one, read_page
from engine.store.scope import Scope
from engine.store.tables import Carrier, Line, Rate, Table, Trunk

SourceAddresses = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(min_length=1, max_length=100)]
Host = Annotated[str, Meta(max_length=64)]
NumberFormat = Literal["e164", "plain_86", "national"]
CallerDisplay = Literal["from", "pai", "both"]
Gateways = Annotated[list[GatewayEntry], Meta(max_length=GATEWAYS_MAX)]

_Row = TypeVar("_Row", bound=Table)


async def _list(
    context: Context, scope: Scope, table: type[_Row], shape: type[View], cursor: str | None, limit: int
) -> Page[View]:
    async with context.reading() as session:
        rows = await read_page(session, scope, table, after=id_cursor(cursor), limit=limit)
        return page(rows, limit, partial(view_of, shape=shape), lambda row: str(row.id))


async def _create(context: Context, scope: Scope, row: Table, shape: type[View]) -> View:
    async with context.writing() as session:
        session.add(row)
        await session.flush()
        if isinstance(row, Line):
            await _check_line(session, scope, row)
        return view_of(row, shape)


async def _patch(
    context: Context, scope: Scope, table: type[_Row], row_id: int, values: dict[str, Any], shape: type[View]
) -> View:
    async with context.writing() as session:
        row = found(await read_one(session, scope, table, row_id), table.__tablename__.removesuffix("s"))
        apply(row, values)
        await session.flush()
        if isinstance(row, Line):
            await _check_line(session, scope, row)
        return view_of(row, shape)


async def _check_line(session: Any, scope: Scope, line: Line) -> None:
    trunk = await read_one(session, scope, Trunk, line.trunk_id)
    if trunk is None or trunk.carrier_id != line.carrier_id:
        raise Refused("trunk_id", "is no trunk of the line's carrier")


class NewCarrier(msgspec.Struct, forbid_unknown_fields=True):
    code: Code
    name: Name


class CarrierPatch(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET


class CarrierController(Controller):
    path = "/carriers"
    tags = ("lines",)

    @get("/", opt={"permission": Permission.CARRIERS_READ}, summary="Carriers")
    async def list_carriers(
        self, context: GivenContext, audience: GivenScope, cursor: Cursor = None, limit: Limit = PAGE_DEFAULT
    ) -> Page[CarrierView]:
        return await _list(context, audience, Carrier, CarrierView, cursor, limit)

    @post("/", opt={"permission": Permission.CARRIERS_WRITE}, summary="Make a carrier")
    async def create_carrier(
        self, context: GivenContext, audience: GivenScope, data: JSONBody[NewCarrier]
    ) -> CarrierView:
        return await _create(context, audience, Carrier(**given(data)), CarrierView)

    @patch("/{carrier_id:int}", opt={"permission": Permission.CARRIERS_WRITE}, summary="Change a carrier")
    async def patch_carrier(
        self, context: GivenContext, audience: GivenScope, carrier_id: Id, data: JSONBody[CarrierPatch]
    ) -> CarrierView:
        return await _patch(context, audience, Carrier, carrier_id, given(data), CarrierView)


class NewTrunk(msgspec.Struct, forbid_unknown_fields=True):
    """``source_addresses``: CIDR blocks, addresses or ``address:port`` that the carrier's requests come from."""

    carrier_id: RowId
    code: Code
    name: Name
    host: Host
    source_addresses: SourceAddresses
    port: GatewayPort = 5060
    transport: Transport = "udp"
    number_format: NumberFormat = "e164"
    calls_max: Count = 1000
    calls_per_second_max: LimitOrNone = 0
    gateways: Gateways = []
    caller_display: CallerDisplay = "from"
    dial_strip_digits: StripDigits = 0
    dial_prefix: DialPrefix = ""
    srtp: TrunkSrtp = "off"
    redirects_max: Redirects = 0


class TrunkPatch(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    host: Host | UnsetType = UNSET
    port: GatewayPort | UnsetType = UNSET
    transport: Transport | UnsetType = UNSET
    source_addresses: SourceAddresses | UnsetType = UNSET
    number_format: NumberFormat | UnsetType = UNSET
    calls_max: Count | UnsetType = UNSET
    calls_per_second_max: LimitOrNone | UnsetType = UNSET
    gateways: Gateways | UnsetType = UNSET
    caller_display: CallerDisplay | UnsetType = UNSET
    dial_strip_digits: StripDigits | UnsetType = UNSET
    dial_prefix: DialPrefix | UnsetType = UNSET
    srtp: TrunkSrtp | UnsetType = UNSET
    redirects_max: Redirects | UnsetType = UNSET
    status: Status | UnsetType = UNSET


def _trunk_values(data: NewTrunk | TrunkPatch) -> dict[str, Any]:
    values = given(data)
    if "host" in values:
        values["host"] = checked(checked_gateway_host, values["host"], "host")
    if "gateways" in values:
        values["gateways"] = [
            {
                **msgspec.structs.asdict(gateway),
                "host": checked(checked_gateway_host, gateway.host, f"gateways[{index}].host"),
            }
            for index, gateway in enumerate(values["gateways"])
        ]
    if "source_addresses" in values:
        values["source_addresses"] = [
            checked(checked_source_address, source, "source_addresses") for source in values["source_addresses"]
        ]
    return values


class TrunkController(Controller):
    path = "/trunks"
    tags = ("lines",)

    @get("/", opt={"permission": Permission.CARRIERS_READ}, summary="Trunks")
    async def list_trunks(
        self, context: GivenContext, audience: GivenScope, cursor: Cursor = None, limit: Limit = PAGE_DEFAULT
    ) -> Page[TrunkView]:
        return await _list(context, audience, Trunk, TrunkView, cursor, limit)

    @post("/", opt={"permission": Permission.CARRIERS_WRITE}, summary="Make a trunk to a carrier")
    async def create_trunk(self, context: GivenContext, audience: GivenScope, data: JSONBody[NewTrunk]) -> TrunkView:
        return await _create(context, audience, Trunk(**_trunk_values(data)), TrunkView)

    @patch("/{trunk_id:int}", opt={"permission": Permission.CARRIERS_WRITE}, summary="Change or suspend a trunk")
    async def patch_trunk(
        self, context: GivenContext, audience: GivenScope, trunk_id: Id, data: JSONBody[TrunkPatch]
    ) -> TrunkView:
        return await _patch(context, audience, Trunk, trunk_id, _trunk_values(data), TrunkView)


class NewRate(msgspec.Struct, forbid_unknown_fields=True):
    code: Code
    name: Name
    per_minute_micro: AmountMicro
    first_increment_seconds: IncrementSeconds = 60
    next_increment_seconds: IncrementSeconds = 60
    minimum_seconds: MinimumSeconds = 0


class RatePatch(msgspec.Struct, forbid_unknown_fields=True):
    """Calls that run keep the rate that they began with."""

    name: Name | UnsetType = UNSET
    per_minute_micro: AmountMicro | UnsetType = UNSET
    first_increment_seconds: IncrementSeconds | UnsetType = UNSET
    next_increment_seconds: IncrementSeconds | UnsetType = UNSET
    minimum_seconds: MinimumSeconds | UnsetType = UNSET


class RateController(Controller):
    path = "/rates"
    tags = ("lines",)

    @get("/", opt={"permission": Permission.RATES_READ}, summary="Rates")
    async def list_rates(
        self, context: GivenContext, audience: GivenScope, cursor: Cursor = None, limit: Limit = PAGE_DEFAULT
    ) -> Page[RateView]:
        return await _list(context, audience, Rate, RateView, cursor, limit)

    @post("/", opt={"permission": Permission.RATES_WRITE}, summary="Make a rate")
    async def create_rate(self, context: GivenContext, audience: GivenScope, data: JSONBody[NewRate]) -> RateView:
        return await _create(context, audience, Rate(**given(data)), RateView)

    @patch("/{rate_id:int}", opt={"permission": Permission.RATES_WRITE}, summary="Change a rate")
    async def patch_rate(
        self, context: GivenContext, audience: GivenScope, rate_id: Id, data: JSONBody[RatePatch]
    ) -> RateView:
        return await _patch(context, audience, Rate, rate_id, given(data), RateView)


class NewLine(msgspec.Struct, forbid_unknown_fields=True):
    carrier_id: RowId
    trunk_id: RowId
    rate_id: RowId
    code: Code
    name: Name
    recording: bool = True


class LinePatch(msgspec.Struct, forbid_unknown_fields=True):
    trunk_id: RowId | UnsetType = UNSET
    rate_id: RowId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    recording: bool | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class LineController(Controller):
    path = "/lines"
    tags = ("lines",)

    @get("/", opt={"permission": Permission.LINES_READ}, summary="Lines")
    async def list_lines(
        self, context: GivenContext, audience: GivenScope, cursor: Cursor = None, limit: Limit = PAGE_DEFAULT
    ) -> Page[LineView]:
        return await _list(context, audience, Line, LineView, cursor, limit)

    @post("/", opt={"permission": Permission.LINES_WRITE}, summary="Make a line")
    async def create_line(self, context: GivenContext, audience: GivenScope, data: JSONBody[NewLine]) -> LineView:
        return await _create(context, audience, Line(**given(data)), LineView)

    @patch("/{line_id:int}", opt={"permission": Permission.LINES_WRITE}, summary="Change or suspend a line")
    async def patch_line(
        self, context: GivenContext, audience: GivenScope, line_id: Id, data: JSONBody[LinePatch]
    ) -> LineView:
        return await _patch(context, audience, Line, line_id, given(data), LineView)
