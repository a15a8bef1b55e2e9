"""What the platform holds tenants to."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller, get, patch
from litestar.params import JSONBody
from msgspec import UNSET, Meta, UnsetType

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import AmountMicro, Count, PositiveAmountMicro, given
from admin_api.common.paging import Id
from admin_api.common.views import view_of
from admin_api.resources.money_rules import MoneyRulesView
from engine.domain.people.permission import Permission
from engine.services.money.money_rules import change_rules, read_rules
from engine.store.listing import read_one
from engine.store.tables import Tenant

Factor = Annotated[int, Meta(ge=0, le=1000)]


class MoneyRulesChange(msgspec.Struct, forbid_unknown_fields=True):
    """Null: he may spend what he has, or is told of nothing. What is left out stays.

    Of velocity, within five minutes: an alarm is raised beyond ``velocity_factor`` times what is usual of the tenant or
    an agent (0: at none), and beyond the limits here, of the tenant as a whole and of each agent; with
    ``velocity_stops_calls`` no new call begins until it is acknowledged.
    """

    day_cap_micro: AmountMicro | UnsetType | None = UNSET
    low_balance_micro: AmountMicro | UnsetType | None = UNSET
    velocity_factor: Factor | UnsetType = UNSET
    velocity_attempts_max: Count | UnsetType | None = UNSET
    velocity_spend_max_micro: PositiveAmountMicro | UnsetType | None = UNSET
    agent_velocity_attempts_max: Count | UnsetType | None = UNSET
    agent_velocity_spend_max_micro: PositiveAmountMicro | UnsetType | None = UNSET
    velocity_stops_calls: bool | UnsetType = UNSET


class MoneyRulesController(Controller):
    path = "/tenants/{tenant_id:int}/money-rules"
    tags = ("funds",)

    @get("/", opt={"permission": Permission.FUNDS_READ}, summary="What a tenant is held to")
    async def get_money_rules(self, context: GivenContext, audience: GivenScope, tenant_id: Id) -> MoneyRulesView:
        async with context.reading() as session:
            found(await read_one(session, audience, Tenant, tenant_id), "tenant")
            return view_of(await read_rules(session, audience, tenant_id), MoneyRulesView)

    @patch("/", opt={"permission": Permission.FUNDS_WRITE}, summary="Set what a tenant may spend, and is told of")
    async def change_money_rules(
        self, context: GivenContext, audience: GivenScope, tenant_id: Id, data: JSONBody[MoneyRulesChange]
    ) -> MoneyRulesView:
        """Calls beyond it are refused; running ones end as their granted time does, with a warning."""
        async with context.writing() as session:
            found(await read_one(session, audience, Tenant, tenant_id), "tenant")
            return view_of(
                await change_rules(session, audience, tenant_id, given(data), context.now_ms()), MoneyRulesView
            )
