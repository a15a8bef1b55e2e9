"""The platform's agents: of any tenant."""

from __future__ import annotations

import msgspec
from litestar import post
from litestar.params import JSONBody

from admin_api.common.context import GivenContext
from admin_api.common.fields import Code, Name, Number, RowId
from admin_api.common.views import AgentView
from admin_api.resources.agents import AgentController, make_agent
from engine.domain.people.permission import Permission


class NewAgent(msgspec.Struct, forbid_unknown_fields=True):
    tenant_id: RowId
    code: Code
    name: Name
    phone: Number | None = None
    department_id: RowId | None = None


class PlatformAgentController(AgentController):
    @post("/", opt={"permission": Permission.AGENTS_WRITE}, summary="Make an agent of a tenant")
    async def create_agent(self, context: GivenContext, data: JSONBody[NewAgent]) -> AgentView:
        return await make_agent(context, data.tenant_id, data.code, data.name, data.phone, data.department_id)
