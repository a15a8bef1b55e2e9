"""An agent leaves: what he has goes to another or back to the pools; seen before, done at once, undone for a day."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, get, post
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from admin_api.common.context import GivenContext, GivenScope
from admin_api.common.fields import RowId
from admin_api.common.paging import BeforeMs, GivenPage, Id, Page, QueryId, SinceMs, Sorts, between, equal, page
from admin_api.resources.suspension import Suspension, cut_calls
from engine.domain.people.permission import Permission
from engine.services.staff.offboarding import UNDO_MS, offboard, plan_offboarding, read_offboarding, undo_offboarding
from engine.store.offboarding_store import read_offboardings
from engine.store.tables.offboarding import Offboarding

MOVES_SHOWN_MAX = 500

_READ, _WRITE = {"permission": Permission.AGENTS_READ}, {"permission": Permission.AGENTS_WRITE}
OffboardingId = Annotated[str, PathParameter(max_length=32, pattern=r"^[A-Za-z0-9]+\Z")]


class Successor(msgspec.Struct, forbid_unknown_fields=True):
    """Without ``successor_id`` everything goes back to the tenant's pools."""

    successor_id: RowId | None = None


class MoveView(msgspec.Struct):
    """``to`` is what becomes of the thing: another agent's, back in the pool, or ended."""

    kind: str
    key: str
    to: Literal["successor", "pool", "ended"]


class OffboardingPlan(msgspec.Struct):
    """Nothing has changed yet. ``token`` carries out exactly this; ``moves`` are the first MOVES_SHOWN_MAX."""

    token: str
    agent_id: int
    successor_id: int | None
    counts: dict[str, int]
    moves: list[MoveView]


class NewOffboarding(msgspec.Struct, forbid_unknown_fields=True):
    """``token`` and ``successor_id`` as in the preview; ``running_calls`` of the leaver finish, or are cut."""

    token: Annotated[str, Meta(max_length=64)]
    successor_id: RowId | None = None
    running_calls: Literal["finish", "cut"] = "finish"


class OffboardingView(msgspec.Struct):
    id: str
    agent_id: int
    successor_id: int | None
    counts: dict[str, int]
    moves: list[MoveView]
    applied_at_ms: int
    undone_at_ms: int | None
    undo_until_ms: int
    calls_cut: int | None = None


def _moves(moves: list[dict[str, Any]]) -> list[MoveView]:
    views = []
    for move in moves:
        to: Literal["successor", "pool", "ended"] = "ended"
        if move["after"] is not None and "agent_id" in move["after"]:
            to = "pool" if move["after"]["agent_id"] is None else "successor"
        views.append(MoveView(move["kind"], "/".join(map(str, move["key"])), to))
    return views


def _view(row: Any, moves_max: int = MOVES_SHOWN_MAX, calls_cut: int | None = None) -> OffboardingView:
    counts: dict[str, int] = {}
    for move in row.moves:
        counts[move["kind"]] = counts.get(move["kind"], 0) + 1
    counts.pop("agent", None)
    return OffboardingView(
        id=row.id,
        agent_id=row.agent_id,
        successor_id=row.successor_id,
        counts=counts,
        moves=_moves(row.moves[:moves_max]),
        applied_at_ms=row.applied_at_ms,
        undone_at_ms=row.undone_at_ms,
        undo_until_ms=row.applied_at_ms + UNDO_MS,
        calls_cut=calls_cut,
    )


_SORTS = Sorts("-applied_at_ms", "id", applied_at_ms=Offboarding.applied_at_ms, id=Offboarding.id)


class OffboardingController(Controller):
    tags = ("agents",)

    @post("/agents/{agent_id:int}/offboarding-preview", opt=_WRITE, status_code=200, summary="What would go where")
    async def preview(
        self, context: GivenContext, audience: GivenScope, agent_id: Id, data: JSONBody[Successor]
    ) -> OffboardingPlan:
        async with context.reading() as session:
            plan = await plan_offboarding(session, audience, agent_id, data.successor_id, context.now_ms())
            moves = [msgspec.to_builtins(move) for move in plan.moves[:MOVES_SHOWN_MAX]]
        return OffboardingPlan(plan.token, agent_id, data.successor_id, plan.counts(), _moves(moves))

    @post("/agents/{agent_id:int}/offboarding", opt=_WRITE, summary="Let an agent leave, as it was previewed")
    async def offboard(
        self, context: GivenContext, audience: GivenScope, agent_id: Id, data: JSONBody[NewOffboarding]
    ) -> OffboardingView:
        async with context.writing() as session:
            row = await offboard(
                session,
                audience,
                agent_id,
                data.successor_id,
                token=data.token,
                offboarding_id=context.new_id(),
                now_ms=context.now_ms(),
            )
        cut = await cut_calls(context, Suspension(data.running_calls), row.tenant_id, agent_id)
        return _view(row, calls_cut=cut.calls_cut)

    @get("/offboardings", opt=_READ, dependencies=_SORTS.given, summary="Who left, newest first")
    async def list_offboardings(
        self,
        context: GivenContext,
        audience: GivenScope,
        wanted: GivenPage,
        agent_id: QueryId = None,
        from_ms: SinceMs = None,
        to_ms: BeforeMs = None,
    ) -> Page[OffboardingView]:
        conditions = equal((Offboarding.agent_id, agent_id)) + between(Offboarding.applied_at_ms, from_ms, to_ms)
        async with context.reading() as session:
            rows = await read_offboardings(session, audience, *conditions, wanted=wanted)
        return page(rows, wanted, partial(_view, moves_max=0))

    @get("/offboardings/{offboarding_id:str}", opt=_READ, summary="One offboarding, with what went where")
    async def get_offboarding(
        self, context: GivenContext, audience: GivenScope, offboarding_id: OffboardingId
    ) -> OffboardingView:
        async with context.reading() as session:
            return _view(await read_offboarding(session, audience, offboarding_id))

    @post("/offboardings/{offboarding_id:str}/undo", opt=_WRITE, status_code=200, summary="Give everything back")
    async def undo(self, context: GivenContext, audience: GivenScope, offboarding_id: OffboardingId) -> OffboardingView:
        async with context.writing() as session:
            return _view(await undo_offboarding(session, audience, offboarding_id, context.now_ms()))
