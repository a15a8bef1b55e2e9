"""The platform's desk: packages are made here, and orders decided."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, get, patch, post
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import AmountMicro, Code, Name, RowId, given
from admin_api.common.paging import GivenPage, Id, Page, Sorts, page
from admin_api.resources.orders import (
    Decision,
    OrderReadController,
    OrderView,
    PackageReadController,
    PackageView,
    decide,
    package_view,
)
from engine.domain.money.order import OrderAction
from engine.domain.money.package import PERIODS_MAX, PeriodUnit
from engine.domain.people.permission import Permission
from engine.services.money.credit_recall import call_back_credit
from engine.services.sales.order_fulfilment import CreditShort
from engine.services.sales.packages import MINUTES_MAX, NUMBERS_MAX, Terms, change_terms, create_package
from engine.store.money.order_store import read_order, read_package, read_versions
from engine.store.tables.orders import PackageVersion

Minutes = Annotated[int, Meta(ge=1, le=MINUTES_MAX)]
PeriodCount = Annotated[int, Meta(ge=1, le=PERIODS_MAX)]
LineIds = Annotated[list[RowId], Meta(max_length=100)]
Zone = Annotated[str, Meta(min_length=1, max_length=64)]


class NumbersOfLine(msgspec.Struct, forbid_unknown_fields=True):
    """So many X numbers of the line come with the package, and go back with it."""

    line_id: RowId
    count: Annotated[int, Meta(ge=1, le=NUMBERS_MAX)]


Numbers = Annotated[list[NumbersOfLine], Meta(max_length=NUMBERS_MAX)]


class NewPackage(msgspec.Struct, forbid_unknown_fields=True):
    """Without ``tenant_id`` it is offered to all. ``renewals_approved``: automatic renewals wait for nobody."""

    code: Code
    name: Name
    minutes: Minutes
    price_micro: AmountMicro
    period_unit: PeriodUnit = PeriodUnit.MONTH
    period_count: PeriodCount = 1
    zone: Zone = "Asia/Shanghai"
    line_ids: LineIds = []
    numbers: Numbers = []
    tenant_id: RowId | None = None
    renewals_approved: bool = False


class PackagePatch(msgspec.Struct, forbid_unknown_fields=True):
    """Changed terms make a version: what is sold or ordered keeps its own."""

    name: Name | UnsetType = UNSET
    on_sale: bool | UnsetType = UNSET
    renewals_approved: bool | UnsetType = UNSET
    minutes: Minutes | UnsetType = UNSET
    price_micro: AmountMicro | UnsetType = UNSET
    period_unit: PeriodUnit | UnsetType = UNSET
    period_count: PeriodCount | UnsetType = UNSET
    zone: Zone | UnsetType = UNSET
    line_ids: LineIds | UnsetType = UNSET
    numbers: Numbers | UnsetType = UNSET


_TERMS = tuple(Terms.__dataclass_fields__)


_VERSION_SORTS = Sorts("-version", "version", version=PackageVersion.version)


def _values(data: NewPackage | PackagePatch) -> dict[str, Any]:
    values = given(data)
    if "numbers" in values:
        values["numbers"] = msgspec.to_builtins(values["numbers"])
    return values


class PlatformPackageController(PackageReadController):
    @post("/", opt={"permission": Permission.PACKAGES_WRITE}, summary="Make a package")
    async def create_package(self, context: GivenContext, data: JSONBody[NewPackage]) -> PackageView:
        values = _values(data)
        terms = Terms(**{name: values[name] for name in _TERMS})
        async with context.writing() as session:
            row = await create_package(
                session, code=data.code, name=data.name, terms=terms, tenant_id=data.tenant_id, now_ms=context.now_ms()
            )
            row[0].renewals_approved = data.renewals_approved
            await session.flush()
            return package_view(row)

    @patch("/{package_id:int}", opt={"permission": Permission.PACKAGES_WRITE}, summary="Change a package, or its sale")
    async def patch_package(
        self, context: GivenContext, audience: GivenScope, package_id: Id, data: JSONBody[PackagePatch]
    ) -> PackageView:
        values = _values(data)
        async with context.writing() as session:
            package, version = found(await read_package(session, audience, package_id), "package")
            for name in ("name", "on_sale", "renewals_approved"):
                setattr(package, name, values.get(name, getattr(package, name)))
            old = {name: getattr(version, name) for name in _TERMS}
            new = {name: values.get(name, old[name]) for name in _TERMS}
            if new != old:
                version = await change_terms(session, package, Terms(**new), context.now_ms())
            await session.flush()
            return package_view((package, version))

    @get(
        "/{package_id:int}/versions",
        opt={"permission": Permission.PACKAGES_READ},
        dependencies=_VERSION_SORTS.given,
        summary="A package's terms ever",
    )
    async def list_versions(
        self, context: GivenContext, audience: GivenScope, wanted: GivenPage, package_id: Id
    ) -> Page[PackageView]:
        async with context.reading() as session:
            package, _ = found(await read_package(session, audience, package_id), "package")
            rows = wanted.of_rows(await read_versions(session, package_id))
            return page(rows, wanted, lambda terms: package_view((package, terms)))


class PlatformOrderController(OrderReadController):
    @post(
        "/{order_id:int}/approve",
        status_code=200,
        opt={"permission": Permission.ORDERS_APPROVE},
        summary="Approve an order: money and minutes move",
    )
    async def approve_order(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        order_id: Id,
        data: JSONBody[Decision],
    ) -> OrderView:
        """Where engines have leased what is missing, they are asked to give back what no call holds."""
        by = request.user.login
        try:
            return await decide(context, audience, order_id, OrderAction.APPROVE, by, data.note)
        except CreditShort as short:
            async with context.reading() as session:
                order = found(await read_order(session, audience, order_id), "order")
            if not await call_back_credit(context.database, order.tenant_id, short.short_micro, context.now_ms):
                raise
        return await decide(context, audience, order_id, OrderAction.APPROVE, by, data.note)

    @post(
        "/{order_id:int}/reject",
        status_code=200,
        opt={"permission": Permission.ORDERS_APPROVE},
        summary="Reject an order",
    )
    async def reject_order(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        order_id: Id,
        data: JSONBody[Decision],
    ) -> OrderView:
        return await decide(context, audience, order_id, OrderAction.REJECT, request.user.login, data.note)
