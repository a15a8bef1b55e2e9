"""Asks the database for the leases of credit that the calls want, and brings back the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import writing
from engine.store.lease_store import LeaseUnknown, lease, release

log = structlog.get_logger()


class LeaseDesk:
    """One request for a tenant at a time is all that the credit book makes, so the queue is bounded by tenants."""

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
            for tenant_id, granted_micro in await self._lease(batch):
                self._answered(tenant_id, granted_micro)

    async def give_back(self, free_micro: dict[int, int]) -> None:
        """Returns what a stopping engine does not need any more, by tenant; a failure leaves it for its next start."""
        try:
            async with writing(self._database) as connection:
                for tenant_id, amount_micro in free_micro.items():
                    if amount_micro > 0:
                        await release(connection, self._engine_id, tenant_id, amount_micro)
        except (SQLAlchemyError, OSError, LeaseUnknown) as error:
            log.error("leases not given back", error=type(error).__name__)

    async def _lease(self, batch: list[tuple[int, int]]) -> list[tuple[int, int | None]]:
        try:
            async with writing(self._database) as connection:
                return [
                    (tenant_id, await lease(connection, self._engine_id, tenant_id, wanted_micro))
                    for tenant_id, wanted_micro in batch
                ]
        except (SQLAlchemyError, OSError) as error:
            # Without the database nobody can say that there is credit; what is leased already goes on serving.
            log.error("no lease: the database does not answer", error=type(error).__name__)
            return [(tenant_id, None) for tenant_id, _ in batch]
