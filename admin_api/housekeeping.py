"""What grows by itself and must not for ever: expired bindings, old changes, webhooks' outbox, old alarms and more.
Done by the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.domain.refusal import Refusal
from engine.services.access.sessions import sweep_sessions
from engine.services.lines.bindings import EXPIRED_ENDED_MAX, end_expired
from engine.services.sales.orders import (
    approve_renewal,
    due_renewals,
    expire_orders,
    fulfil_waiting,
    renew,
    waiting_orders,
)
from engine.services.sales.package_holdings import ENDED_MAX, end_expired_packages
from engine.store.access.audit import PRUNED_ROWS_MAX as AUDIT_PRUNED_MAX
from engine.store.access.audit import machine, prune_audit
from engine.store.access.idempotency_store import prune_keys
from engine.store.access.login_failures import PRUNED_ROWS_MAX as FAILURES_PRUNED_MAX
from engine.store.access.login_failures import prune_failures
from engine.store.change_feed import PRUNED_ROWS_MAX, prune_changes
from engine.store.database import reading_session, writing, writing_session
from engine.store.money.velocity_store import PRUNED_ALARMS_MAX, prune_alarms, prune_velocity
from engine.store.webhook_store import PRUNED_ROWS_MAX as DELIVERIES_PRUNED_MAX
from engine.store.webhook_store import prune_deliveries

INTERVAL_SECONDS = 60
ROUNDS_MAX = 20
"""Batches of one kind in a row, each a transaction of its own; what is left waits for the next interval."""

_log = structlog.get_logger(__name__)


async def _prune(database: AsyncEngine, some: Callable[[AsyncConnection], Awaitable[int]], rows_max: int) -> int:
    """Lets ``some`` delete until it finds fewer than it may at once; how many in all."""
    pruned = 0
    for _ in range(ROUNDS_MAX):
        async with writing(database) as connection:
            count = await some(connection)
        pruned += count
        if count < rows_max:
            break
    return pruned


async def keep_house(database: AsyncEngine, now_ms: int) -> tuple[int, int]:
    """Ends expired bindings and prunes old changes; how many of each. Several processes may do it at once.

    That a binding ends at its time is in the audit log since that time was set, and is not put there again.
    """
    ended = 0
    for _ in range(ROUNDS_MAX):
        async with writing_session(database, now_ms) as session:
            count = await end_expired(session, now_ms)
        ended += count
        if count < EXPIRED_ENDED_MAX:
            break
    return ended, await _prune(database, partial(prune_changes, now_ms=now_ms), PRUNED_ROWS_MAX)


async def keep_outbox(database: AsyncEngine, now_ms: int) -> int:
    """Prunes deliveries of webhooks; how many."""
    return await _prune(database, partial(prune_deliveries, now_ms=now_ms), DELIVERIES_PRUNED_MAX)


async def keep_audit(database: AsyncEngine, days: int, now_ms: int) -> int:
    """Prunes the audit log, by what the settings say; how many entries."""
    return await _prune(database, partial(prune_audit, days=days, now_ms=now_ms), AUDIT_PRUNED_MAX)


async def keep_failures(database: AsyncEngine, now_ms: int) -> int:
    """Prunes failed logins that do not count any more; how many."""
    return await _prune(database, partial(prune_failures, now_ms=now_ms), FAILURES_PRUNED_MAX)


async def keep_alarms(database: AsyncEngine, now_ms: int) -> int:
    """Prunes velocity alarms that somebody acknowledged long ago; how many."""
    return await _prune(database, partial(prune_alarms, now_ms=now_ms), PRUNED_ALARMS_MAX)


async def keep_sessions(database: AsyncEngine, now_ms: int) -> int:
    """Ends jumps whose time is over, and forgets sessions that have been over for long; how many."""
    async with writing_session(database, now_ms, machine("housekeeping")) as session:
        return await sweep_sessions(session, now_ms)


async def keep_orders(database: AsyncEngine, now_ms: int) -> int:
    """Ends orders that nobody decided and packages that expired, carries out what waited for calls, renews; how many.

    Each order is a transaction of its own: one that money is missing for keeps none of the others waiting.
    """
    done, after_id = 0, 0
    async with writing_session(database, now_ms, machine("orders")) as session:
        done += await expire_orders(session, now_ms)
    for _ in range(ROUNDS_MAX):
        async with writing_session(database, now_ms, machine("orders")) as session:
            count = await end_expired_packages(session, now_ms)
        done += count
        if count < ENDED_MAX:
            break
    for _ in range(ROUNDS_MAX):
        async with reading_session(database) as session:
            waiting = await waiting_orders(session, after_id)
        for order_id in waiting:
            async with writing_session(database, now_ms, machine("orders")) as session:
                done += await fulfil_waiting(session, order_id, now_ms)
        if not waiting:
            break
        after_id = waiting[-1]
    after_id = 0
    for _ in range(ROUNDS_MAX):
        async with reading_session(database) as session:
            due = await due_renewals(session, now_ms, after_id)
        for first_id in due:
            async with writing_session(database, now_ms, machine("orders")) as session:
                order_id = (await renew(session, first_id, now_ms)).id
            try:
                async with writing_session(database, now_ms, machine("orders")) as session:
                    done += await approve_renewal(session, order_id, now_ms)
            except Refusal as refusal:
                _log.warning("renewal not approved by itself", order_id=order_id, code=refusal.code)
        if not due:
            break
        after_id = due[-1]
    return done


async def keep_house_for_ever(database: AsyncEngine, now_ms: Callable[[], int], *, audit_days: int = 0) -> None:
    """Every INTERVAL_SECONDS until it is cancelled; a database that does not answer is asked again."""
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            ended, pruned = await keep_house(database, now_ms())
            deliveries = await keep_outbox(database, now_ms())
            orders = await keep_orders(database, now_ms())
            await keep_sessions(database, now_ms())
            await keep_audit(database, audit_days, now_ms())
            await prune_keys(database, now_ms())
            await keep_failures(database, now_ms())
            await keep_alarms(database, now_ms())
            async with writing(database) as connection:
                await prune_velocity(connection, now_ms())
        except (SQLAlchemyError, OSError) as error:
            _log.error("housekeeping failed, will be tried again", error=type(error).__name__)
        else:
            if ended or pruned or deliveries or orders:
                counts = {"bindings_ended": ended, "changes_pruned": pruned, "deliveries_pruned": deliveries}
                _log.info("housekeeping", **counts, orders=orders)
