"""The time zone of a tenant's days and months: caps by the day, statements by the month."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.refusal import NotNow, Refusal
from engine.services.money.money_rules import read_rules
from engine.store.scope import Scope
from engine.store.tables.orders import ClosedMonth, MoneyRules


async def set_zone(session: AsyncSession, scope: Scope, tenant_id: int, zone: str) -> MoneyRules:
    """Of a tenant whom the caller knows to be in ``scope``; engines count the day that runs anew by it.

    Raises Refusal, and NotNow once a month is closed: the next one begins where that one ended.
    """
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refusal("zone.unknown", "zone", "is no time zone, as Asia/Shanghai is") from None
    row = await read_rules(session, scope, tenant_id)
    if row.zone != zone:
        closed = select(ClosedMonth.month).where(ClosedMonth.tenant_id == tenant_id).limit(1)
        if await session.scalar(closed) is not None:
            raise NotNow("zone.months_closed", "zone", "cannot change: months of the tenant are closed by the old one")
        row.zone = zone
    session.add(row)
    await session.flush()
    return row
