"""Engines' windows, days' fastest ones, and the alarms: what the velocity alarm keeps in the database (ADR 18)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from engine.domain.money.spend_cap import Spender
from engine.domain.money.velocity import DAYS_MAX, Excess, Velocity
from engine.store.money.notice_store import NoticeKind, notice
from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables import Table
from engine.store.tables.velocity import VelocityAlarm, VelocityDay, VelocityWindow

SHARED_MS = 15_000
"""An engine's windows that are older are not counted: it says nothing more, or has stopped."""
GONE_MS = 3600 * 1000
DAYS_KEPT_MS = 60 * 24 * 3600 * 1000
QUIET_MS = 15 * 60 * 1000
"""After somebody has acknowledged an alarm, so long none is raised for the same spender: what raised it is in the
window yet, and in the next one if he has let calls go on."""
ALARMS_KEPT_MS = 400 * 24 * 3600 * 1000
"""After somebody has acknowledged them: a year and the month in which it is looked back upon (ADR 22)."""
PRUNED_ALARMS_MAX = 5_000
"""That one pruning deletes at most: it must not hold the writer's place for long."""
SPENDERS_IN_STATEMENT_MAX = 200
_WHOLE = 0


async def share_windows(
    connection: AsyncConnection, engine_id: str, windows: Mapping[Spender, Velocity], now_ms: int
) -> dict[Spender, Velocity]:
    """Writes down what this engine's calls did, and returns what all engines' did, for the same spenders."""
    if windows:
        rows = [
            {
                "engine_id": engine_id,
                "tenant_id": spender.tenant_id,
                "agent_id": spender.agent_id or _WHOLE,
                "attempts": velocity.attempts,
                "spent_micro": velocity.spent_micro,
                "at_ms": now_ms,
            }
            for spender, velocity in sorted(windows.items(), key=lambda each: _key(each[0]))
        ]
        new = _upsert(connection, VelocityWindow)
        keys = ["engine_id", "tenant_id", "agent_id"]
        values = {name: new.excluded[name] for name in ("attempts", "spent_micro", "at_ms")}
        await connection.execute(new.on_conflict_do_update(index_elements=keys, set_=values), rows)
    # Our own alone: who deleted others' rows, while they write them and delete ours, could meet them in a deadlock.
    own = VelocityWindow.engine_id == engine_id
    await connection.execute(delete(VelocityWindow).where(own, VelocityWindow.at_ms < now_ms))
    theirs = VelocityWindow.tenant_id, VelocityWindow.agent_id, VelocityWindow.attempts, VelocityWindow.spent_micro
    others = select(*theirs).where(~own, VelocityWindow.at_ms > now_ms - SHARED_MS)
    total = dict(windows)
    for tenant_id, agent_id, attempts, spent_micro in await connection.execute(others):
        spender = Spender(tenant_id, agent_id or None)
        if spender in total:
            total[spender] += Velocity(attempts, spent_micro)
    return total


async def raise_peaks(connection: AsyncConnection, peaks: Mapping[Spender, tuple[int, Velocity]]) -> None:
    """``peaks``: by spender, the start of his day and the fastest window of it so far; a lower one changes nothing."""
    if not peaks:
        return
    rows = [
        {
            "tenant_id": spender.tenant_id,
            "agent_id": spender.agent_id or _WHOLE,
            "starts_at_ms": starts_at_ms,
            "attempts": velocity.attempts,
            "spent_micro": velocity.spent_micro,
        }
        for spender, (starts_at_ms, velocity) in sorted(peaks.items(), key=lambda each: _key(each[0]))
    ]
    new = _upsert(connection, VelocityDay)
    highest = func.max if connection.dialect.name == "sqlite" else func.greatest
    values = {name: highest(getattr(VelocityDay, name), new.excluded[name]) for name in ("attempts", "spent_micro")}
    keys = ["tenant_id", "agent_id", "starts_at_ms"]
    await connection.execute(new.on_conflict_do_update(index_elements=keys, set_=values), rows)


async def read_peaks(connection: AsyncConnection, spenders: Mapping[Spender, int]) -> dict[Spender, Sequence[Velocity]]:
    """Of each spender, the fastest windows of his latest DAYS_MAX days before the one that begins at the given time."""
    found: dict[Spender, list[Velocity]] = {spender: [] for spender in spenders}
    wanted = sorted(spenders, key=_key)
    keys = tuple_(VelocityDay.tenant_id, VelocityDay.agent_id)
    for start in range(0, len(wanted), SPENDERS_IN_STATEMENT_MAX):
        chunk = wanted[start : start + SPENDERS_IN_STATEMENT_MAX]
        day = VelocityDay.starts_at_ms, VelocityDay.attempts, VelocityDay.spent_micro
        statement = select(VelocityDay.tenant_id, VelocityDay.agent_id, *day).where(
            keys.in_([_key(spender) for spender in chunk])
        )
        rows = await connection.execute(statement.order_by(VelocityDay.starts_at_ms.desc()))
        for tenant_id, agent_id, starts_at_ms, attempts, spent_micro in rows:
            spender = Spender(tenant_id, agent_id or None)
            if starts_at_ms < spenders[spender] and len(found[spender]) < DAYS_MAX:
                found[spender].append(Velocity(attempts, spent_micro))
    return dict(found)


async def prune_velocity(connection: AsyncConnection, now_ms: int) -> int:
    """Deletes days older than DAYS_KEPT_MS, and windows of engines that are gone; the count of them."""
    days = delete(VelocityDay).where(VelocityDay.starts_at_ms < now_ms - DAYS_KEPT_MS)
    windows = delete(VelocityWindow).where(VelocityWindow.at_ms < now_ms - GONE_MS)
    return (await connection.execute(days)).rowcount + (await connection.execute(windows)).rowcount


async def prune_alarms(connection: AsyncConnection, now_ms: int) -> int:
    """Deletes up to PRUNED_ALARMS_MAX that were acknowledged more than ALARMS_KEPT_MS ago; how many.

    An open one stays, whatever its age: it may stop calls, and there is one for each spender at most. Engines know open
    ones alone, so that the change feed need not say that an old one has gone.
    """
    old = select(VelocityAlarm.id).where(VelocityAlarm.acknowledged_at_ms < now_ms - ALARMS_KEPT_MS)
    some = old.order_by(VelocityAlarm.acknowledged_at_ms).limit(PRUNED_ALARMS_MAX)
    return (await connection.execute(delete(VelocityAlarm).where(VelocityAlarm.id.in_(some)))).rowcount


async def raise_alarm(
    session: AsyncSession, spender: Spender, excess: Excess, *, stops_calls: bool, now_ms: int
) -> VelocityAlarm | None:
    """The alarm, with a notice and news for webhooks; None where one is open, or was acknowledged just now.

    In a ``writing_session``: two engines that see the same do not both raise it. Engines hear of it by the feed.
    """
    latest = await session.scalar(
        select(VelocityAlarm)
        .where(
            VelocityAlarm.tenant_id == spender.tenant_id,
            VelocityAlarm.agent_id.is_(None)
            if spender.agent_id is None
            else VelocityAlarm.agent_id == spender.agent_id,
        )
        .order_by(VelocityAlarm.id.desc())
        .limit(1)
    )
    if latest is not None and (latest.acknowledged_at_ms is None or now_ms - latest.acknowledged_at_ms < QUIET_MS):
        return None
    alarm = VelocityAlarm(tenant_id=spender.tenant_id, agent_id=spender.agent_id, raised_at_ms=now_ms)
    alarm.measure, alarm.limited_by = excess.measure, excess.limited_by
    alarm.value, alarm.limit, alarm.usual = excess.value, excess.limit, excess.usual
    alarm.stops_calls = stops_calls
    session.add(alarm)
    await session.flush()
    content = {
        "alarm_id": alarm.id,
        "agent_id": alarm.agent_id,
        "measure": alarm.measure,
        "limited_by": alarm.limited_by,
        "value": alarm.value,
        "limit": alarm.limit,
        "usual": alarm.usual,
        "stops_calls": alarm.stops_calls,
    }
    await notice(
        await session.connection(), NoticeKind.VELOCITY, alarm.tenant_id, f"velocity-{alarm.id}", content, now_ms
    )
    return alarm


async def read_alarms(
    session: AsyncSession, scope: Scope, *conditions: ColumnElement[bool], wanted: PageWanted
) -> Sequence[VelocityAlarm]:
    mine = within(scope, tenant=VelocityAlarm.tenant_id, agent=None)
    return (await session.scalars(wanted.of(select(VelocityAlarm).where(mine, *conditions)))).all()


def _key(spender: Spender) -> tuple[int, int]:
    return spender.tenant_id, spender.agent_id or _WHOLE


def _upsert(connection: AsyncConnection, table: type[Table]) -> Any:
    """An INSERT that knows ON CONFLICT: both databases have it, under one name each."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
