"""The credit book's errands to the database: leases are asked for, given back and renewed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.money.credit_book import CreditBook
from engine.store.database import uninterrupted, writing
from engine.store.money.claim_store import advance, advance_all
from engine.store.money.lease_store import LeaseUnknown, lease, release, renew, want, want_no_more

RENEW_SECONDS = 10.0
RECALL_SECONDS_MAX = 1.5
"""How long a call waits for other engines to give back what they can do without: several of their polls."""
RECALL_POLL_SECONDS = 0.1

log = structlog.get_logger()


class LeaseDesk:
    """One request for a tenant at a time is all that the credit book makes, so all here is bounded by tenants."""

    def __init__(
        self,
        database: AsyncEngine,
        engine_id: str,
        answered: Callable[[int, int | None], None],
        *,
        credit: CreditBook[Any],
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._engine_id = engine_id
        self._answered = answered
        self._credit = credit
        self._now_ms = now_ms
        self._requests: dict[int, int] = {}
        self._returns: defaultdict[int, int] = defaultdict(int)
        """What the database did not take is tried again."""
        self._errand = asyncio.Event()
        self._recalls: set[asyncio.Task[None]] = set()
        self._suspected: dict[int, int] = {}
        """By tenant, what the last renewal found missing of our leases."""

    def request(self, requests: list[tuple[int, int]]) -> None:
        for tenant_id, wanted_micro in requests:
            self._requests[tenant_id] = wanted_micro
        self._errand.set()

    def give_back(self, returns: list[tuple[int, int]]) -> None:
        for tenant_id, amount_micro in returns:
            self._returns[tenant_id] += amount_micro
        self._errand.set()

    async def run(self) -> None:
        renew_due = 0.0
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    async with asyncio.timeout(max(0.0, renew_due - loop.time())):
                        await self._errand.wait()
                except TimeoutError:
                    renew_due = loop.time() + RENEW_SECONDS
                    await uninterrupted(self._renew())
                self._errand.clear()
                await uninterrupted(self._release())
                await uninterrupted(self._lease())
        finally:
            for task in self._recalls:
                task.cancel()
            await asyncio.gather(*self._recalls, return_exceptions=True)

    async def close(self, free_micro: dict[int, int]) -> None:
        """Returns what a stopping engine does not need any more, by tenant; a failure leaves it for its next start."""
        self.give_back([(tenant_id, amount) for tenant_id, amount in free_micro.items() if amount > 0])
        await self._release()

    async def _release(self) -> None:
        # A transaction each: with one that fails the others' credit would stay here.
        for tenant_id, amount_micro in sorted(self._returns.items()):
            try:
                async with writing(self._database) as connection:
                    await release(connection, self._engine_id, tenant_id, amount_micro, self._now_ms())
                    await advance(connection, tenant_id, self._now_ms())
            except LeaseUnknown:
                log.error("a lease was given back that is not ours", tenant_id=tenant_id, micro=amount_micro)
            except (SQLAlchemyError, OSError) as error:
                log.error("lease not given back, will be tried again", error=type(error).__name__)
                return
            self._returns[tenant_id] -= amount_micro
            if not self._returns[tenant_id]:
                del self._returns[tenant_id]

    async def _lease(self) -> None:
        requests, self._requests = self._requests, {}
        if not requests:
            return
        try:
            async with writing(self._database) as connection:
                granted = [
                    (tenant_id, wanted, await self._ask(connection, tenant_id, wanted))
                    for tenant_id, wanted in sorted(requests.items())  # one order for all, or engines could deadlock
                ]
        except (SQLAlchemyError, OSError) as error:
            # Without the database nobody can say that there is credit; what is leased already goes on serving.
            log.error("no lease: the database does not answer", error=type(error).__name__)
            for tenant_id in requests:
                self._answered(tenant_id, None)
            return
        for tenant_id, wanted_micro, granted_micro in granted:
            if granted_micro == wanted_micro or granted_micro >= self._credit.needed_micro(tenant_id):
                self._answered(tenant_id, granted_micro)
            else:
                self._recalls.add(task := asyncio.create_task(self._recall(tenant_id, granted_micro)))
                task.add_done_callback(self._recalls.discard)

    async def _ask(self, connection: Any, tenant_id: int, wanted_micro: int) -> int:
        return await lease(connection, self._engine_id, tenant_id, wanted_micro, self._now_ms())

    async def _recall(self, tenant_id: int, granted_micro: int) -> None:
        """Calls wait for more than is free: asks the other engines, and answers with all that was got together."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RECALL_SECONDS_MAX
        wanted_micro = 0
        try:
            while (short_micro := self._credit.needed_micro(tenant_id) - granted_micro) > 0:
                granted_micro += (granted_now := await uninterrupted(self._ask_for_more(tenant_id, short_micro)))
                if granted_now == short_micro or loop.time() >= deadline:
                    break
                short_micro -= granted_now
                if not await uninterrupted(self._want(tenant_id, short_micro)):
                    break
                wanted_micro = max(wanted_micro, short_micro)
                await asyncio.sleep(RECALL_POLL_SECONDS)
            if wanted_micro:
                await uninterrupted(self._want_no_more(tenant_id, wanted_micro))
        except (SQLAlchemyError, OSError) as error:
            log.error("leases not called back", error=type(error).__name__)
        self._answered(tenant_id, granted_micro)

    async def _ask_for_more(self, tenant_id: int, short_micro: int) -> int:
        async with writing(self._database) as connection:
            return await self._ask(connection, tenant_id, short_micro)

    async def _want(self, tenant_id: int, short_micro: int) -> bool:
        async with writing(self._database) as connection:
            return await want(connection, self._engine_id, tenant_id, short_micro, self._now_ms())

    async def _want_no_more(self, tenant_id: int, wanted_micro: int) -> None:
        async with writing(self._database) as connection:
            await want_no_more(connection, tenant_id, wanted_micro)

    async def _renew(self) -> None:
        # As it was before: what is leased while the database answers is ours, though it is not in the answer.
        leased = self._credit.leased_by_tenant()
        try:
            async with writing(self._database) as connection:
                ours = await renew(connection, self._engine_id, self._now_ms())
            async with writing(self._database) as connection:
                await advance_all(connection, self._now_ms())
        except (SQLAlchemyError, OSError) as error:
            log.error("leases not renewed", error=type(error).__name__)
            return
        suspected, self._suspected = self._suspected, {}
        now_leased = self._credit.leased_by_tenant()
        for tenant_id, leased_micro in leased.items():
            # By amounts: it may have leased anew since, before it noticed.
            lost_micro = min(leased_micro, now_leased[tenant_id]) - ours.get(tenant_id, 0)
            if lost_micro > 0 and tenant_id in ours:
                # A charge and a new lease within this look could seem so: what was voided seems so the next time too.
                self._suspected[tenant_id] = lost_micro
                lost_micro = min(lost_micro, suspected.get(tenant_id, 0))
            if lost_micro > 0:
                log.error("lease lost: somebody has voided it", tenant_id=tenant_id, micro=lost_micro)
                self._credit.lease_lost(tenant_id, lost_micro)
