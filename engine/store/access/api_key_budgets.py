"""How often each API key may ask, whichever process it asks: a bucket of a minute's requests, filled evenly.

A process takes some requests out at a time and gives them out of its memory, so that the database is written once in
SHARE of a minute's requests and not at each.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.tables.limits import ApiKeyBudget

SHARE = 20
"""A process takes a twentieth of a minute's requests at a time."""


async def take(connection: AsyncConnection, key_id: int, per_minute_max: int, now_ms: int) -> tuple[int, int]:
    """How many requests were taken, at most a SHARE; where none was there, 0 and the milliseconds until one is.

    In a transaction of ``writing``, whose row is locked: two processes do not take the same ones.
    """
    full = per_minute_max * 1000
    where = ApiKeyBudget.api_key_id == key_id
    locked = select(ApiKeyBudget).where(where).with_for_update()
    row = (await connection.execute(locked)).one_or_none()
    if row is None:
        dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
        new = dialect.insert(ApiKeyBudget).values(api_key_id=key_id, left_milli=full, at_ms=now_ms)
        await connection.execute(new.on_conflict_do_nothing())
        row = (await connection.execute(locked)).one()
    left = min(full, row.left_milli + max(0, now_ms - row.at_ms) * per_minute_max // 60)
    taken = min(max(1, per_minute_max // SHARE), left // 1000)
    if taken == 0:
        return 0, max(1, -(-(1000 - left) * 60 // per_minute_max))
    await connection.execute(update(ApiKeyBudget).where(where).values(left_milli=left - taken * 1000, at_ms=now_ms))
    return taken, 0
