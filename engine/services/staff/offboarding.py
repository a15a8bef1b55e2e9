"""An agent leaves: all that is his goes to another, or back to the pools, in one transaction; for a day it is undone.

First a plan, which changes nothing and has a token; then the plan is carried out, if it is still the same. What an undo
needs is kept with it. Sessions that write take turns, so that what was planned is what is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import NotNow, NotThere, Refusal
from engine.services.access.sessions import EndReason, end_sessions
from engine.services.staff.agents import agent_of
from engine.services.staff.belongings import BELONGINGS, Belonging, Leaving
from engine.store.scope import Scope, within
from engine.store.tables import Agent, Table, User
from engine.store.tables.offboarding import Offboarding

UNDO_MS = 24 * 3600 * 1000
MOVES_MAX = 10_000
"""Rows of one offboarding; it holds the writer's place meanwhile."""
TAKEN_SHOWN_MAX = 100

_KINDS = {belonging.kind: belonging for belonging in BELONGINGS}


@dataclass(frozen=True, slots=True)
class Move:
    """A row's columns before and after; ``after`` is None where the row is deleted."""

    kind: str
    key: list[Any]
    before: dict[str, Any]
    after: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Plan:
    leaving: Leaving
    moves: tuple[Move, ...]
    token: str

    def counts(self) -> dict[str, int]:
        """How many of each kind, those of which there is nothing too."""
        return {kind: sum(move.kind == kind for move in self.moves) for kind in _KINDS if kind != "agent"}


class TakenMeanwhile(NotNow):
    """An undo would take from somebody what he has been given since; ``more`` holds (kind/key, why)."""

    def __init__(self, taken: Sequence[tuple[str, str]]) -> None:
        super().__init__("offboarding.taken", "offboarding", "somebody else has what it would restore")
        self.more = tuple(taken[:TAKEN_SHOWN_MAX])


async def plan_offboarding(
    session: AsyncSession, scope: Scope, agent_id: int, successor_id: int | None, now_ms: int
) -> Plan:
    """What would go where. Raises NotThere, Refusal."""
    agent = await agent_of(session, scope, agent_id)
    if agent.status == "left":
        raise NotNow("agent.left", "agent_id", "has left already", ["undo the offboarding"])
    if successor_id is not None:
        await _check_successor(session, agent, successor_id)
    leaving = Leaving(agent, successor_id, now_ms)
    moves: list[Move] = []
    for belonging in BELONGINGS:
        rows = await session.scalars(select(belonging.table).where(belonging.his(leaving)).limit(MOVES_MAX + 1))
        moves += [_move(belonging, row, leaving) for row in rows]
    if len(moves) > MOVES_MAX:
        raise NotNow("offboarding.too_much", "agent_id", f"has more than {MOVES_MAX} things", ["hand some over first"])
    moves.sort(key=lambda move: (list(_KINDS).index(move.kind), move.key))
    facts = [agent_id, successor_id, [(move.kind, move.key, move.before) for move in moves]]
    return Plan(leaving, tuple(moves), hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest())


async def _check_successor(session: AsyncSession, agent: Agent, successor_id: int) -> None:
    successor = await session.scalar(
        select(Agent.id).where(
            Agent.id == successor_id,
            Agent.id != agent.id,
            Agent.tenant_id == agent.tenant_id,
            Agent.status == "active",
        )
    )
    if successor is None:
        raise Refusal("agent.unknown", "successor_id", "is no other active agent of the tenant")


def _key(row: Table) -> list[Any]:
    return list(inspect(row).mapper.primary_key_from_instance(row))


def _move(belonging: Belonging, row: Table, leaving: Leaving) -> Move:
    if belonging.change is None:
        return Move(
            belonging.kind, _key(row), {column.key: getattr(row, column.key) for column in row.__table__.columns}, None
        )
    after = belonging.change(leaving)
    before = {name: getattr(row, name) for name in (*after, *belonging.same)}
    return Move(belonging.kind, _key(row), before, after)


async def offboard(
    session: AsyncSession,
    scope: Scope,
    agent_id: int,
    successor_id: int | None,
    *,
    token: str,
    offboarding_id: str,
    now_ms: int,
) -> Offboarding:
    """Carries out the plan that ``token`` is of. Raises NotThere, Refusal; NotNow where the plan is another by now."""
    plan = await plan_offboarding(session, scope, agent_id, successor_id, now_ms)
    if plan.token != token:
        raise NotNow(
            "offboarding.changed", "token", "what the agent has is no longer what was shown", ["preview it again"]
        )
    for move in plan.moves:
        belonging = _KINDS[move.kind]
        row = await session.get_one(belonging.table, tuple(move.key))
        if move.after is None:
            await session.delete(row)
        else:
            for name, value in move.after.items():
                setattr(row, name, value)
        await session.flush()
        await belonging.changed(session, row, move.before, now_ms)
    for user_id in (await session.scalars(select(User.id).where(User.agent_id == agent_id))).all():
        await end_sessions(session, user_id, now_ms, EndReason.EVERYWHERE)
    offboarding = Offboarding(
        id=offboarding_id,
        tenant_id=plan.leaving.agent.tenant_id,
        agent_id=agent_id,
        successor_id=successor_id,
        moves=[asdict(move) for move in plan.moves],
        applied_at_ms=now_ms,
    )
    session.add(offboarding)
    await session.flush()
    return offboarding


async def read_offboarding(session: AsyncSession, scope: Scope, offboarding_id: str) -> Offboarding:
    """Raises NotThere."""
    owned = within(scope, tenant=Offboarding.tenant_id, agent=None)
    offboarding = await session.scalar(select(Offboarding).where(Offboarding.id == offboarding_id, owned))
    if offboarding is None:
        raise NotThere("offboarding")
    return offboarding


async def undo_offboarding(session: AsyncSession, scope: Scope, offboarding_id: str, now_ms: int) -> Offboarding:
    """Gives everything back. Raises NotThere, NotNow, and TakenMeanwhile, which says what; then nothing is done.

    Sessions that were ended stay ended, and minutes that were used meanwhile stay used.
    """
    offboarding = await read_offboarding(session, scope, offboarding_id)
    if offboarding.undone_at_ms is not None:
        raise NotNow("offboarding.undone", "offboarding", "has been undone already")
    if now_ms > offboarding.applied_at_ms + UNDO_MS:
        raise NotNow("offboarding.too_late", "offboarding", "is more than a day old")
    moves = [Move(**move) for move in offboarding.moves]
    rows = [await session.get(_KINDS[move.kind].table, tuple(move.key)) for move in moves]
    taken = []
    for move, row in zip(moves, rows, strict=True):
        if (why := await _why_not(session, move, row, now_ms)) is not None:
            taken.append((f"{move.kind}/{'/'.join(map(str, move.key))}", why))
    if taken:
        raise TakenMeanwhile(taken)
    for move, row in zip(moves, rows, strict=True):
        belonging = _KINDS[move.kind]
        if row is None:
            session.add(row := belonging.table(**move.before))
        else:
            for name in move.after or ():
                setattr(row, name, move.before[name])
        await session.flush()
        await belonging.restored(session, row, move.after or {}, now_ms)
    offboarding.undone_at_ms = now_ms
    await session.flush()
    return offboarding


async def _why_not(session: AsyncSession, move: Move, row: Table | None, now_ms: int) -> str | None:
    """Why a move cannot be undone; None where it can."""
    belonging = _KINDS[move.kind]
    if move.after is None:
        return await _gone_below(session, belonging, move) if row is None else "is there again"
    if row is None:
        return "is gone"
    if any(getattr(row, name) != value for name, value in move.after.items()):
        return "has gone to somebody else since"
    if any(getattr(row, name) != move.before[name] for name in belonging.same):
        return "has been changed since"
    return None if await belonging.can_restore(session, row, move.before, now_ms) else "has been taken by somebody else"


async def _gone_below(session: AsyncSession, belonging: Belonging, move: Move) -> str | None:
    """Why a deleted row cannot be made again: what it refers to is gone."""
    for key in belonging.table.__table__.foreign_keys:
        column, value = key.column, move.before[key.parent.key]
        if value is not None and await session.scalar(select(column).where(column == value)) is None:
            return "refers to what is gone"
    return None
