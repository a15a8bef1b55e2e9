"""A tenant's agents."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, post
from litestar.params import JSONBody

from admin_api.common.agents import AgentController, make_agent
from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext
from admin_api.common.fields import Code, Name, Number, RowId
from admin_api.common.views import AgentView
from engine.domain.permission import Permission


class NewOwnAgent(msgspec.Struct, forbid_unknown_fields=True):
    code: Code
    name: Name
    phone: Number | None = None
    department_id: RowId | None = None


class TenantAgentController(AgentController):
    @post("/", opt={"permission": Permission.AGENTS_WRITE}, summary="Make an agent")
    async def create_agent(
        self, request: Request[Principal, Any, Any], context: GivenContext, data: JSONBody[NewOwnAgent]
    ) -> AgentView:
        tenant_id = request.user.tenant_scope.tenant_id
        return await make_agent(context, tenant_id, data.code, data.name, data.phone, data.department_id)
