"""Prices a period's calls again by the sell plans as they are now, and by what carriers took then.

First there is a preview of who gains and loses, then it is done for good.

Applied, it brings the calls' records to their new charge and gives each tenant one correction in the ledger, in one
transaction: records and ledger add up to the same before and after, and done again it changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, bindparam, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from engine.domain.cause import Cause
from engine.domain.lines.routing import Direction
from engine.domain.money.charging import Charge
from engine.domain.money.tariffs import UNPRICED, plan_of
from engine.services.rating.rate_history import read_histories
from engine.services.rating.rating import FinishedCall, rate_call
from engine.store.money.ledger_store import KeyReused, correct
from engine.store.money.rate_store import read_newest
from engine.store.tables import Cdr, Trunk

PAGE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Period:
    """Calls that began from ``from_ms`` up to and not including ``to_ms``; of one tenant or, with None, of all."""

    from_ms: int
    to_ms: int
    tenant_id: int | None = None


@dataclass(slots=True)
class Difference:
    """What a period's answered calls of one tenant cost, and would cost."""

    calls: int = 0
    unpriced: int = 0
    """Of them, those that the plans have no price for by now: they stay as they are."""
    old_micro: int = 0
    new_micro: int = 0

    @property
    def difference_micro(self) -> int:
        """Above zero where the tenant pays more."""
        return self.new_micro - self.old_micro


@dataclass(slots=True)
class _Repriced:
    by_tenant: dict[int, Difference] = field(default_factory=dict)
    changed: list[dict[str, Any]] = field(default_factory=list)


async def preview_rerating(connection: AsyncConnection, period: Period) -> dict[int, Difference]:
    """By tenant, what rerating would do. Nothing is written."""
    return (await _reprice(connection, period, keep=False)).by_tenant


async def apply_rerating(session: AsyncSession, period: Period, key: str, now_ms: int) -> dict[int, Difference]:
    """Rerates for good and returns what it did. Committed, or not, with the session's transaction.

    ``key`` names this rerating in the ledger. Raises KeyReused where it has named another one before.
    """
    connection = await session.connection()
    repriced = await _reprice(connection, period, keep=True)
    for start in range(0, len(repriced.changed), PAGE_ROWS):
        await connection.execute(_BRING_TO_CHARGE, repriced.changed[start : start + PAGE_ROWS])
    for tenant_id, difference in sorted(repriced.by_tenant.items()):
        if difference.difference_micro:
            # The balance falls by what the tenant pays more.
            amount_micro = -difference.difference_micro
            if not await correct(session, tenant_id, amount_micro, f"rerate:{key}", now_ms, "rerating"):
                raise KeyReused(key)  # for the same amount, by chance: these records' difference is not in the ledger
    return repriced.by_tenant


async def _reprice(connection: AsyncConnection, period: Period, *, keep: bool) -> _Repriced:
    plans = {each.id: plan_of(each) for each in await read_newest(connection)}
    histories = await read_histories(connection)
    rows = await connection.execute(select(Trunk.id, Trunk.buy_rate_id))
    buy_rate_of: dict[int, int | None] = {row.id: row.buy_rate_id for row in rows}
    repriced = _Repriced()
    async for page in _answered_calls(connection, period):
        for row in page:
            difference = repriced.by_tenant.setdefault(row.tenant_id, Difference())
            difference.calls += 1
            difference.old_micro += row.charge_micro
            buy_rate_id = buy_rate_of.get(row.trunk_id)
            buy = None
            if buy_rate_id is not None:
                # What the carrier took is what it took then, whatever it takes by now.
                history = histories.get(buy_rate_id)
                buy = UNPRICED if history is None else history.in_force(row.started_at_ms)
            charge = rate_call(plans.get(row.rate_id, UNPRICED), buy, _finished(row))
            if isinstance(charge, Cause):
                difference.unpriced += 1
                difference.new_micro += row.charge_micro
                continue
            difference.new_micro += charge.charge_micro
            if keep and _differs(row, charge):
                repriced.changed.append(_new_values(row, charge, plans[row.rate_id].version))
    return repriced


async def _answered_calls(
    connection: AsyncConnection, period: Period
) -> AsyncIterator[Sequence[Row[*tuple[Any, ...]]]]:
    """Page by page, by keys: the ended calls that were had and have a tenant and a plan."""
    after: tuple[int, str] | None = None
    while True:
        statement = (
            select(*Cdr.__table__.columns)
            .where(
                Cdr.started_at_ms >= period.from_ms,
                Cdr.started_at_ms < period.to_ms,
                Cdr.state == "ended",
                # Of a callback call the agent's leg was had, whether or not the customer answered.
                Cdr.answered_at_ms.is_not(None) | Cdr.first_leg_ms.is_not(None),
                Cdr.tenant_id.is_not(None),
                Cdr.rate_id.is_not(None),
            )
            .order_by(Cdr.started_at_ms, Cdr.id)
            .limit(PAGE_ROWS)
        )
        if period.tenant_id is not None:
            statement = statement.where(Cdr.tenant_id == period.tenant_id)
        if after is not None:
            statement = statement.where(tuple_(Cdr.started_at_ms, Cdr.id) > after)
        page = (await connection.execute(statement)).all()
        if not page:
            return
        yield page
        after = (page[-1].started_at_ms, page[-1].id)


def _finished(row: Row[*tuple[Any, ...]]) -> FinishedCall:
    direction = Direction(row.direction)
    called = row.b_number if direction is Direction.A_TO_B else row.a_number
    return FinishedCall(
        direction=direction,
        called_number=called,
        started_at_ms=row.started_at_ms,
        talk_ms=0 if row.answered_at_ms is None else row.ended_at_ms - row.answered_at_ms,
        package_seconds=row.package_seconds,
        first_leg_ms=row.first_leg_ms,
        agent_number=row.a_number or "",
    )


def _differs(row: Row[*tuple[Any, ...]], charge: Charge) -> bool:
    return (row.billed_seconds, row.charge_micro, row.cost_micro) != (
        charge.billed_seconds,
        charge.charge_micro,
        charge.cost_micro,
    )


def _new_values(row: Row[*tuple[Any, ...]], charge: Charge, version: int | None) -> dict[str, Any]:
    return {
        "of": row.id,
        "billed": charge.billed_seconds,
        "charge": charge.charge_micro,
        "cost": charge.cost_micro,
        "corrected": (row.corrected_micro or 0) + charge.charge_micro - row.charge_micro,
        "newest": version,
    }


_BRING_TO_CHARGE = (
    update(Cdr.__table__)  # type: ignore[arg-type]  # a mapped class's table is a Table, its stub says less
    .where(Cdr.__table__.c.id == bindparam("of"))
    .values(
        billed_seconds=bindparam("billed"),
        charge_micro=bindparam("charge"),
        cost_micro=bindparam("cost"),
        corrected_micro=bindparam("corrected"),
        rate_version=bindparam("newest"),
    )
)
