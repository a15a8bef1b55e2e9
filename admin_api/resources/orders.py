"""Packages and orders: what every audience's routes share."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.params import JSONBody, QueryParameter

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import Key, Note, RowId
from admin_api.common.paging import BeforeMs, GivenPage, Id, Page, QueryId, SinceMs, Sorts, between, equal, page
from admin_api.common.rows import list_rows
from admin_api.common.views import view_of
from engine.domain.money.order import OrderAction, OrderKind, OrderState, allowed_in
from engine.domain.people.permission import Permission
from engine.services.sales.orders import Wanted, act, create_order
from engine.store.money.order_store import read_history, read_order, read_orders, read_package, read_packages
from engine.store.scope import AgentScope, TenantScope
from engine.store.tables import MinutesBucket
from engine.store.tables.orders import Order, OrderEvent, Package, PackageVersion


class NumbersView(msgspec.Struct):
    line_id: int
    count: int


class PackageView(msgspec.Struct):
    """``period_count`` of ``period_unit`` by the calendar in ``zone``; ``line_ids`` empty: on all lines.

    ``numbers`` are X numbers that come with it: the buyer has them, and may use its lines, while it is in force.
    """

    id: int
    code: str
    name: str
    tenant_id: int | None
    on_sale: bool
    renewals_approved: bool
    version: int
    minutes: int
    price_micro: int
    period_unit: str
    period_count: int
    zone: str
    line_ids: list[int]
    numbers: list[NumbersView]


class OrderView(msgspec.Struct):
    """``allowed`` is what can be done with it now; ``amount_micro`` of a return is what was paid back."""

    id: int
    tenant_id: int
    agent_id: int | None
    kind: str
    state: str
    allowed: list[str]
    key: str
    package_id: int
    package_version: int
    bucket_id: int | None
    to_agent_id: int | None
    first_order_id: int | None
    period_number: int
    auto_renew: bool
    amount_micro: int
    refunded_seconds: int | None
    note: str
    created_at_ms: int
    decide_by_ms: int


class OrderEventView(msgspec.Struct):
    state: str
    at_ms: int
    by: str
    note: str


class MinutesView(msgspec.Struct):
    """``seconds_left`` is what no engine has leased for calls."""

    id: int
    tenant_id: int
    agent_id: int | None
    line_ids: list[int]
    cause_id: str
    seconds_bought: int
    seconds_left: int
    starts_at_ms: int
    expires_at_ms: int


class NewOrder(msgspec.Struct, forbid_unknown_fields=True):
    """``key`` is the caller's name for it: sent again, it is not ordered again.

    A purchase names a package, everything else the minutes (``bucket_id``) that it is about. ``agent_id`` is for whom,
    null for all the tenant's agents; an agent buys for himself. A transfer goes to ``to_agent_id``, null is to all.
    """

    kind: OrderKind
    key: Key
    package_id: RowId | None = None
    bucket_id: RowId | None = None
    agent_id: RowId | None = None
    to_agent_id: RowId | None = None
    auto_renew: bool = False
    note: Note = ""
    draft: bool = False


class Decision(msgspec.Struct, forbid_unknown_fields=True):
    note: Note = ""


def package_view(row: tuple[Package, PackageVersion]) -> PackageView:
    package, terms = row
    return PackageView(
        id=package.id,
        code=package.code,
        name=package.name,
        tenant_id=package.tenant_id,
        on_sale=package.on_sale,
        renewals_approved=package.renewals_approved,
        version=terms.version,
        minutes=terms.minutes,
        price_micro=terms.price_micro,
        period_unit=terms.period_unit,
        period_count=terms.period_count,
        zone=terms.zone,
        line_ids=terms.line_ids,
        numbers=[NumbersView(each["line_id"], each["count"]) for each in terms.numbers],
    )


def order_view(order: Order) -> OrderView:
    values = {name: getattr(order, name) for name in OrderView.__struct_fields__ if name != "allowed"}
    return OrderView(**values, allowed=[*allowed_in(OrderState(order.state))])


_PACKAGE_SORTS = Sorts("id", "id", id=Package.id, code=Package.code, name=Package.name)
_ORDER_SORTS = Sorts("-id", "id", id=Order.id)
_HISTORY_SORTS = Sorts("position", "position", position=OrderEvent.position)
_MINUTES_SORTS = Sorts(
    "id", "id", id=MinutesBucket.id, expires_at_ms=MinutesBucket.expires_at_ms, seconds_left=MinutesBucket.seconds_left
)


class PackageReadController(Controller):
    path = "/packages"
    tags = ("packages",)

    @get("/", opt={"permission": Permission.PACKAGES_READ}, dependencies=_PACKAGE_SORTS.given, summary="Packages")
    async def list_packages(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        on_sale: Annotated[bool | None, QueryParameter()] = None,
        tenant_id: QueryId = None,
    ) -> Page[PackageView]:
        conditions = equal((Package.on_sale, on_sale), (Package.tenant_id, tenant_id))
        async with context.reading() as session:
            rows = await read_packages(session, audience, *conditions, wanted=wanted)
        return page(rows, wanted, package_view, lambda row: row[0])

    @get("/{package_id:int}", opt={"permission": Permission.PACKAGES_READ}, summary="One package")
    async def get_package(self, context: GivenContext, audience: GivenScope, package_id: Id) -> PackageView:
        async with context.reading() as session:
            return package_view(found(await read_package(session, audience, package_id), "package"))


class OrderReadController(Controller):
    path = "/orders"
    tags = ("orders",)

    @get("/", opt={"permission": Permission.ORDERS_READ}, dependencies=_ORDER_SORTS.given, summary="Orders")
    async def list_orders(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        order_state: Annotated[OrderState | None, QueryParameter(name="state")] = None,
        kind: Annotated[OrderKind | None, QueryParameter()] = None,
        tenant_id: QueryId = None,
        agent_id: QueryId = None,
        package_id: QueryId = None,
        from_ms: SinceMs = None,
        to_ms: BeforeMs = None,
    ) -> Page[OrderView]:
        conditions = equal((Order.state, order_state), (Order.kind, kind), (Order.tenant_id, tenant_id))
        conditions += equal((Order.agent_id, agent_id), (Order.package_id, package_id))
        conditions += between(Order.created_at_ms, from_ms, to_ms)
        async with context.reading() as session:
            rows = await read_orders(session, audience, *conditions, wanted=wanted)
        return page(rows, wanted, order_view)

    @get("/{order_id:int}", opt={"permission": Permission.ORDERS_READ}, summary="One order")
    async def get_order(self, context: GivenContext, audience: GivenScope, order_id: Id) -> OrderView:
        async with context.reading() as session:
            return order_view(found(await read_order(session, audience, order_id), "order"))

    @get(
        "/{order_id:int}/history",
        opt={"permission": Permission.ORDERS_READ},
        dependencies=_HISTORY_SORTS.given,
        summary="What became of an order",
    )
    async def get_history(
        self, context: GivenContext, audience: GivenScope, wanted: GivenPage, order_id: Id
    ) -> Page[OrderEventView]:
        async with context.reading() as session:
            found(await read_order(session, audience, order_id), "order")
            rows = wanted.of_rows(await read_history(session, order_id))
        return page(rows, wanted, partial(view_of, shape=OrderEventView))

    @get(
        "/minutes",
        opt={"permission": Permission.ORDERS_READ},
        dependencies=_MINUTES_SORTS.given,
        summary="Package minutes that were bought",
    )
    async def list_minutes(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        tenant_id: QueryId = None,
        agent_id: QueryId = None,
        live: Annotated[bool | None, QueryParameter(description="In force now, or not.")] = None,
    ) -> Page[MinutesView]:
        conditions = equal((MinutesBucket.tenant_id, tenant_id), (MinutesBucket.agent_id, agent_id))
        if live is not None:
            now_ms = context.now_ms()
            in_force = (MinutesBucket.starts_at_ms <= now_ms) & (MinutesBucket.expires_at_ms > now_ms)
            conditions.append(in_force if live else ~in_force)
        return await list_rows(context, audience, MinutesBucket, MinutesView, wanted, *conditions)


class OrderController(OrderReadController):
    """For those who order: tenants, and agents for themselves."""

    @post("/", opt={"permission": Permission.ORDERS_WRITE}, summary="Order: buy, return, transfer or renew")
    async def create_order(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        data: JSONBody[NewOrder],
    ) -> OrderView:
        values = {name: getattr(data, name) for name in data.__struct_fields__ if name != "draft"}
        assert isinstance(audience, TenantScope | AgentScope), "the routers of these alone have it"
        async with context.writing() as session:
            order = await create_order(
                session, audience, Wanted(**values), request.user.login, context.now_ms(), draft=data.draft
            )
            return order_view(order)

    @post(
        "/{order_id:int}/submit",
        status_code=200,
        opt={"permission": Permission.ORDERS_WRITE},
        summary="Submit a draft for approval",
    )
    async def submit_order(
        self, request: Request[Principal, Any, Any], context: GivenContext, audience: GivenScope, order_id: Id
    ) -> OrderView:
        return await decide(context, audience, order_id, OrderAction.SUBMIT, request.user.login)

    @post(
        "/{order_id:int}/cancel",
        status_code=200,
        opt={"permission": Permission.ORDERS_WRITE},
        summary="Cancel an order that is not decided yet",
    )
    async def cancel_order(
        self, request: Request[Principal, Any, Any], context: GivenContext, audience: GivenScope, order_id: Id
    ) -> OrderView:
        return await decide(context, audience, order_id, OrderAction.CANCEL, request.user.login)


async def decide(
    context: GivenContext, audience: GivenScope, order_id: int, action: OrderAction, by: str, note: str = ""
) -> OrderView:
    async with context.writing() as session:
        order = found(await read_order(session, audience, order_id), "order")
        await act(session, order, action, by, context.now_ms(), note)
        return order_view(order)
