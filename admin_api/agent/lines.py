"""The lines that an agent has numbers of, to choose among."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, get

from admin_api.common.auth import Principal
from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.paging import GivenPage, Page, page
from admin_api.common.sorts import LINE_SORTS
from engine.domain.people.permission import Permission
from engine.services.lines.usable_lines import holder_of, usable_by
from engine.store.listing import read_page
from engine.store.tables import Agent, Line


class AgentLineView(msgspec.Struct):
    """``is_permitted``: your company lets you use it; where it does not, no call goes over it."""

    id: int
    code: str
    name: str
    recording: bool
    status: str
    is_permitted: bool


@get(
    "/lines",
    opt={"permission": Permission.LINES_READ},
    dependencies=LINE_SORTS.given,
    summary="The lines that you have numbers of",
    tags=["numbers"],
)
async def list_own_lines(
    request: Request[Principal, Any, Any],
    context: GivenContext,
    audience: GivenScope,
    wanted: GivenPage,
) -> Page[AgentLineView]:
    async with context.reading() as session:
        rows = await read_page(session, audience, Line, wanted=wanted)
        agent = await holder_of(session, audience, Agent, request.user.agent_scope.agent_id)
        permitted = set((await usable_by(session, agent)).line_ids)

    def view(line: Line) -> AgentLineView:
        return AgentLineView(line.id, line.code, line.name, line.recording, line.status, line.id in permitted)

    return page(rows, wanted, view)
