"""Carriers: their settings by schema, whether they answer, and who may use them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, delete, get, patch, post, put
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from admin_api.common.context import Context, GivenContext, GivenScope, found
from admin_api.common.errors import Refused
from admin_api.common.fields import (
    Code,
    Name,
)
from admin_api.common.paging import GivenPage, Id, Page, Sorts, page
from admin_api.common.views import CarrierView, TenantPermissionView
from admin_api.platform.permitted_tenants import give, list_permitted, sorts_of, take
from engine.carriers.schemas import MASK, SCHEMAS, ConfigInvalid, check_config, secret_fields
from engine.domain.people.permission import Permission
from engine.runtime.control.protocol import Metrics, ReadMetrics
from engine.services.lines.carrier_check import host_of, host_steps, trunk_steps, unsealed_step
from engine.store.access.trunk_secrets import carrier_place
from engine.store.listing import read_one, read_page
from engine.store.sorting import PageWanted
from engine.store.tables import Carrier, Trunk
from engine.store.tables.numbers import CarrierPermission

Kind = Literal["sip_trunk", "alibaba_dypls", "huawei_private_number", "tencent_npp", "pnm"]

Config = dict[str, Any]


class NewCarrier(msgspec.Struct, forbid_unknown_fields=True):
    """``config`` is by the kind's schema (``/carrier-kinds``); its secrets go in here and never out again."""

    code: Code
    name: Name
    kind: Kind = "sip_trunk"
    config: Config = {}


class CarrierPatch(msgspec.Struct, forbid_unknown_fields=True):
    """``config`` replaces all of it; a secret stays where it is the mask that was shown."""

    name: Name | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    config: Config | UnsetType = UNSET


class CarrierKindView(msgspec.Struct):
    """``schema``: JSON Schema 2020-12; ``x-titles``, ``x-order``; a secret is ``writeOnly``."""

    kind: str
    titles: dict[str, str]
    schema: dict[str, Any]


class CheckStep(msgspec.Struct):
    step: str
    ok: bool
    detail: str


class ConnectionCheck(msgspec.Struct):
    """``ok``: every step went well. ``complete`` false: some of it only a first call will show."""

    ok: bool
    complete: bool
    steps: list[CheckStep]


def _carrier_view(row: Carrier) -> CarrierView:
    shown = {**row.config, **dict.fromkeys(row.sealed_secrets, MASK)}
    return CarrierView(row.id, row.code, row.name, row.kind, shown)


def _set_config(context: Context, row: Carrier, config: Config) -> None:
    """Checks the settings, seals the secrets among them, keeps those that are masked."""
    secret_names = secret_fields(row.kind)
    kept = {
        name: row.sealed_secrets[name]
        for name, value in config.items()
        if name in secret_names and value == MASK and name in (row.sealed_secrets or {})
    }
    try:
        check_config(row.kind, config)
    except ConfigInvalid as error:
        raise Refused(error.field, error.reason) from error
    for name in secret_names - kept.keys():
        if config.get(name) == MASK:
            raise Refused(f"config.{name}", "is the mask, and there is no secret to keep")
    row.config = {name: value for name, value in config.items() if name not in secret_names}
    row.sealed_secrets = {
        name: kept.get(name) or context.keyring.seal(config[name], carrier_place(row.code, name))
        for name in config
        if name in secret_names
    }


_SORTS = Sorts("id", "id", id=Carrier.id, code=Carrier.code, name=Carrier.name)
_PERMITTED_SORTS = sorts_of(CarrierPermission)


@get("/carrier-kinds", opt={"permission": Permission.CARRIERS_READ}, tags=["lines"], summary="Kinds of carriers")
async def list_carrier_kinds() -> list[CarrierKindView]:
    return [CarrierKindView(kind, schema["x-titles"], schema) for kind, schema in SCHEMAS.items()]


class CarrierController(Controller):
    path = "/carriers"
    tags = ("lines",)

    @get("/", opt={"permission": Permission.CARRIERS_READ}, dependencies=_SORTS.given, summary="Carriers")
    async def list_carriers(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        kind: Annotated[Kind | None, QueryParameter()] = None,
    ) -> Page[CarrierView]:
        conditions = [] if kind is None else [Carrier.kind == kind]
        async with context.reading() as session:
            rows = await read_page(session, audience, Carrier, *conditions, wanted=wanted)
            return page(rows, wanted, _carrier_view)

    @get("/{carrier_id:int}", opt={"permission": Permission.CARRIERS_READ}, summary="One carrier")
    async def get_carrier(self, context: GivenContext, audience: GivenScope, carrier_id: Id) -> CarrierView:
        async with context.reading() as session:
            return _carrier_view(found(await read_one(session, audience, Carrier, carrier_id), "carrier"))

    @post("/", opt={"permission": Permission.CARRIERS_WRITE}, summary="Make a carrier")
    async def create_carrier(self, context: GivenContext, data: JSONBody[NewCarrier]) -> CarrierView:
        row = Carrier(code=data.code, name=data.name, kind=data.kind, config={}, sealed_secrets={})
        _set_config(context, row, data.config)
        async with context.writing_quietly() as session:
            session.add(row)
            await session.flush()
            return _carrier_view(row)

    @patch("/{carrier_id:int}", opt={"permission": Permission.CARRIERS_WRITE}, summary="Change a carrier")
    async def patch_carrier(
        self, context: GivenContext, audience: GivenScope, carrier_id: Id, data: JSONBody[CarrierPatch]
    ) -> CarrierView:
        async with context.writing_quietly() as session:
            row = found(await read_one(session, audience, Carrier, carrier_id), "carrier")
            if data.kind not in (UNSET, row.kind):
                if data.config is UNSET:
                    raise Refused("config", "is needed with another kind")
                row.sealed_secrets = {}  # the other kind's
                row.kind = data.kind
            if data.name is not UNSET:
                row.name = data.name
            if data.config is not UNSET:
                _set_config(context, row, data.config)
            await session.flush()
            return _carrier_view(row)

    @post(
        "/{carrier_id:int}/check",
        opt={"permission": Permission.CARRIERS_WRITE},
        summary="Test the connection to a carrier",
        status_code=200,
    )
    async def check_carrier(self, context: GivenContext, audience: GivenScope, carrier_id: Id) -> ConnectionCheck:
        async with context.reading() as session:
            carrier = found(await read_one(session, audience, Carrier, carrier_id), "carrier")
            codes = [
                trunk.code
                for trunk in await read_page(
                    session, audience, Trunk, Trunk.carrier_id == carrier_id, wanted=PageWanted.by(Trunk.id, limit=500)
                )
            ]
        if carrier.kind == "sip_trunk":
            reply = await context.control.ask(ReadMetrics())
            steps = trunk_steps(codes, reply.text if isinstance(reply, Metrics) else "")
            return ConnectionCheck(
                all(step.ok for step in steps) and bool(steps),
                bool(steps),
                [CheckStep(step.name, step.ok, step.detail) for step in steps],
            )
        steps = [unsealed_step(context.keyring, carrier), *await host_steps(host_of(carrier))]
        # Only a request would tell whether the carrier takes the credentials, and a request binds or bills.
        return ConnectionCheck(
            all(step.ok for step in steps), False, [CheckStep(step.name, step.ok, step.detail) for step in steps]
        )

    @get(
        "/{carrier_id:int}/tenants",
        opt={"permission": Permission.CARRIERS_READ},
        dependencies=_PERMITTED_SORTS.given,
        summary="Who may use all of a carrier's lines",
    )
    async def list_permitted(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        carrier_id: Id,
    ) -> Page[TenantPermissionView]:
        return await list_permitted(context, audience, Carrier, carrier_id, wanted)

    @put(
        "/{carrier_id:int}/tenants/{tenant_id:int}",
        opt={"permission": Permission.CARRIERS_WRITE},
        summary="Let a tenant use a carrier",
        status_code=204,
    )
    async def permit(self, context: GivenContext, carrier_id: Id, tenant_id: Id) -> None:
        await give(context, tenant_id, Carrier, carrier_id)

    @delete(
        "/{carrier_id:int}/tenants/{tenant_id:int}",
        opt={"permission": Permission.CARRIERS_WRITE},
        summary="Let a tenant use a carrier no more, but for lines that he may use by themselves",
    )
    async def forbid(self, context: GivenContext, carrier_id: Id, tenant_id: Id) -> None:
        await take(context, tenant_id, Carrier, carrier_id)
