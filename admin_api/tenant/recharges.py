"""A tenant's own recharges."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Request, get, post
from litestar.params import JSONBody

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.paging import GivenPage, Page
from admin_api.resources.recharges import (
    RECHARGE_SORTS,
    NewRechargeOrder,
    RechargeView,
    StateFilter,
    order_recharge,
    recharge_page,
)
from engine.domain.permission import Permission


class TenantRechargeController(Controller):
    path = "/recharges"
    tags = ("funds",)

    @get(
        "/",
        opt={"permission": Permission.FUNDS_READ},
        dependencies=RECHARGE_SORTS.given,
        summary="Your recharges, newest first",
    )
    async def list_recharges(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        state_wanted: StateFilter = None,
    ) -> Page[RechargeView]:
        return await recharge_page(context, audience, state_wanted, None, wanted)

    @post("/", opt={"permission": Permission.FUNDS_WRITE}, summary="Order a recharge; it is credited once it is paid")
    async def create_recharge(
        self, request: Request[Principal, Any, Any], context: GivenContext, data: JSONBody[NewRechargeOrder]
    ) -> RechargeView:
        return await order_recharge(context, request.user.tenant_scope.tenant_id, data, request.user.login)
