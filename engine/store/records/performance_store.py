"""How agents, their numbers and tenants did: figures from ended CDRs, each answer one statement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnClause, ColumnElement, Select, case, cast, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeEngine

from engine.store.listing import owned
from engine.store.records.cdr_store import AnyRow
from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables import Account, Agent, Cdr


def figure(name: str, kind: type[TypeEngine[Any]] = BigInteger) -> ColumnClause[Any]:
    """A column of a whole list of figures, to sort it by: they are there once its rows are grouped, and not before."""
    return literal_column(f"figures.{name}", kind)


FIGURES = {name: figure(name) for name in ("calls", "answered", "talk_ms")}


def _whole(grouped: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    return select(grouped.subquery("figures"))


def _sum(value: Any) -> ColumnElement[int]:
    # PostgreSQL's sum of bigints is a numeric.
    return cast(func.coalesce(func.sum(value), 0), BigInteger)


def _figures() -> tuple[ColumnElement[Any], ...]:
    """calls, answered, talk_ms, charge_micro. What was never answered has no talk: its difference is NULL."""
    return (
        func.count(Cdr.id).label("calls"),
        func.count(Cdr.answered_at_ms).label("answered"),
        _sum(Cdr.ended_at_ms - Cdr.answered_at_ms).label("talk_ms"),
        _sum(Cdr.charge_micro).label("charge_micro"),
    )


def _ended(from_ms: int, to_ms: int) -> ColumnElement[bool]:
    return (Cdr.state == "ended") & (Cdr.started_at_ms >= from_ms) & (Cdr.started_at_ms < to_ms)


async def number_usage(
    session: AsyncSession, scope: Scope, agent_id: int, from_ms: int, to_ms: int, wanted: PageWanted
) -> Sequence[AnyRow]:
    """x_number with its figures, of an agent's calls in a period; sorted by ``FIGURES`` and x_number."""
    statement = select(Cdr.x_number, *_figures()).where(
        within(scope, tenant=Cdr.tenant_id, agent=Cdr.agent_id),
        Cdr.agent_id == agent_id,
        _ended(from_ms, to_ms),
        Cdr.x_number.is_not(None),
    )
    return (await session.execute(wanted.of(_whole(statement.group_by(Cdr.x_number))))).all()


async def performance(
    session: AsyncSession,
    scope: Scope,
    *conditions: ColumnElement[bool],
    from_ms: int,
    to_ms: int,
    wanted: PageWanted,
) -> Sequence[AnyRow]:
    """agent_id, code, name and figures of each agent, of who made no call too; sorted by these and ``FIGURES``."""
    calls = (Cdr.agent_id == Agent.id) & (Cdr.tenant_id == Agent.tenant_id) & _ended(from_ms, to_ms)
    statement = (
        select(Agent.id.label("agent_id"), Agent.code, Agent.name, *_figures())
        .outerjoin(Cdr, calls)
        .where(owned(scope, Agent), *conditions)
        .group_by(Agent.id, Agent.code, Agent.name)
    )
    return (await session.execute(wanted.of(_whole(statement)))).all()


async def months(session: AsyncSession, scope: Scope, agent_id: int, starts_ms: Sequence[int]) -> dict[int, AnyRow]:
    """An agent's figures by month: the month's place in ``starts_ms``, whose last is the last month's end."""
    place = case(*((Cdr.started_at_ms < end, place) for place, end in enumerate(starts_ms[1:]))).label("place")
    statement = select(place, *_figures()).where(
        within(scope, tenant=Cdr.tenant_id, agent=Cdr.agent_id),
        Cdr.agent_id == agent_id,
        _ended(starts_ms[0], starts_ms[-1]),
    )
    return {row.place: row for row in await session.execute(statement.group_by("place"))}


async def accounts_of(session: AsyncSession, tenant_ids: Collection[int]) -> Sequence[Account]:
    return (await session.scalars(select(Account).where(Account.tenant_id.in_(tenant_ids)))).all()


async def tenants_since(session: AsyncSession, tenant_ids: Collection[int], from_ms: int) -> dict[int, AnyRow]:
    """calls and answered of each tenant since ``from_ms``, running ones among them."""
    statement = select(
        Cdr.tenant_id, func.count(Cdr.id).label("calls"), func.count(Cdr.answered_at_ms).label("answered")
    ).where(Cdr.tenant_id.in_(tenant_ids), Cdr.started_at_ms >= from_ms)
    return {row.tenant_id: row for row in await session.execute(statement.group_by(Cdr.tenant_id))}
