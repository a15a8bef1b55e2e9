"""What the platform holds tenants to."""

from __future__ import annotations

import msgspec
from litestar import Controller, get, put
from litestar.params import JSONBody

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import AmountMicro
from admin_api.common.money_rules import MoneyRulesView
from admin_api.common.paging import Id
from admin_api.common.views import view_of
from engine.domain.permission import Permission
from engine.services.money_rules import read_rules, set_day_cap
from engine.store.listing import read_one
from engine.store.tables import Tenant


class NewMoneyRules(msgspec.Struct, forbid_unknown_fields=True):
    """Null: he may spend what he has."""

    day_cap_micro: AmountMicro | None


class MoneyRulesController(Controller):
    path = "/tenants/{tenant_id:int}/money-rules"
    tags = ("funds",)

    @get("/", opt={"permission": Permission.FUNDS_READ}, summary="What a tenant is held to")
    async def get_money_rules(self, context: GivenContext, audience: GivenScope, tenant_id: Id) -> MoneyRulesView:
        async with context.reading() as session:
            found(await read_one(session, audience, Tenant, tenant_id), "tenant")
            return view_of(await read_rules(session, audience, tenant_id), MoneyRulesView)

    @put("/", opt={"permission": Permission.FUNDS_WRITE}, summary="Set what a tenant may spend a day")
    async def put_money_rules(
        self, context: GivenContext, audience: GivenScope, tenant_id: Id, data: JSONBody[NewMoneyRules]
    ) -> MoneyRulesView:
        """Calls beyond it are refused; running ones end as their granted time does, with a warning."""
        async with context.writing() as session:
            found(await read_one(session, audience, Tenant, tenant_id), "tenant")
            return view_of(await set_day_cap(session, audience, tenant_id, data.day_cap_micro), MoneyRulesView)
