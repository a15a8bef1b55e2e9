"""A tenant's agents."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Request, post
from litestar.params import JSONBody
from msgspec import Meta

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.fields import Code, Name, Number, RowId
from admin_api.common.views import AgentView, view_of
from admin_api.resources.agents import AgentController, make_agent
from engine.domain.people.permission import Permission
from engine.services.staff.agent_import import PROBLEMS_MAX, import_agents, read_rows
from engine.store.scope import TenantScope


class NewOwnAgent(msgspec.Struct, forbid_unknown_fields=True):
    code: Code
    name: Name
    phone: Number | None = None
    department_id: RowId | None = None


class AgentImport(msgspec.Struct, forbid_unknown_fields=True):
    """``csv``'s first row names the columns: code, name, phone, department (names from the top, as Sales/North).

    With ``dry_run`` nobody is added, and the answer says what would be.
    """

    csv: Annotated[str, Meta(max_length=900_000)]
    dry_run: bool = False


class ImportProblem(msgspec.Struct):
    """``row`` counts from 1, the heading not among them."""

    row: int
    field: str
    code: str
    reason: str


class AgentImportAnswer(msgspec.Struct):
    """Everybody was added, or with ``problems`` nobody."""

    added: int
    dry_run: bool
    problems: list[ImportProblem]
    problems_count: int


class TenantAgentController(AgentController):
    @post("/", opt={"permission": Permission.AGENTS_WRITE}, summary="Make an agent")
    async def create_agent(
        self, request: Request[Principal, Any, Any], context: GivenContext, data: JSONBody[NewOwnAgent]
    ) -> AgentView:
        tenant_id = request.user.tenant_scope.tenant_id
        return await make_agent(context, tenant_id, data.code, data.name, data.phone, data.department_id)

    @post("/import", opt={"permission": Permission.AGENTS_WRITE}, status_code=200, summary="Make agents of a CSV table")
    async def import_agents(
        self, context: GivenContext, audience: GivenScope, data: JSONBody[AgentImport]
    ) -> AgentImportAnswer:
        assert isinstance(audience, TenantScope)
        rows = await asyncio.to_thread(read_rows, data.csv)
        opened = context.reading() if data.dry_run else context.writing()
        async with opened as session:
            added, problems = await import_agents(session, audience, rows, dry_run=data.dry_run)
        shown = [view_of(problem, ImportProblem) for problem in problems[:PROBLEMS_MAX]]
        return AgentImportAnswer(len(added), data.dry_run, shown, len(problems))
