"""A tenant's X numbers, allocated on to its departments and agents."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import post, put
from litestar.params import JSONBody
from msgspec import Meta

from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.fields import Note, RowId
from admin_api.common.paging import Id
from admin_api.common.views import XNumberView
from admin_api.resources.x_numbers import NumberHistoryController, x_number_view
from engine.domain.people.permission import Permission
from engine.services.lines.number_allocation import By, allocate_to_agent, assign, read_number, read_numbers


class AgentAllocation(msgspec.Struct, forbid_unknown_fields=True):
    """``null`` takes the number back from its agent; it stays with its department."""

    agent_id: RowId | None


class DepartmentAllocation(msgspec.Struct, forbid_unknown_fields=True):
    """``null`` takes the number back from its department, and from the agent there."""

    department_id: RowId | None


class Assignment(msgspec.Struct, forbid_unknown_fields=True):
    """All of them, or none. Both ``null``: the numbers are the tenant's alone again."""

    x_number_ids: Annotated[list[RowId], Meta(min_length=1, max_length=1000)]
    department_id: RowId | None = None
    agent_id: RowId | None = None
    reason: Note = ""


class MovedNumbers(msgspec.Struct):
    items: list[XNumberView]


class TenantXNumberController(NumberHistoryController):
    @put(
        "/{x_number_id:int}/agent",
        opt={"permission": Permission.NUMBERS_WRITE},
        summary="Allocate an X number to an agent",
    )
    async def allocate(
        self, context: GivenContext, audience: GivenScope, x_number_id: Id, data: JSONBody[AgentAllocation]
    ) -> XNumberView:
        async with context.writing() as session:
            row = await allocate_to_agent(session, audience, x_number_id, data.agent_id, context.now_ms())
            return x_number_view(row)

    @put(
        "/{x_number_id:int}/department",
        opt={"permission": Permission.NUMBERS_WRITE},
        summary="Allocate an X number to a department",
    )
    async def allocate_to_department(
        self, context: GivenContext, audience: GivenScope, x_number_id: Id, data: JSONBody[DepartmentAllocation]
    ) -> XNumberView:
        async with context.writing() as session:
            row = await read_number(session, audience, x_number_id)
            by = By.of(session, context.now_ms())
            await assign(session, [row], department_id=data.department_id, agent_id=None, by=by)
            return x_number_view(row)

    @post("/assignments", opt={"permission": Permission.NUMBERS_WRITE}, summary="Allocate many X numbers")
    async def assign_many(
        self, context: GivenContext, audience: GivenScope, data: JSONBody[Assignment]
    ) -> MovedNumbers:
        async with context.writing() as session:
            rows = await read_numbers(session, audience, data.x_number_ids)
            by = By.of(session, context.now_ms(), data.reason)
            await assign(session, rows, department_id=data.department_id, agent_id=data.agent_id, by=by)
            return MovedNumbers([x_number_view(row) for row in rows])
