"""A tenant's X numbers, allocated on to its agents."""

from __future__ import annotations

import msgspec
from litestar import put
from litestar.params import JSONBody

from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.fields import RowId
from admin_api.common.paging import Id
from admin_api.common.views import XNumberView, view_of
from admin_api.common.x_numbers import XNumberController
from engine.domain.permission import Permission
from engine.services.numbers import allocate_to_agent


class AgentAllocation(msgspec.Struct, forbid_unknown_fields=True):
    """``null`` takes the number back from its agent."""

    agent_id: RowId | None


class TenantXNumberController(XNumberController):
    @put(
        "/{x_number_id:int}/agent",
        opt={"permission": Permission.NUMBERS_WRITE},
        summary="Allocate an X number to an agent",
    )
    async def allocate(
        self, context: GivenContext, audience: GivenScope, x_number_id: Id, data: JSONBody[AgentAllocation]
    ) -> XNumberView:
        async with context.writing() as session:
            return view_of(await allocate_to_agent(session, audience, x_number_id, data.agent_id), XNumberView)
