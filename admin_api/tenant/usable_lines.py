"""Which of his lines a tenant lets an agent or a department use. He is not told of carriers, nor speaks of them."""

from __future__ import annotations

import msgspec
from litestar import put
from litestar.params import JSONBody

from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.paging import Id
from admin_api.resources.usable_lines import (
    OF_AGENT,
    OF_DEPARTMENT,
    WRITE_AGENTS,
    WRITE_DEPARTMENTS,
    RowIds,
    UsableLinesController,
    UsableLinesView,
    put_lines,
)
from engine.store.tables import Agent, Department


class OwnUsableLines(msgspec.Struct, forbid_unknown_fields=True):
    """These lines and no others; an empty list permits none."""

    line_ids: RowIds


class TenantUsableLinesController(UsableLinesController):
    @put(OF_AGENT, opt=WRITE_AGENTS, summary="Say which lines an agent may use")
    async def put_of_agent(
        self, context: GivenContext, audience: GivenScope, agent_id: Id, data: JSONBody[OwnUsableLines]
    ) -> UsableLinesView:
        return await put_lines(context, audience, Agent, agent_id, data.line_ids)

    @put(OF_DEPARTMENT, opt=WRITE_DEPARTMENTS, summary="Say which lines a department, and all below it, may use")
    async def put_of_department(
        self, context: GivenContext, audience: GivenScope, department_id: Id, data: JSONBody[OwnUsableLines]
    ) -> UsableLinesView:
        return await put_lines(context, audience, Department, department_id, data.line_ids)
