"""Calls credit back from engines that have leased it ahead, for somebody who is not an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import reading, writing
from engine.store.money.lease_store import FREE, want, want_no_more
from engine.store.tables import Account

RECALL_SECONDS_MAX = 1.5
"""Several of the engines' polls, as ``engine.runtime.credit.lease_desk`` waits for each other's credit."""
RECALL_POLL_SECONDS = 0.1
NOBODY = ""
"""Instead of an engine's id: all engines are the others."""


async def call_back_credit(database: AsyncEngine, tenant_id: int, short_micro: int, now_ms: Callable[[], int]) -> bool:
    """Waits until ``short_micro`` more is free than now; False where engines do not give back so much in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + RECALL_SECONDS_MAX
    free = select(FREE).where(Account.tenant_id == tenant_id)
    async with reading(database) as connection:
        wanted_micro = (await connection.scalar(free) or 0) + short_micro
    async with writing(database) as connection:
        if not await want(connection, NOBODY, tenant_id, short_micro, now_ms()):
            return False
    try:
        while loop.time() < deadline:
            await asyncio.sleep(RECALL_POLL_SECONDS)
            async with reading(database) as connection:
                if (await connection.scalar(free) or 0) >= wanted_micro:
                    return True
        return False
    finally:
        async with writing(database) as connection:
            await want_no_more(connection, tenant_id, short_micro)
