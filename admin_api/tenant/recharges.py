"""A tenant's own recharges."""

from __future__ import annotations

from typing import Any

from litestar import Request, post
from litestar.params import JSONBody

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext
from admin_api.resources.recharges import (
    NewRechargeOrder,
    RechargeReadController,
    RechargeView,
    order_recharge,
)
from engine.domain.people.permission import Permission


class TenantRechargeController(RechargeReadController):
    @post("/", opt={"permission": Permission.FUNDS_WRITE}, summary="Order a recharge; it is credited once it is paid")
    async def create_recharge(
        self, request: Request[Principal, Any, Any], context: GivenContext, data: JSONBody[NewRechargeOrder]
    ) -> RechargeView:
        return await order_recharge(context, request.user.tenant_scope.tenant_id, data, request.user.login)
