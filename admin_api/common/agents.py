"""Agents: the platform's and the tenant's routes differ in their scope, and in who says which tenant."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from litestar import Controller, get, patch
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from admin_api.common.context import Context, GivenContext, GivenScope, found
from admin_api.common.fields import AgentStatus, Code, Name, Number, apply, canonical, given
from admin_api.common.paging import PAGE_DEFAULT, Cursor, Id, Limit, Page, id_cursor, page
from admin_api.common.views import AgentView, view_of
from engine.domain.permission import Permission
from engine.store.listing import read_one, read_page
from engine.store.tables import Agent


class AgentPatch(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    phone: Number | UnsetType | None = UNSET
    status: AgentStatus | UnsetType = UNSET


async def create_agent(context: Context, tenant_id: int, code: Code, name: Name, phone: str | None) -> AgentView:
    agent = Agent(tenant_id=tenant_id, code=code, name=name, phone=None if phone is None else canonical(phone, "phone"))
    async with context.writing() as session:
        session.add(agent)
        await session.flush()
        return view_of(agent, AgentView)


class AgentController(Controller):
    path = "/agents"
    tags = ("agents",)

    @get("/", opt={"permission": Permission.AGENTS_READ}, summary="Agents")
    async def list_agents(
        self,
        context: GivenContext,
        audience: GivenScope,
        agent_status: Annotated[AgentStatus | None, QueryParameter(name="status")] = None,
        cursor: Cursor = None,
        limit: Limit = PAGE_DEFAULT,
    ) -> Page[AgentView]:
        conditions = [] if agent_status is None else [Agent.status == agent_status]
        async with context.reading() as session:
            rows = await read_page(session, audience, Agent, *conditions, after=id_cursor(cursor), limit=limit)
            return page(rows, limit, partial(view_of, shape=AgentView), lambda row: str(row.id))

    @get("/{agent_id:int}", opt={"permission": Permission.AGENTS_READ}, summary="One agent")
    async def get_agent(self, context: GivenContext, audience: GivenScope, agent_id: Id) -> AgentView:
        async with context.reading() as session:
            return view_of(found(await read_one(session, audience, Agent, agent_id), "agent"), AgentView)

    @patch("/{agent_id:int}", opt={"permission": Permission.AGENTS_WRITE}, summary="Change an agent")
    async def patch_agent(
        self, context: GivenContext, audience: GivenScope, agent_id: Id, data: JSONBody[AgentPatch]
    ) -> AgentView:
        values = given(data)
        if values.get("phone") is not None:
            values["phone"] = canonical(values["phone"], "phone")
        async with context.writing() as session:
            agent = found(await read_one(session, audience, Agent, agent_id), "agent")
            apply(agent, values)
            await session.flush()
            return view_of(agent, AgentView)
