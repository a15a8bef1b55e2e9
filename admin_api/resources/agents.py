"""Agents: the platform's and the tenant's routes differ in their scope, and in who says which tenant."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import msgspec
from litestar import Controller, delete, get, patch, put
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from admin_api.common.context import Context, GivenContext, GivenScope, found
from admin_api.common.fields import AgentStatus, Name, Number, RowId, canonical, given
from admin_api.common.paging import GivenPage, Id, Page, QueryId, Sorts, equal, page
from admin_api.common.views import AgentView, view_of
from admin_api.resources.suspension import Suspension, SuspensionAnswer, cut_calls
from engine.domain.people.permission import Permission
from engine.services.staff.agents import change_agent, create_agent
from engine.store.department_store import below
from engine.store.listing import read_one, read_page
from engine.store.scope import TenantScope
from engine.store.tables import Agent, Department


class AgentPatch(msgspec.Struct, forbid_unknown_fields=True):
    """``live_bindings`` says what becomes of bindings with the old ``phone`` as A: they take the new one, or end."""

    name: Name | UnsetType = UNSET
    phone: Number | UnsetType | None = UNSET
    status: AgentStatus | UnsetType = UNSET
    department_id: RowId | UnsetType | None = UNSET
    live_bindings: Literal["move", "end"] = "move"


async def make_agent(
    context: Context, tenant_id: int, code: str, name: str, phone: str | None, department_id: int | None
) -> AgentView:
    number = None if phone is None else canonical(phone, "phone")
    async with context.writing() as session:
        agent = await create_agent(
            session, TenantScope(tenant_id), code=code, name=name, phone=number, department_id=department_id
        )
        return view_of(agent, AgentView)


_SORTS = Sorts("id", "id", id=Agent.id, code=Agent.code, name=Agent.name)


class AgentController(Controller):
    path = "/agents"
    tags = ("agents",)

    @get("/", opt={"permission": Permission.AGENTS_READ}, dependencies=_SORTS.given, summary="Agents")
    async def list_agents(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        agent_status: Annotated[AgentStatus | None, QueryParameter(name="status")] = None,
        tenant_id: QueryId = None,
        department_id: Annotated[
            int | None, QueryParameter(ge=1, le=2**63 - 1, description="Of it, and of all below it.")
        ] = None,
    ) -> Page[AgentView]:
        conditions = equal((Agent.status, agent_status), (Agent.tenant_id, tenant_id))
        async with context.reading() as session:
            if department_id is not None:
                department = await read_one(session, audience, Department, department_id)
                owner_id = 0 if department is None else department.tenant_id
                conditions.append(Agent.department_id.in_(below(owner_id, [department_id])))
            rows = await read_page(session, audience, Agent, *conditions, wanted=wanted)
            return page(rows, wanted, partial(view_of, shape=AgentView))

    @get("/{agent_id:int}", opt={"permission": Permission.AGENTS_READ}, summary="One agent")
    async def get_agent(self, context: GivenContext, audience: GivenScope, agent_id: Id) -> AgentView:
        async with context.reading() as session:
            return view_of(found(await read_one(session, audience, Agent, agent_id), "agent"), AgentView)

    @patch("/{agent_id:int}", opt={"permission": Permission.AGENTS_WRITE}, summary="Change an agent")
    async def patch_agent(
        self, context: GivenContext, audience: GivenScope, agent_id: Id, data: JSONBody[AgentPatch]
    ) -> AgentView:
        values = given(data)
        live_bindings = values.pop("live_bindings")
        if values.get("phone") is not None:
            values["phone"] = canonical(values["phone"], "phone")
        async with context.writing() as session:
            agent = await change_agent(
                session, audience, agent_id, values, live_bindings=live_bindings, now_ms=context.now_ms()
            )
            return view_of(agent, AgentView)

    @put("/{agent_id:int}/suspension", opt={"permission": Permission.AGENTS_WRITE}, summary="Suspend an agent")
    async def put_suspension(
        self, context: GivenContext, audience: GivenScope, agent_id: Id, data: JSONBody[Suspension]
    ) -> SuspensionAnswer:
        async with context.writing() as session:
            agent = await change_agent(session, audience, agent_id, {"status": "suspended"}, now_ms=context.now_ms())
        return await cut_calls(context, data, agent.tenant_id, agent_id)

    @delete(
        "/{agent_id:int}/suspension",
        opt={"permission": Permission.AGENTS_WRITE},
        status_code=200,
        summary="Wake a suspended agent",
    )
    async def delete_suspension(self, context: GivenContext, audience: GivenScope, agent_id: Id) -> AgentView:
        async with context.writing() as session:
            agent = await change_agent(session, audience, agent_id, {"status": "active"}, now_ms=context.now_ms())
            return view_of(agent, AgentView)
