"""CDRs, recordings and live calls: the same for every audience, each within its scope."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Controller, get, post
from litestar.exceptions import HTTPException
from litestar.params import PathParameter, QueryParameter

from admin_api.common.context import GivenContext, GivenScope, found
from admin_api.common.errors import EngineRefused
from admin_api.common.fields import canonical
from admin_api.common.paging import INTEGER_MAX, GivenPage, Page, QueryId, Sorts, page
from admin_api.common.views import CdrView, LiveCallView, masked_for, sees_customers, view_of
from admin_api.recordings import recording_link
from engine.domain.cause import Cause
from engine.domain.cdr import CdrState
from engine.domain.people.permission import Permission
from engine.runtime.control.protocol import Calls, Done, Failed, HangUp, ListCalls
from engine.store.records.cdr_store import CdrFilter, read_cdr, read_cdrs, read_recording
from engine.store.records.retention_store import read_deletion
from engine.store.scope import AgentScope, DepartmentScope, Platform, Scope, agents_below, tenant_of
from engine.store.tables import Cdr

CallId = Annotated[str, PathParameter(max_length=32, pattern=r"^[A-Za-z0-9._-]+\Z")]


class RecordingLink(msgspec.Struct):
    """``link`` needs no token until ``expires_at_ms``; ``sha256`` is of the whole file."""

    link: str
    expires_at_ms: int
    sha256: str
    duration_ms: int
    size_octets: int
    gaps_ms: list[Any]


def _cdr_view(scope: Scope, row: Any) -> CdrView:
    view = masked_for(scope, view_of(row, CdrView))
    view.recorded = row.recording_path is not None
    return view


_SORTS = Sorts("-started_at_ms", "id", started_at_ms=Cdr.started_at_ms, id=Cdr.id)
_LIVE_SORTS = Sorts("started_at_ms", "id", started_at_ms=Cdr.started_at_ms, id=Cdr.id)


class CdrController(Controller):
    path = "/cdrs"
    tags = ("calls",)

    @get(
        "/",
        opt={"permission": Permission.CALLS_READ},
        dependencies=_SORTS.given,
        summary="CDRs, newest first; running calls are among them",
    )
    async def list_cdrs(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        tenant_id: QueryId = None,
        agent_id: QueryId = None,
        call_state: Annotated[CdrState | None, QueryParameter(name="state")] = None,
        from_ms: Annotated[int | None, QueryParameter(ge=0, le=INTEGER_MAX, description="Started since.")] = None,
        to_ms: Annotated[int | None, QueryParameter(ge=0, le=INTEGER_MAX, description="Started before.")] = None,
        number: Annotated[str | None, QueryParameter(max_length=40, description="A, X or B; agents: A or X.")] = None,
        answered: Annotated[bool | None, QueryParameter()] = None,
        cause: Annotated[Cause | None, QueryParameter()] = None,
    ) -> Page[CdrView]:
        of = CdrFilter(
            tenant_id=tenant_id,
            agent_id=agent_id,
            state=call_state,
            from_ms=from_ms,
            to_ms=to_ms,
            number=None if number is None else canonical(number, "number"),
            number_sides=("a", "x", "b") if sees_customers(audience) else ("a", "x"),
            answered=answered,
            cause=cause,
        )
        async with context.reading() as session:
            rows = await read_cdrs(session, audience, of, wanted)
        return page(rows, wanted, partial(_cdr_view, audience))

    @get("/{cdr_id:str}", opt={"permission": Permission.CALLS_READ}, summary="One CDR")
    async def get_cdr(self, context: GivenContext, audience: GivenScope, cdr_id: CallId) -> CdrView:
        async with context.reading() as session:
            return _cdr_view(audience, found(await read_cdr(session, audience, cdr_id), "CDR"))

    @get("/{cdr_id:str}/recording", opt={"permission": Permission.CALLS_READ}, summary="A link to a call's recording")
    async def get_recording(self, context: GivenContext, audience: GivenScope, cdr_id: CallId) -> RecordingLink:
        async with context.reading() as session:
            recording = await read_recording(session, audience, cdr_id)
            if recording is None and (gone := await read_deletion(session, audience, cdr_id)) is not None:
                raise HTTPException(status_code=410, detail=f"the recording has been deleted: {gone.reason}")
        recording = found(recording, "recording")
        link, expires_at_ms = recording_link(context, cdr_id)
        return RecordingLink(
            link,
            expires_at_ms,
            recording.sha256,
            recording.duration_ms,
            recording.size_octets,
            recording.gaps_ms,
        )


class LiveCallController(Controller):
    path = "/live-calls"
    tags = ("calls",)

    @get(
        "/",
        opt={"permission": Permission.CALLS_READ},
        dependencies=_LIVE_SORTS.given,
        summary="Calls that run at this moment, asked of the engine",
    )
    async def list_calls(self, context: GivenContext, audience: GivenScope, wanted: GivenPage) -> Page[LiveCallView]:
        tenant_id = None if isinstance(audience, Platform) else audience.tenant_id
        agents: Collection[int | None] | None = None
        if isinstance(audience, DepartmentScope):
            async with context.reading() as session:
                agents = set((await session.scalars(agents_below(audience))).all())
        elif isinstance(audience, AgentScope):
            agents = (audience.agent_id,)
        reply = await context.control.ask(ListCalls(tenant_id=tenant_id))
        if not isinstance(reply, Calls):
            raise EngineRefused(reply.reason if isinstance(reply, Failed) else "it answered something else")
        # The engine is told whose calls are wanted; what it answers is not taken on trust.
        calls = [
            call
            for call in reply.calls
            if tenant_id in (None, call.tenant_id) and (agents is None or call.agent_id in agents)
        ]
        return page(wanted.of_rows(calls), wanted, lambda call: masked_for(audience, view_of(call, LiveCallView)))

    @post(
        "/{call_id:str}/hang-up",
        opt={"permission": Permission.CALLS_WRITE},
        status_code=202,
        summary="End a running call",
    )
    async def hang_up(self, context: GivenContext, audience: GivenScope, call_id: CallId) -> None:
        reply = await context.control.ask(HangUp(call_id, **tenant_of(audience)))
        if not isinstance(reply, Done):
            raise EngineRefused(reply.reason if isinstance(reply, Failed) else "it answered something else")
        found(True if reply.found else None, "call")
