"""Trunks: the SIP connections to carriers, and how we register there."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, delete, get, patch, post, put
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy.ext.asyncio import AsyncSession

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import Code, Count, Name, RowId, Status, apply, checked, given
from admin_api.common.paging import GivenPage, Id, Page, QueryId, Sorts, equal, page
from engine.carriers.schemas import MASK
from engine.domain.people.permission import Permission
from engine.services.access.credentials import PASSWORD_LENGTH_MAX, sip_ha1
from engine.services.lines.secrets import seal_registration
from engine.services.provisioning.entries import (
    GATEWAYS_MAX,
    DialPrefix,
    GatewayEntry,
    GatewayPort,
    LimitOrNone,
    Redirects,
    StripDigits,
    Transport,
    TrunkSrtp,
)
from engine.services.provisioning.file import checked_gateway_host, checked_source_address
from engine.store.listing import read_one, read_page
from engine.store.scope import Scope
from engine.store.tables import Trunk

EXPIRES_SECONDS_DEFAULT = 600

SourceAddresses = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(min_length=1, max_length=100)]
Host = Annotated[str, Meta(max_length=64)]
NumberFormat = Literal["e164", "plain_86", "national"]
CallerDisplay = Literal["from", "pai", "both"]
Gateways = Annotated[list[GatewayEntry], Meta(max_length=GATEWAYS_MAX)]
# Visible characters: it stands in a header, within quotes.
CarrierText = Annotated[str, Meta(pattern=r'^[^\x00-\x1f\x7f"\\]+\Z', max_length=64)]


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
    buy_rate_id: RowId | None = None
    """The plan by which the carrier charges for calls over the trunk."""


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
    buy_rate_id: RowId | UnsetType | None = UNSET
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


class NewRegistration(msgspec.Struct, forbid_unknown_fields=True):
    """Where we register to the carrier, so that its calls find us. ``realm`` is the carrier's; with it the password is
    kept as a hash alone, sealed, and shown to nobody."""

    username: CarrierText
    password: Annotated[str, Meta(min_length=1, max_length=PASSWORD_LENGTH_MAX)]
    realm: CarrierText
    expires_seconds: Annotated[int, Meta(ge=60, le=86_400)] = 600

    def __repr__(self) -> str:
        return f"NewRegistration({self.username!r}, …)"


class RegistrationView(msgspec.Struct):
    """``password`` is a mask."""

    username: str
    realm: str
    expires_seconds: int
    password: str


class TrunkView(msgspec.Struct):
    id: int
    carrier_id: int
    code: str
    name: str
    host: str
    port: int
    transport: str
    source_addresses: list[str]
    number_format: str
    calls_max: int
    calls_per_second_max: int
    gateways: list[dict[str, Any]]
    caller_display: str
    dial_strip_digits: int
    dial_prefix: str
    srtp: str
    redirects_max: int
    buy_rate_id: int | None
    status: str
    registration: RegistrationView | None


def _trunk_view(row: Trunk) -> TrunkView:
    values = {name: getattr(row, name) for name in TrunkView.__struct_fields__ if name != "registration"}
    there = row.registration
    shown = None
    if there is not None:
        expires_seconds = there.get("expires_seconds", EXPIRES_SECONDS_DEFAULT)
        shown = RegistrationView(there["username"], there["realm"], expires_seconds, MASK)
    return TrunkView(**values, registration=shown)


_SORTS = Sorts("id", "id", id=Trunk.id, code=Trunk.code, name=Trunk.name)
_READ, _WRITE = {"permission": Permission.CARRIERS_READ}, {"permission": Permission.CARRIERS_WRITE}


class TrunkController(Controller):
    path = "/trunks"
    tags = ("lines",)

    @get("/", opt=_READ, dependencies=_SORTS.given, summary="Trunks")
    async def list_trunks(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        carrier_id: QueryId = None,
        trunk_status: Annotated[Status | None, QueryParameter(name="status")] = None,
    ) -> Page[TrunkView]:
        conditions = equal((Trunk.carrier_id, carrier_id), (Trunk.status, trunk_status))
        async with context.reading() as session:
            return page(await read_page(session, audience, Trunk, *conditions, wanted=wanted), wanted, _trunk_view)

    @get("/{trunk_id:int}", opt=_READ, summary="One trunk")
    async def get_trunk(self, context: GivenContext, audience: GivenScope, trunk_id: Id) -> TrunkView:
        async with context.reading() as session:
            return _trunk_view(await _trunk(session, audience, trunk_id))

    @post("/", opt=_WRITE, summary="Make a trunk to a carrier")
    async def create_trunk(self, context: GivenContext, data: JSONBody[NewTrunk]) -> TrunkView:
        row = Trunk(**_trunk_values(data))
        async with context.writing() as session:
            session.add(row)
            await session.flush()
            return _trunk_view(row)

    @patch("/{trunk_id:int}", opt=_WRITE, summary="Change or suspend a trunk")
    async def patch_trunk(
        self, context: GivenContext, audience: GivenScope, trunk_id: Id, data: JSONBody[TrunkPatch]
    ) -> TrunkView:
        values = _trunk_values(data)
        async with context.writing() as session:
            row = await _trunk(session, audience, trunk_id)
            apply(row, values)
            await session.flush()
            return _trunk_view(row)

    @put("/{trunk_id:int}/registration", opt=_WRITE, summary="Register a trunk to its carrier")
    async def put_registration(
        self, context: GivenContext, audience: GivenScope, trunk_id: Id, data: JSONBody[NewRegistration]
    ) -> TrunkView:
        async with context.writing() as session:
            row = await _trunk(session, audience, trunk_id)
            ha1_md5, ha1_sha256 = sip_ha1(data.username, data.realm, data.password)
            row.registration = seal_registration(
                context.keyring,
                row.code,
                {
                    "username": data.username,
                    "realm": data.realm,
                    "expires_seconds": data.expires_seconds,
                    "ha1_md5": ha1_md5,
                    "ha1_sha256": ha1_sha256,
                },
            )
            await session.flush()
            return _trunk_view(row)

    @delete(
        "/{trunk_id:int}/registration",
        opt=_WRITE,
        status_code=200,
        summary="Register a trunk to its carrier no more",
    )
    async def delete_registration(self, context: GivenContext, audience: GivenScope, trunk_id: Id) -> TrunkView:
        async with context.writing() as session:
            row = await _trunk(session, audience, trunk_id)
            row.registration = None
            await session.flush()
            return _trunk_view(row)


async def _trunk(session: AsyncSession, scope: Scope, trunk_id: int) -> Trunk:
    return found(await read_one(session, scope, Trunk, trunk_id), "trunk")
