"""Brings what waits in the outbox to the tenants' endpoints: at least once, several at a time, again after failures.

**Order**: attempts for an endpoint begin in the order in which events became due, up to CONCURRENT at once, and one
that failed comes later; so a receiver goes by ``occurred_at_ms`` and not by arrival. An endpoint is served by one
process at a time, which leases it; if that dies, another goes on after the lease, and the batch under way is delivered
again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import httpx
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import reading, writing
from engine.store.records.cdr_store import AnyRow
from engine.store.webhook_store import Outcome, due_deliveries, due_webhooks, event_id, lease, record_outcomes
from engine.webhooks.destination import Destination, DestinationRefused, destination_of, resolve
from engine.webhooks.message import message
from engine.webhooks.sealing import SealBroken, unseal
from engine.webhooks.signature import headers

POLL_SECONDS = 1.0
ENDPOINTS_AT_ONCE_MAX = 16
CONCURRENT = 8
"""Attempts under way for one endpoint."""
BATCH = 64
ROUNDS_MAX = 20
"""Batches for one endpoint in a row; then others have their turn."""
ATTEMPT_SECONDS_MAX = 10.0
"""Name, connection and answer together. BATCH / CONCURRENT of them are 80 s, within the lease of 120."""
ANSWER_OCTETS_MAX = 16 * 1024
"""Read so that the connection can be used again; what is longer is cut off unread."""
FIRST_DELAY_MS = 5_000
DELAY_MS_MAX = 3_600_000
FAILED_PAUSE_MS = 5_000
"""An endpoint that took nothing of a batch rests."""

log = structlog.get_logger(__name__)


def delay_ms(attempts: int, random: float) -> int:
    """How long after the ``attempts``-th failed attempt the next one comes: doubling, half of it by chance.

    ``random`` is from 0 to below 1.
    """
    whole = min(DELAY_MS_MAX, FIRST_DELAY_MS * 2 ** min(attempts - 1, 20))
    return int(whole * (0.5 + random / 2))


class Deliverer:
    def __init__(
        self,
        *,
        database: AsyncEngine,
        key: bytes,
        now_ms: Callable[[], int],
        random: Callable[[], float],
        private_allowed: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``random`` gives numbers from 0 to below 1; ``tls`` None trusts the system's authorities."""
        self._database = database
        self._key = key
        self._now_ms = now_ms
        self._random = random
        self._private_allowed = private_allowed
        self._tls = tls or ssl.create_default_context()
        # Of its own: a name server that says nothing must not hold up those who wait for the process' other threads.
        self._resolvers = ThreadPoolExecutor(CONCURRENT, thread_name_prefix="webhook-name")
        self._serving: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until it is cancelled; attempts under way are then broken off, and made again later."""
        try:
            while True:
                await self._begin_due()
                await asyncio.sleep(POLL_SECONDS)
        finally:
            serving = list(self._serving.values())
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def deliver_due(self) -> None:
        """One round: returns when whatever was due has been attempted."""
        await self._begin_due()
        await asyncio.gather(*self._serving.values())

    async def _begin_due(self) -> None:
        free = ENDPOINTS_AT_ONCE_MAX - len(self._serving)
        if free <= 0:
            return
        try:
            async with reading(self._database) as connection:
                due = await due_webhooks(connection, self._now_ms(), free)
        except (SQLAlchemyError, OSError) as error:
            log.error("webhooks not read, will be tried again", error=type(error).__name__)
            return
        for webhook_id in due:
            if webhook_id not in self._serving:
                task = asyncio.create_task(self._serve(webhook_id))
                self._serving[webhook_id] = task

    async def _serve(self, webhook_id: int) -> None:
        try:
            await self._deliver_batches(webhook_id)
        except (SQLAlchemyError, OSError) as error:
            log.error("webhook not served, will be tried again", webhook_id=webhook_id, error=type(error).__name__)
        finally:
            del self._serving[webhook_id]

    async def _deliver_batches(self, webhook_id: int) -> None:
        # A client of its own: a connection that was made for one name must not serve another at the same address.
        limits = httpx.Limits(max_connections=CONCURRENT, max_keepalive_connections=CONCURRENT)
        async with httpx.AsyncClient(
            verify=self._tls, trust_env=False, follow_redirects=False, timeout=ATTEMPT_SECONDS_MAX, limits=limits
        ) as client:
            taken_until_ms: int | None = None
            for left in reversed(range(ROUNDS_MAX)):
                taken_until_ms = await self._deliver_batch(client, webhook_id, taken_until_ms, is_last=left == 0)
                if taken_until_ms is None:
                    return

    async def _deliver_batch(
        self, client: httpx.AsyncClient, webhook_id: int, taken_until_ms: int | None, *, is_last: bool
    ) -> int | None:
        """One batch; the lease's end where there may be another batch, and None where the webhook is let go."""
        async with writing(self._database) as connection:
            webhook = await lease(connection, webhook_id, taken_until_ms=taken_until_ms, now_ms=self._now_ms())
        if webhook is None:
            return None
        async with reading(self._database) as connection:
            due = await due_deliveries(connection, webhook_id, self._now_ms(), BATCH)
            bodies = [await message(connection, webhook.tenant_id, delivery) for delivery in due]
        at_once = asyncio.Semaphore(CONCURRENT)

        async def attempt(delivery: AnyRow, body: bytes | None) -> Outcome:
            async with at_once:
                return await self._attempt(client, webhook, delivery, body)

        outcomes = await asyncio.gather(*map(attempt, due, bodies))
        now_ms = self._now_ms()
        some_taken = any(outcome.error is None for outcome in outcomes)
        goes_on = len(due) == BATCH and some_taken and not is_last
        pause_until_ms = now_ms if some_taken or not due else now_ms + FAILED_PAUSE_MS
        async with writing(self._database) as connection:
            suspended = await record_outcomes(
                connection,
                webhook_id,
                outcomes,
                pause_until_ms=webhook.leased_until_ms if goes_on else pause_until_ms,
                now_ms=now_ms,
            )
        if suspended:
            log.warning("webhook suspended, it took nothing for too long", webhook_id=webhook_id)
        return webhook.leased_until_ms if goes_on else None

    async def _attempt(
        self, client: httpx.AsyncClient, webhook: AnyRow, delivery: AnyRow, body: bytes | None
    ) -> Outcome:
        if body is None:
            return Outcome(delivery.id, None, "the record is gone", None)
        status, error = None, None
        try:
            secret = unseal(self._key, webhook.sealed_secret, webhook.tenant_id)
            signed = headers(secret, event_id(delivery.kind, delivery.subject_id), self._now_ms() // 1000, body)
            async with asyncio.timeout(ATTEMPT_SECONDS_MAX):
                status = await self._post(client, destination_of(webhook.url), signed, body)
            if not 200 <= status < 300:
                error = f"answered {status}"
        except SealBroken:
            error = "its secret cannot be read: make another"
        except DestinationRefused as refusal:
            error = str(refusal)
        except (TimeoutError, httpx.TimeoutException):
            error = "no answer in time"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as fault:
            # The class alone: a message may hold what the other side sent.
            error = f"cannot be reached ({type(fault).__name__})"
        return Outcome(delivery.id, status, error, self._next_attempt(delivery) if error else None)

    def _next_attempt(self, delivery: AnyRow) -> int | None:
        at_ms = self._now_ms() + delay_ms(delivery.attempts + 1, self._random())
        return at_ms if at_ms < delivery.give_up_at_ms else None

    async def _post(
        self, client: httpx.AsyncClient, destination: Destination, signed: dict[str, str], body: bytes
    ) -> int:
        """The answer's status. Raises DestinationRefused, httpx.HTTPError, OSError."""
        address = await resolve(destination, self._resolvers, private_allowed=self._private_allowed)
        host = f"[{address}]" if address.version == 6 else str(address)
        request = client.build_request(
            "POST",
            f"{destination.scheme}://{host}:{destination.port}{destination.target}",
            content=body,
            headers={
                "Host": destination.authority,
                "Content-Type": "application/json",
                "User-Agent": f"axbridge/{version('axbridge')}",
                **signed,
            },
            # The certificate must be the name's, although we connect to its address.
            extensions={"sni_hostname": destination.host},
        )
        response = await client.send(request, stream=True)
        try:
            read = 0
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > ANSWER_OCTETS_MAX:
                    break
        finally:
            await response.aclose()
        return response.status_code
