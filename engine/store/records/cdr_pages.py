"""All CDRs of a filter, page by page: what an export or a reconciliation reads, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import reading
from engine.store.records.cdr_store import AnyRow, CdrFilter, newest_first, read_cdrs
from engine.store.scope import Scope, within
from engine.store.sorting import PAGE_ROWS_MAX
from engine.store.tables import Cdr


async def count_cdrs(database: AsyncEngine, scope: Scope, wanted: CdrFilter, rows_max: int) -> int:
    """How many there are; no more than ``rows_max`` + 1 are counted."""
    some = select(Cdr.id).where(within(scope, tenant=Cdr.tenant_id, agent=Cdr.agent_id), *wanted.conditions())
    async with reading(database) as connection:
        counted = await connection.scalar(select(func.count()).select_from(some.limit(rows_max + 1).subquery()))
    return counted or 0


async def cdr_pages(
    database: AsyncEngine, scope: Scope, wanted: CdrFilter, rows_max: int
) -> AsyncIterator[Sequence[AnyRow]]:
    """Pages of up to PAGE_ROWS_MAX rows, newest first, ``rows_max`` rows at most.

    Each page is a transaction of its own: a reader that stays for minutes would keep SQLite's WAL from being taken in.
    """
    before: tuple[int, str] | None = None
    while rows_max > 0:
        async with reading(database) as connection:
            rows = await read_cdrs(connection, scope, wanted, newest_first(before, rows_max))
        if rows:
            yield rows
        if len(rows) < min(rows_max, PAGE_ROWS_MAX):
            return
        rows_max -= len(rows)
        before = (rows[-1].started_at_ms, rows[-1].id)
