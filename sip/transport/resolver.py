"""RFC 3263 over real DNS: fetched ahead and cached by TTL, so that no call waits for a name that is known."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sip.core.hop import Hop
from sip.core.location import Query, Record, Served, locate
from sip.core.messages.uri import SipUri

ROUNDS_MAX = 4  # NAPTR, SRV, addresses, and one to spare


class LookupFailed(Exception):
    """No answer, or none to be trusted: the servers are down or refuse. A name that does not exist is an answer."""


Answer = tuple[Sequence[Record], float]  # records, and how many seconds they hold
Lookup = Callable[[Query], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """Bounds of one resolver; times in seconds.

    Answers hold for their TTL, within `ttl_seconds_min` and `ttl_seconds_max`; that there is nothing for
    `negative_seconds`. A failed look-up is not repeated for `failure_seconds`; until one succeeds, records go on
    serving for `stale_seconds` beyond their time (RFC 8767). Watched names are fetched `refresh_ahead_seconds` early.
    """

    entries_max: int = 4096
    lookups_max: int = 64  # at one time
    watched_max: int = 1024
    ttl_seconds_min: float = 5.0
    ttl_seconds_max: float = 86_400.0
    negative_seconds: float = 60.0
    failure_seconds: float = 5.0
    stale_seconds: float = 3600.0
    refresh_ahead_seconds: float = 10.0
    sweep_seconds: float = 1.0


@dataclass(slots=True)
class _Entry:
    records: Sequence[Record]
    expires_at: float
    retry_at: float = 0.0  # after a failure


class _View:
    """The cache as one search sees it: at `now`, entries serving for `stale_seconds` beyond their time."""

    __slots__ = ("_entries", "_now", "_since")

    def __init__(self, entries: dict[Query, _Entry], now: float, stale_seconds: float) -> None:
        self._entries = entries
        self._now = now
        self._since = now - stale_seconds

    def get(self, query: Query, /) -> Sequence[Record] | None:
        entry = self._entries.get(query)
        # After a failed look-up it serves as it is until the next is due.
        if entry is None or (entry.expires_at <= self._since and entry.retry_at <= self._now):
            return None
        return entry.records


class Resolver:
    """`random` gives 0 <= x < 1; `clock` seconds that never run backwards."""

    def __init__(
        self,
        lookup: Lookup,
        served: Served,
        *,
        random: Callable[[], float],
        clock: Callable[[], float],
        settings: ResolverSettings | None = None,
    ) -> None:
        self.lookups = 0
        self.failures = 0
        self._lookup = lookup
        self._served = served
        self._random = random
        self._clock = clock
        self._settings = settings or ResolverSettings()
        self._entries: OrderedDict[Query, _Entry] = OrderedDict()  # the least recently fetched first
        self._flying: dict[Query, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(self._settings.lookups_max)
        self._watched: dict[str, SipUri] = {}

    def cached(self, uri: SipUri) -> list[Hop] | None:
        """The hops for `uri`, by SRV weight anew each time, from what is known; None where DNS must be asked first.

        Stale records serve here: a call does not wait, and does not fail because a name server does.
        """
        now = self._clock()
        location = locate(uri, self._known(now, is_stale_good=True), self._served, self._random)
        return None if location.wanting else location.hops

    async def resolve(self, uri: SipUri) -> list[Hop]:
        """The hops for `uri`, DNS asked where need be; empty where there is nothing at that name.

        Raises LookupFailed where DNS cannot be asked and nothing is known from before.
        """
        for _ in range(ROUNDS_MAX):
            location = locate(uri, self._known(self._clock(), is_stale_good=False), self._served, self._random)
            if not location.wanting:
                return location.hops
            await asyncio.gather(*(self._fetch(query) for query in location.wanting))
        raise LookupFailed("too many rounds")

    def watch(self, uri: SipUri) -> bool:
        """Keeps `uri` fresh from now on (see `run`); False at the limit."""
        if len(self._watched) >= self._settings.watched_max:
            return False
        self._watched[str(uri)] = uri
        return True

    def unwatch(self, uri: SipUri) -> None:
        """Idempotent."""
        self._watched.pop(str(uri), None)

    async def run(self) -> None:
        """Fetches what is watched before it runs out, for ever."""
        while True:
            for uri in list(self._watched.values()):
                ahead = self._clock() + self._settings.refresh_ahead_seconds
                # Seen from a little later: what will have run out by then is wanting now.
                location = locate(uri, self._known(ahead, is_stale_good=False), self._served, self._random)
                if location.wanting:
                    await asyncio.gather(
                        *(self._fetch(query, is_early=True) for query in location.wanting), return_exceptions=True
                    )
            await asyncio.sleep(self._settings.sweep_seconds)

    def _known(self, now: float, *, is_stale_good: bool) -> _View:
        return _View(self._entries, now, self._settings.stale_seconds if is_stale_good else 0.0)

    async def _fetch(self, query: Query, *, is_early: bool = False) -> None:
        task = self._flying.get(query)
        if task is None:
            entry = self._entries.get(query)
            if is_early and entry is not None and entry.retry_at > self._clock():
                return
            task = self._flying[query] = asyncio.get_running_loop().create_task(self._ask(query))
            task.add_done_callback(lambda _: self._flying.pop(query, None))
        await asyncio.shield(task)

    async def _ask(self, query: Query) -> None:
        settings = self._settings
        async with self._places:
            self.lookups += 1
            try:
                records, ttl_seconds = await self._lookup(query)
            except LookupFailed:
                self.failures += 1
                entry = self._entries.get(query)
                now = self._clock()
                if entry is None or entry.expires_at + settings.stale_seconds <= now:
                    raise
                entry.retry_at = now + settings.failure_seconds
                return
        if records:
            seconds = min(max(ttl_seconds, settings.ttl_seconds_min), settings.ttl_seconds_max)
        else:
            seconds = settings.negative_seconds
        while len(self._entries) >= settings.entries_max and query not in self._entries:
            self._entries.popitem(last=False)
        self._entries[query] = _Entry(records, self._clock() + seconds)
        self._entries.move_to_end(query)


class SystemLookup:
    """Asks the system's name servers. dnspython is loaded with the first question, in a thread: it would be a tenth of
    the start of an engine that has calls to take up, and many never have a name to ask for."""

    def __init__(self) -> None:
        self._loading: asyncio.Task[Lookup] | None = None

    async def __call__(self, query: Query) -> Answer:
        """Raises LookupFailed."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(_load))
        return await (await asyncio.shield(self._loading))(query)


def _load() -> Lookup:
    from sip.transport.dns_lookup import DnsLookup

    return DnsLookup()
