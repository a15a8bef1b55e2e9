"""What a tenant spent, by line, package or agent, each day or month of his own calendar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import String, cast, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import Refusal
from engine.store.scope import Scope, within
from engine.store.tables import Cdr, LedgerEntry, LedgerTransaction, MinutesBucket, MinutesUse
from engine.store.tables.orders import MoneyRules, Order

STEPS_MAX = 62
"""Days or months of one question; each is a query."""
ROWS_MAX = 10_000
ZONE_DEFAULT = "Asia/Shanghai"


class SpentBy(StrEnum):
    LINE = "line"
    PACKAGE = "package"
    AGENT = "agent"


class Step(StrEnum):
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Spent:
    """``of`` is the line's, package's or agent's id, None for none. Of a package: seconds used, money paid."""

    start: str  # 2026-11-03, or 2026-11
    of: int | None
    calls: int
    seconds: int
    micro: int


async def zone_of_tenant(session: AsyncSession, tenant_id: int) -> ZoneInfo:
    name = await session.scalar(select(MoneyRules.zone).where(MoneyRules.tenant_id == tenant_id))
    return ZoneInfo(name or ZONE_DEFAULT)


def steps(zone: ZoneInfo, since: date, until: date, step: Step) -> Iterator[tuple[str, int, int]]:
    """(name, from_ms, to_ms) of each day or month from ``since`` up to and not including ``until``."""
    at = since if step is Step.DAY else since.replace(day=1)
    while at < until:
        if step is Step.DAY:
            following = at + timedelta(days=1)
        else:
            following = (at.replace(day=28) + timedelta(days=4)).replace(day=1)
        name = at.isoformat() if step is Step.DAY else at.isoformat()[:7]
        yield name, midnight_ms(zone, at), midnight_ms(zone, following)
        at = following


def midnight_ms(zone: ZoneInfo, day: date) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


async def read_spending(
    session: AsyncSession, scope: Scope, tenant_id: int, by: SpentBy, step: Step, since: date, until: date
) -> list[Spent]:
    """Calls count where they began, orders where they were carried out. Refusal where too many steps are asked for."""
    zone = await zone_of_tenant(session, tenant_id)
    periods = list(_bounded(steps(zone, since, until, step)))
    spent: list[Spent] = []
    for name, from_ms, to_ms in periods:
        if by is SpentBy.PACKAGE:
            rows = await _by_package(session, scope, tenant_id, from_ms, to_ms)
        else:
            rows = await _by_calls(session, scope, tenant_id, by, from_ms, to_ms)
        spent += [Spent(name, *row) for row in rows]
        if len(spent) > ROWS_MAX:
            raise Refusal("too_much", "until", "is too far away: ask for less at once")
    return spent


def _bounded(periods: Iterator[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
    for number, period in enumerate(periods):
        if number >= STEPS_MAX:
            raise Refusal("too_much", "until", f"is more than {STEPS_MAX} days or months away")
        yield period


async def _by_calls(
    session: AsyncSession, scope: Scope, tenant_id: int, by: SpentBy, from_ms: int, to_ms: int
) -> Sequence[Any]:
    column: Any = Cdr.line_id if by is SpentBy.LINE else Cdr.agent_id
    statement = (
        select(column, func.count(), func.sum(Cdr.billed_seconds), func.sum(Cdr.charge_micro))
        .where(
            within(scope, tenant=Cdr.tenant_id, agent=Cdr.agent_id),
            Cdr.tenant_id == tenant_id,
            Cdr.started_at_ms >= from_ms,
            Cdr.started_at_ms < to_ms,
            Cdr.state == "ended",
        )
        .group_by(column)
        .order_by(column)
    )
    return [(row[0], row[1], int(row[2] or 0), int(row[3] or 0)) for row in await session.execute(statement)]


async def _by_package(
    session: AsyncSession, scope: Scope, tenant_id: int, from_ms: int, to_ms: int
) -> Sequence[tuple[int, int, int, int]]:
    buying = Order.kind.in_(["purchase", "renewal"])
    used = await session.execute(
        select(Order.package_id, func.count(), func.sum(MinutesUse.seconds))
        .join(MinutesBucket, MinutesBucket.id == MinutesUse.bucket_id)
        .join(Order, (Order.bucket_id == MinutesBucket.id) & buying)
        .where(
            within(scope, tenant=MinutesBucket.tenant_id, agent=MinutesBucket.agent_id),
            MinutesBucket.tenant_id == tenant_id,
            MinutesUse.created_at_ms >= from_ms,
            MinutesUse.created_at_ms < to_ms,
            # What an order took back was not talked.
            MinutesUse.cdr_id.not_like("order:%"),
        )
        .group_by(Order.package_id)
    )
    paid = await session.execute(
        select(Order.package_id, func.sum(-LedgerEntry.amount_micro))
        .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
        .join(
            Order,
            (Order.tenant_id == tenant_id)
            & (LedgerTransaction.cause_id == literal("order:").concat(cast(Order.id, String(20)))),
        )
        .where(
            within(scope, tenant=Order.tenant_id, agent=Order.agent_id),
            LedgerEntry.account_id == tenant_id,
            LedgerTransaction.kind.in_(["package", "package_refund"]),
            LedgerTransaction.created_at_ms >= from_ms,
            LedgerTransaction.created_at_ms < to_ms,
        )
        .group_by(Order.package_id)
    )
    talked = {row[0]: (row[1], int(row[2])) for row in used}
    money = {row[0]: int(row[1]) for row in paid}
    return [(of, *talked.get(of, (0, 0)), money.get(of, 0)) for of in sorted(talked.keys() | money.keys())]
