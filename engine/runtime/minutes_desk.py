"""Asks the database for the package minutes that calls want, and brings back the answers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import uninterrupted, writing
from engine.store.minutes_store import MinutesLeaseUnknown, lease_minutes, release_minutes

RETRY_SECONDS = 1.0
_ERRAND = (0, 0)
"""Instead of a request: there is something to give back."""

log = structlog.get_logger()


class MinutesDesk:
    """The minutes' book asks for a bucket once at a time, so the queue is bounded by the buckets."""

    def __init__(self, database: AsyncEngine, engine_id: str, answered: Callable[[int, int | None], None]) -> None:
        self._database = database
        self._engine_id = engine_id
        self._answered = answered
        self._requests: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        self._returns: defaultdict[int, int] = defaultdict(int)
        """What the database did not take is tried again."""

    def request(self, requests: list[tuple[int, int]]) -> None:
        for request in requests:
            self._requests.put_nowait(request)

    def return_unused(self, returns: list[tuple[int, int]]) -> None:
        """Minutes of buckets that have ended go back while the engine runs."""
        for bucket_id, seconds in returns:
            self._returns[bucket_id] += seconds
        self._requests.put_nowait(_ERRAND)

    async def run(self) -> None:
        while True:
            batch = {await self._requests.get()}
            while not self._requests.empty():
                batch.add(self._requests.get_nowait())
            batch.discard(_ERRAND)
            for bucket_id, granted_seconds in await uninterrupted(self._lease([*batch])):
                self._answered(bucket_id, granted_seconds)
            returns, self._returns = self._returns, defaultdict(int)
            if returns and not await uninterrupted(self._release(returns)):
                self.return_unused([*returns.items()])
                await asyncio.sleep(RETRY_SECONDS)

    async def give_back(self, free_seconds: dict[int, int]) -> None:
        """Returns what a stopping engine does not need; a failure leaves it for its next start."""
        for bucket_id, seconds in free_seconds.items():
            self._returns[bucket_id] += seconds
        await self._release(self._returns)

    async def _release(self, free_seconds: dict[int, int]) -> bool:
        try:
            async with writing(self._database) as connection:
                for bucket_id, seconds in sorted(free_seconds.items()):
                    if seconds > 0:
                        await release_minutes(connection, self._engine_id, bucket_id, seconds)
        except (SQLAlchemyError, OSError) as error:
            log.error("minutes not given back", error=type(error).__name__)
            return False
        except MinutesLeaseUnknown as error:
            # Ours is the wrong count: tried again, it would be wrong again.
            log.error("minutes not given back", error=str(error))
        return True

    async def _lease(self, batch: list[tuple[int, int]]) -> list[tuple[int, int | None]]:
        try:
            async with writing(self._database) as connection:
                return [
                    (bucket_id, await lease_minutes(connection, self._engine_id, bucket_id, wanted_seconds))
                    for bucket_id, wanted_seconds in sorted(batch)
                ]
        except (SQLAlchemyError, OSError) as error:
            # Who waits goes on with money: a call is not lost for a database that is away.
            log.error("no package minutes: the database does not answer", error=type(error).__name__)
            return [(bucket_id, None) for bucket_id, _ in batch]
