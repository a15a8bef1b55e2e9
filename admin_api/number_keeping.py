"""What becomes of X numbers by itself: quarantines end, and lines that say so have bad numbers replaced. By the API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.services.lines.number_allocation import RELEASED_MAX, release_rested
from engine.services.lines.number_replacement import lines_that_replace, replace_by_rule
from engine.store.access.audit import machine
from engine.store.database import reading_session, writing_session
from engine.store.tables import Line

INTERVAL_SECONDS = 600
"""Each round reads the calls of a window of days; evidence comes in no faster."""
ROUNDS_MAX = 20
"""Batches of releases in a row; what is left waits for the next interval."""

_log = structlog.get_logger(__name__)


async def keep_numbers(database: AsyncEngine, now_ms: int) -> tuple[int, int]:
    """Ends quarantines that are over, and replaces numbers on lines that say so; how many of each.

    Several processes may do it at once: a line's turn is one transaction.
    """
    released = replaced = 0
    for _ in range(ROUNDS_MAX):
        async with writing_session(database, now_ms, machine("number keeping")) as session:
            count = await release_rested(session, now_ms)
        released += count
        if count < RELEASED_MAX:
            break
    async with reading_session(database) as session:
        lines = await lines_that_replace(session)
    for line_id in lines:
        async with writing_session(database, now_ms, machine("number keeping")) as session:
            replaced += await replace_by_rule(session, await session.get_one(Line, line_id), now_ms)
    return released, replaced


async def keep_numbers_for_ever(database: AsyncEngine, now_ms: Callable[[], int]) -> None:
    """Every INTERVAL_SECONDS until it is cancelled; a database that does not answer is asked again."""
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            released, replaced = await keep_numbers(database, now_ms())
        except (SQLAlchemyError, OSError) as error:
            _log.error("numbers were not kept, will be tried again", error=type(error).__name__)
        else:
            if released or replaced:
                _log.info("numbers kept", released=released, replaced=replaced)
