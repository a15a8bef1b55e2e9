"""Who the agent is."""

from __future__ import annotations

from typing import Any

from litestar import Request, get

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.views import AgentView, view_of
from engine.domain.people.permission import Permission
from engine.store.listing import read_one
from engine.store.tables import Agent


@get("/me", opt={"permission": Permission.SELF}, summary="Yourself", tags=["agents"])
async def get_me(request: Request[Principal, Any, Any], context: GivenContext, audience: GivenScope) -> AgentView:
    agent_id = request.user.agent_scope.agent_id
    async with context.reading() as session:
        return view_of(found(await read_one(session, audience, Agent, agent_id), "agent"), AgentView)
