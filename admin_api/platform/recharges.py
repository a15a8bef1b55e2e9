"""Recharges as the platform sees them: it confirms by hand what came to its bank."""

from __future__ import annotations

from typing import Any

from litestar import Request, post
from litestar.params import JSONBody
from sqlalchemy import select

from admin_api.common.auth import Principal
from admin_api.common.context import Context, GivenContext, GivenScope, found
from admin_api.common.paging import Id
from admin_api.common.views import view_of
from admin_api.resources.recharges import (
    NewRechargeOrder,
    RechargeReadController,
    RechargeView,
    order_recharge,
)
from engine.domain.people.permission import Permission
from engine.services.money.recharges import close_recharge, confirm_by_hand
from engine.store.scope import Scope, within
from engine.store.tables.orders import Recharge

_READ, _WRITE = {"permission": Permission.FUNDS_READ}, {"permission": Permission.FUNDS_WRITE}


class PlatformRechargeController(RechargeReadController):
    @post("/{recharge_id:int}/confirm", status_code=200, opt=_WRITE, summary="Confirm that the money has come")
    async def confirm(
        self, request: Request[Principal, Any, Any], context: GivenContext, audience: GivenScope, recharge_id: Id
    ) -> RechargeView:
        return await _settle(context, audience, recharge_id, request.user.login)

    @post("/{recharge_id:int}/close", status_code=200, opt=_WRITE, summary="Give a recharge up")
    async def close(self, context: GivenContext, audience: GivenScope, recharge_id: Id) -> RechargeView:
        return await _settle(context, audience, recharge_id, None)


async def _settle(context: Context, scope: Scope, recharge_id: int, confirmed_by: str | None) -> RechargeView:
    async with context.writing() as session:
        mine = within(scope, tenant=Recharge.tenant_id, agent=None)
        row = found(await session.scalar(select(Recharge).where(Recharge.id == recharge_id, mine)), "recharge")
        if confirmed_by is None:
            await close_recharge(session, row)
        else:
            await confirm_by_hand(session, row, confirmed_by, context.now_ms())
        return view_of(row, RechargeView)


@post("/tenants/{tenant_id:int}/recharge-orders", opt=_WRITE, summary="Order a recharge for a tenant", tags=["funds"])
async def create_recharge_order(
    request: Request[Principal, Any, Any], context: GivenContext, tenant_id: Id, data: JSONBody[NewRechargeOrder]
) -> RechargeView:
    return await order_recharge(context, tenant_id, data, request.user.login)
