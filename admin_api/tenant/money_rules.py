"""What a tenant is held to, and what he holds his agents to."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, Request, delete, get, patch, put
from litestar.params import JSONBody

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.fields import AmountMicro
from admin_api.common.paging import GivenPage, Id, Page, Sorts, page
from admin_api.common.views import view_of
from admin_api.resources.money_rules import MoneyRulesView
from engine.domain.people.permission import Permission
from engine.services.money.money_rules import change_rules, read_agent_cap, read_agent_caps, read_rules, set_agent_cap
from engine.store.listing import read_one
from engine.store.tables import Agent
from engine.store.tables.orders import AgentSpendCap

_READ, _WRITE = {"permission": Permission.FUNDS_READ}, {"permission": Permission.FUNDS_WRITE}


class NewLowBalance(msgspec.Struct, forbid_unknown_fields=True):
    low_balance_micro: AmountMicro | None


class NewSpendCap(msgspec.Struct, forbid_unknown_fields=True):
    day_cap_micro: AmountMicro


class SpendCapView(msgspec.Struct):
    agent_id: int
    day_cap_micro: int


_SORTS = Sorts("agent_id", "agent_id", agent_id=AgentSpendCap.agent_id, day_cap_micro=AgentSpendCap.day_cap_micro)


@get("/money-rules", opt=_READ, summary="What you are held to", tags=["funds"])
async def get_own_money_rules(
    request: Request[Principal, Any, Any], context: GivenContext, audience: GivenScope
) -> MoneyRulesView:
    async with context.reading() as session:
        return view_of(await read_rules(session, audience, request.user.tenant_scope.tenant_id), MoneyRulesView)


@patch("/money-rules", opt=_WRITE, summary="Set what you are told of", tags=["funds"])
async def change_own_money_rules(
    request: Request[Principal, Any, Any],
    context: GivenContext,
    audience: GivenScope,
    data: JSONBody[NewLowBalance],
) -> MoneyRulesView:
    """Below it there is one event, and one ``account.low`` for webhooks; the next after you were above it."""
    tenant_id, values = request.user.tenant_scope.tenant_id, {"low_balance_micro": data.low_balance_micro}
    async with context.writing() as session:
        return view_of(await change_rules(session, audience, tenant_id, values, context.now_ms()), MoneyRulesView)


class SpendCapController(Controller):
    path = "/spend-caps"
    tags = ("funds",)

    @get("/", opt=_READ, dependencies=_SORTS.given, summary="What your agents may spend a day, where it is capped")
    async def list_spend_caps(
        self, context: GivenContext, audience: GivenScope, wanted: GivenPage
    ) -> Page[SpendCapView]:
        async with context.reading() as session:
            rows = await read_agent_caps(session, audience, wanted)
        return page(rows, wanted, lambda row: view_of(row, SpendCapView))

    @put("/{agent_id:int}", opt=_WRITE, summary="Cap what an agent may spend a day")
    async def put_spend_cap(
        self,
        request: Request[Principal, Any, Any],
        context: GivenContext,
        audience: GivenScope,
        agent_id: Id,
        data: JSONBody[NewSpendCap],
    ) -> SpendCapView:
        """Calls beyond it are refused; running ones end as their granted time does, with a warning."""
        async with context.writing() as session:
            found(await read_one(session, audience, Agent, agent_id), "agent")
            tenant_id = request.user.tenant_scope.tenant_id
            return view_of(
                await set_agent_cap(session, audience, tenant_id, agent_id, data.day_cap_micro), SpendCapView
            )

    @delete("/{agent_id:int}", opt=_WRITE, summary="Let an agent spend what there is")
    async def delete_spend_cap(self, context: GivenContext, audience: GivenScope, agent_id: Id) -> None:
        async with context.writing() as session:
            await session.delete(found(await read_agent_cap(session, audience, agent_id), "spend cap"))
