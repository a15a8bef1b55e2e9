"""Recharges: ordered by tenants and the platform, credited by a provider's notice or by hand."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar.params import QueryParameter

from admin_api.common.context import Context
from admin_api.common.fields import Key, Note, PositiveAmountMicro
from admin_api.common.paging import Page, Sorts, page
from admin_api.common.views import view_of
from engine.domain.refusal import Refusal
from engine.services.recharges import BY_HAND, RechargeState, create_recharge, read_recharges
from engine.store.scope import Scope
from engine.store.sorting import PageWanted
from engine.store.tables.orders import Recharge

StateFilter = Annotated[RechargeState | None, QueryParameter(name="state")]


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


RECHARGE_SORTS = Sorts(
    "-id", "id", id=Recharge.id, created_at_ms=Recharge.created_at_ms, amount_micro=Recharge.amount_micro
)


async def recharge_page(
    context: Context, scope: Scope, state: RechargeState | None, tenant_id: int | None, wanted: PageWanted
) -> Page[RechargeView]:
    conditions = [] if state is None else [Recharge.state == state]
    if tenant_id is not None:
        conditions.append(Recharge.tenant_id == tenant_id)
    async with context.reading() as session:
        rows = await read_recharges(session, scope, *conditions, wanted=wanted)
    return page(rows, wanted, lambda row: view_of(row, RechargeView))
