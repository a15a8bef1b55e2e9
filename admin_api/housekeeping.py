"""What grows by itself and must not for ever: expired bindings, old changes, webhooks' outbox. Done by the API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.services.bindings import EXPIRED_ENDED_MAX, end_expired
from engine.store.change_feed import PRUNED_ROWS_MAX, prune_changes
from engine.store.database import writing, writing_session
from engine.store.webhook_store import PRUNED_ROWS_MAX as DELIVERIES_PRUNED_MAX
from engine.store.webhook_store import prune_deliveries

INTERVAL_SECONDS = 60
ROUNDS_MAX = 20
"""Batches of one kind in a row, each a transaction of its own; what is left waits for the next interval."""

_log = structlog.get_logger(__name__)


async def keep_house(database: AsyncEngine, now_ms: int) -> tuple[int, int]:
    """Ends expired bindings and prunes old changes; how many of each. Several processes may do it at once."""
    ended = pruned = 0
    for _ in range(ROUNDS_MAX):
        async with writing_session(database, now_ms) as session:
            count = await end_expired(session, now_ms)
        ended += count
        if count < EXPIRED_ENDED_MAX:
            break
    for _ in range(ROUNDS_MAX):
        async with writing(database) as connection:
            count = await prune_changes(connection, now_ms)
        pruned += count
        if count < PRUNED_ROWS_MAX:
            break
    return ended, pruned


async def keep_outbox(database: AsyncEngine, now_ms: int) -> int:
    """Prunes deliveries of webhooks; how many."""
    pruned = 0
    for _ in range(ROUNDS_MAX):
        async with writing(database) as connection:
            count = await prune_deliveries(connection, now_ms)
        pruned += count
        if count < DELIVERIES_PRUNED_MAX:
            break
    return pruned


async def keep_house_for_ever(database: AsyncEngine, now_ms: Callable[[], int]) -> None:
    """Every INTERVAL_SECONDS until it is cancelled; a database that does not answer is asked again."""
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            ended, pruned = await keep_house(database, now_ms())
            deliveries = await keep_outbox(database, now_ms())
        except (SQLAlchemyError, OSError) as error:
            _log.error("housekeeping failed, will be tried again", error=type(error).__name__)
        else:
            if ended or pruned or deliveries:
                _log.info("housekeeping", bindings_ended=ended, changes_pruned=pruned, deliveries_pruned=deliveries)
