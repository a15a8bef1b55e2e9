"""Recharges: ordered by tenants and the platform, credited by a provider's notice or by hand."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import msgspec
from litestar import Controller, get
from litestar.params import QueryParameter

from admin_api.common.context import Context, GivenContext, GivenScope
from admin_api.common.fields import Key, Note, PositiveAmountMicro
from admin_api.common.paging import BeforeMs, GivenPage, Page, QueryId, SinceMs, Sorts, between, equal, page
from admin_api.common.views import view_of
from engine.domain.people.permission import Permission
from engine.domain.refusal import Refusal
from engine.services.money.recharges import BY_HAND, RechargeState, create_recharge, read_recharges
from engine.store.tables.orders import Recharge


class NewRechargeOrder(msgspec.Struct, forbid_unknown_fields=True):
    """``key`` is the caller's name for it: sent again, it is not made again."""

    amount_micro: PositiveAmountMicro
    key: Key
    provider: Literal["by_hand", "hmac", "wechat", "alipay"] = "by_hand"
    note: Note = ""


class RechargeView(msgspec.Struct):
    """``reference`` is what the payment's provider is to call it."""

    id: int
    tenant_id: int
    key: str
    reference: str
    provider: str
    amount_micro: int
    state: str
    note: str
    created_by: str
    created_at_ms: int
    credited_at_ms: int | None
    confirmed_by: str | None


async def order_recharge(context: Context, tenant_id: int, data: NewRechargeOrder, by: str) -> RechargeView:
    if data.provider != BY_HAND and data.provider not in context.gateways:
        raise Refusal("provider_not_set_up", "provider", "is not set up here: no payment of it would be believed")
    async with context.writing() as session:
        row = await create_recharge(
            session,
            tenant_id,
            key=data.key,
            reference=context.new_id()[:32],
            provider=data.provider,
            amount_micro=data.amount_micro,
            by=by,
            now_ms=context.now_ms(),
            note=data.note,
        )
        return view_of(row, RechargeView)


_SORTS = Sorts("-id", "id", id=Recharge.id, created_at_ms=Recharge.created_at_ms, amount_micro=Recharge.amount_micro)


class RechargeReadController(Controller):
    path = "/recharges"
    tags = ("funds",)

    @get("/", opt={"permission": Permission.FUNDS_READ}, dependencies=_SORTS.given, summary="Recharges, newest first")
    async def list_recharges(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        recharge_state: Annotated[RechargeState | None, QueryParameter(name="state")] = None,
        tenant_id: QueryId = None,
        from_ms: SinceMs = None,
        to_ms: BeforeMs = None,
    ) -> Page[RechargeView]:
        conditions = equal((Recharge.state, recharge_state), (Recharge.tenant_id, tenant_id))
        conditions += between(Recharge.created_at_ms, from_ms, to_ms)
        async with context.reading() as session:
            rows = await read_recharges(session, audience, *conditions, wanted=wanted)
        return page(rows, wanted, partial(view_of, shape=RechargeView))
