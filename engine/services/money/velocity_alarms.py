"""Alarms of too many calls or too much money at once: looked at by people, who let calls go on."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import NotNow
from engine.store.scope import Platform, Scope, within
from engine.store.tables.velocity import VelocityAlarm


async def read_alarm(session: AsyncSession, scope: Scope, alarm_id: int) -> VelocityAlarm | None:
    """None where there is none in ``scope``."""
    alarm: VelocityAlarm | None = await session.scalar(
        select(VelocityAlarm).where(
            VelocityAlarm.id == alarm_id, within(scope, tenant=VelocityAlarm.tenant_id, agent=None)
        )
    )
    return alarm


def refuse_not_his(scope: Scope, alarm: VelocityAlarm) -> None:
    """Raises NotNow where an alarm keeps a whole tenant from calling: it is then the platform's to let him go on."""
    if alarm.stops_calls and alarm.agent_id is None and not isinstance(scope, Platform):
        raise NotNow("alarm.platform_only", "alarm_id", "stops all of your calls: the platform acknowledges it")


async def acknowledge(session: AsyncSession, alarm: VelocityAlarm, by: str, note: str, now_ms: int) -> None:
    """Somebody has looked: calls go on, where it stopped them. Raises NotNow where somebody has before."""
    if alarm.acknowledged_at_ms is not None:
        raise NotNow("wrong_state", "acknowledged_at_ms", "is acknowledged already")
    alarm.acknowledged_at_ms, alarm.acknowledged_by, alarm.note = now_ms, by, note
    await session.flush()
