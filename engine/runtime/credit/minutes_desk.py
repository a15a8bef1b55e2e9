"""Asks the database for the package minutes that calls want, and brings back the answers; gives back, and renews."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.money.package_minutes import MinutesBook
from engine.store.database import uninterrupted, writing
from engine.store.money.minutes_store import (
    MinutesLeaseUnknown,
    lease_minutes,
    release_minutes,
    renew_minutes,
    want_minutes,
    want_minutes_no_more,
)

RETRY_SECONDS = 1.0
RENEW_SECONDS = 10.0
RECALL_SECONDS_MAX = 1.5
"""How long a call waits for other engines to give back what they can do without, before it goes on with money."""
RECALL_POLL_SECONDS = 0.1
_ERRAND = (0, 0)
"""Instead of a request: there is something to give back."""

log = structlog.get_logger()


class MinutesDesk:
    """The minutes' book asks for a bucket once at a time, so all here is bounded by the buckets."""

    def __init__(
        self,
        database: AsyncEngine,
        engine_id: str,
        answered: Callable[[int, int | None], None],
        *,
        book: MinutesBook[Any],
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._engine_id = engine_id
        self._answered = answered
        self._book = book
        self._now_ms = now_ms
        self._requests: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        self._returns: defaultdict[int, int] = defaultdict(int)
        """What the database did not take is tried again."""
        self._recalls: set[asyncio.Task[None]] = set()

    def request(self, requests: list[tuple[int, int]]) -> None:
        for request in requests:
            self._requests.put_nowait(request)

    def return_unused(self, returns: list[tuple[int, int]]) -> None:
        """Minutes of buckets that have ended, or that others want, go back while the engine runs."""
        for bucket_id, seconds in returns:
            self._returns[bucket_id] += seconds
        self._requests.put_nowait(_ERRAND)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_renewing())
            try:
                await self._run_errands()
            finally:
                for task in self._recalls:
                    task.cancel()

    async def _run_errands(self) -> None:
        while True:
            batch = {await self._requests.get()}
            while not self._requests.empty():
                batch.add(self._requests.get_nowait())
            batch.discard(_ERRAND)
            for bucket_id, granted_seconds in await uninterrupted(self._lease([*batch])):
                if granted_seconds == 0:
                    self._recalls.add(task := asyncio.create_task(self._recall(bucket_id)))
                    task.add_done_callback(self._recalls.discard)
                else:
                    self._answered(bucket_id, granted_seconds)
            if self._returns and not await uninterrupted(self._release()):
                self._requests.put_nowait(_ERRAND)
                await asyncio.sleep(RETRY_SECONDS)

    async def give_back(self, free_seconds: dict[int, int]) -> None:
        """Returns what a stopping engine does not need; a failure leaves it for its next start."""
        for bucket_id, seconds in free_seconds.items():
            self._returns[bucket_id] += seconds
        await self._release()

    async def _release(self) -> bool:
        """A transaction each: with one that fails the others' minutes would stay here."""
        for bucket_id, seconds in sorted(self._returns.items()):
            try:
                if seconds > 0:
                    async with writing(self._database) as connection:
                        await release_minutes(connection, self._engine_id, bucket_id, seconds)
            except (SQLAlchemyError, OSError) as error:
                log.error("minutes not given back", error=type(error).__name__)
                return False
            except MinutesLeaseUnknown as error:
                # Ours is the wrong count: tried again, it would be wrong again.
                log.error("minutes not given back", error=str(error))
            self._returns[bucket_id] -= seconds
            if not self._returns[bucket_id]:
                del self._returns[bucket_id]
        return True

    async def _lease(self, batch: list[tuple[int, int]]) -> list[tuple[int, int | None]]:
        try:
            async with writing(self._database) as connection:
                return [
                    (
                        bucket_id,
                        await lease_minutes(connection, self._engine_id, bucket_id, wanted_seconds, self._now_ms()),
                    )
                    for bucket_id, wanted_seconds in sorted(batch)
                ]
        except (SQLAlchemyError, OSError) as error:
            # Who waits goes on with money: a call is not lost for a database that is away.
            log.error("no package minutes: the database does not answer", error=type(error).__name__)
            return [(bucket_id, None) for bucket_id, _ in batch]

    async def _recall(self, bucket_id: int) -> None:
        """Calls wait for minutes and none are left: asks the other engines, and answers with what they give back."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RECALL_SECONDS_MAX
        granted_seconds, is_wanted = 0, False
        try:
            while (short_seconds := self._book.needed_seconds(bucket_id) - granted_seconds) > 0:
                granted_seconds += await uninterrupted(self._lease_more(bucket_id, short_seconds))
                short_seconds = self._book.needed_seconds(bucket_id) - granted_seconds
                if short_seconds <= 0 or loop.time() >= deadline:
                    break
                if not await uninterrupted(self._want(bucket_id, short_seconds)):
                    break
                is_wanted = True
                await asyncio.sleep(RECALL_POLL_SECONDS)
            if is_wanted:
                await uninterrupted(self._want_no_more(bucket_id))
        except (SQLAlchemyError, OSError) as error:
            log.error("minutes not called back", error=type(error).__name__)
        self._answered(bucket_id, granted_seconds)

    async def _lease_more(self, bucket_id: int, seconds: int) -> int:
        async with writing(self._database) as connection:
            return await lease_minutes(connection, self._engine_id, bucket_id, seconds, self._now_ms())

    async def _want(self, bucket_id: int, seconds: int) -> bool:
        async with writing(self._database) as connection:
            return await want_minutes(connection, self._engine_id, bucket_id, seconds, self._now_ms())

    async def _want_no_more(self, bucket_id: int) -> None:
        async with writing(self._database) as connection:
            await want_minutes_no_more(connection, bucket_id, self._now_ms())

    async def _keep_renewing(self) -> None:
        while True:
            await uninterrupted(self.renew())
            await asyncio.sleep(RENEW_SECONDS)

    async def renew(self) -> None:
        # As it was before: what is leased while the database answers is ours, though it is not in the answer.
        free_seconds = self._book.free_by_bucket()
        try:
            async with writing(self._database) as connection:
                ours = await renew_minutes(connection, self._engine_id, self._now_ms())
        except (SQLAlchemyError, OSError) as error:
            log.error("leases of minutes not renewed", error=type(error).__name__)
            return
        for bucket_id, seconds in free_seconds.items():
            if seconds and bucket_id not in ours:
                log.error("lease of minutes lost: somebody has voided it", bucket_id=bucket_id, seconds=seconds)
                self._book.lease_lost(bucket_id)
