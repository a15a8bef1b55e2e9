"""Asks the database for the package minutes that calls want, and brings back the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import writing
from engine.store.minutes_store import MinutesLeaseUnknown, lease_minutes, release_minutes

log = structlog.get_logger()


class MinutesDesk:
    """The minutes' book asks for a bucket once at a time, so the queue is bounded by the buckets."""

    def __init__(self, database: AsyncEngine, engine_id: str, answered: Callable[[int, int | None], None]) -> None:
        self._database = database
        self._engine_id = engine_id
        self._answered = answered
        self._requests: asyncio.Queue[tuple[int, int]] = asyncio.Queue()

    def request(self, requests: list[tuple[int, int]]) -> None:
        for request in requests:
            self._requests.put_nowait(request)

    async def run(self) -> None:
        while True:
            batch = [await self._requests.get()]
            while not self._requests.empty():
                batch.append(self._requests.get_nowait())
            for bucket_id, granted_seconds in await self._lease(batch):
                self._answered(bucket_id, granted_seconds)

    async def give_back(self, free_seconds: dict[int, int]) -> None:
        """Returns what a stopping engine does not need; a failure leaves it for its next start."""
        try:
            async with writing(self._database) as connection:
                for bucket_id, seconds in sorted(free_seconds.items()):
                    if seconds > 0:
                        await release_minutes(connection, self._engine_id, bucket_id, seconds)
        except (SQLAlchemyError, OSError, MinutesLeaseUnknown) as error:
            log.error("minutes not given back", error=type(error).__name__)

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
