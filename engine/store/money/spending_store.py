"""What calls were charged since a day's start."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.domain.cdr import CdrState
from engine.store.tables import Cdr

CALL_LASTS_MS_MAX = 24 * 3600 * 1000
"""Calls are found by when they began; what began longer before the day counts on the day before."""


async def read_charged(connection: AsyncConnection, tenant_id: int, since_ms: int) -> dict[int | None, int]:
    """Micro-units by agent (None: of none) of a tenant's calls that ended from ``since_ms`` on, as first charged."""
    statement = (
        select(Cdr.agent_id, func.sum(Cdr.charge_micro - func.coalesce(Cdr.corrected_micro, 0)))
        .where(
            Cdr.tenant_id == tenant_id,
            Cdr.started_at_ms >= since_ms - CALL_LASTS_MS_MAX,
            Cdr.ended_at_ms >= since_ms,
            Cdr.state == CdrState.ENDED,
        )
        .group_by(Cdr.agent_id)
    )
    return {agent_id: int(charged_micro) for agent_id, charged_micro in await connection.execute(statement)}
