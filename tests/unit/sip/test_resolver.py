"""The resolver's cache when DNS is slow, wrong or gone; and a real name server on loopback."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from sip.core.hop import Hop
from sip.core.location import Kind, Naptr, Query, Record, Srv
from sip.core.messages.uri import parse_uri
from sip.transport.dns_lookup import DnsLookup
from sip.transport.resolver import Answer, LookupFailed, Resolver, ResolverSettings

URI = parse_uri("sip:h.example:5070")
SERVED = frozenset([("udp", False)])
HOP = Hop("udp", "10.0.0.1", 5070)


class Names:
    """A name server by hand."""

    def __init__(self) -> None:
        self.records: dict[Query, list[Record]] = {Query(Kind.A, "h.example"): ["10.0.0.1"]}
        self.ttl_seconds = 30.0
        self.is_down = False
        self.asked: Counter[Query] = Counter()
        self.now = 0.0
        self.gate: asyncio.Event | None = None

    async def __call__(self, query: Query) -> Answer:
        self.asked[query] += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise LookupFailed("down")
        return self.records.get(query, []), self.ttl_seconds

    def resolver(self, **settings: float) -> Resolver:
        return Resolver(
            self,
            SERVED,
            random=lambda: 0.0,
            clock=lambda: self.now,
            settings=ResolverSettings(**settings),  # type: ignore[arg-type]  # by name, in tests
        )

    @property
    def count(self) -> int:
        return sum(self.asked.values())


async def test_known_name_is_answered_without_waiting() -> None:
    names = Names()
    resolver = names.resolver()
    assert resolver.cached(URI) is None
    assert await resolver.resolve(URI) == [HOP]
    assert resolver.cached(URI) == [HOP]
    assert names.count == 1


async def test_record_is_fetched_anew_when_its_time_is_over() -> None:
    names = Names()
    resolver = names.resolver()
    await resolver.resolve(URI)
    names.records[Query(Kind.A, "h.example")] = ["10.0.0.2"]
    names.now = 29.0
    assert await resolver.resolve(URI) == [HOP]
    names.now = 31.0
    assert await resolver.resolve(URI) == [HOP._replace(host="10.0.0.2")]


async def test_dead_name_server_leaves_stale_records_in_service_but_not_for_ever() -> None:
    names = Names()
    resolver = names.resolver(stale_seconds=100.0, failure_seconds=5.0)
    await resolver.resolve(URI)
    names.is_down = True
    names.now = 60.0
    assert resolver.cached(URI) == [HOP]
    assert await resolver.resolve(URI) == [HOP]
    assert await resolver.resolve(URI) == [HOP]
    assert names.count == 2  # the failure is not repeated at once
    names.now = 131.0
    assert resolver.cached(URI) is None
    with pytest.raises(LookupFailed):
        await resolver.resolve(URI)


async def test_name_without_records_is_not_asked_for_each_call() -> None:
    names = Names()
    names.records.clear()
    resolver = names.resolver(negative_seconds=60.0)
    for _ in range(3):
        assert await resolver.resolve(URI) == []
    assert names.count == 1
    names.now = 61.0
    await resolver.resolve(URI)
    assert names.count == 2


async def test_many_callers_of_one_name_make_one_query() -> None:
    names = Names()
    names.gate = asyncio.Event()
    resolver = names.resolver()
    tasks = [asyncio.create_task(resolver.resolve(URI)) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[0].cancel()  # one who gives up does not take the answer from the others
    names.gate.set()
    assert await asyncio.gather(*tasks[1:]) == [[HOP]] * 19
    assert names.count == 1


async def test_cache_is_bounded() -> None:
    names = Names()
    resolver = names.resolver(entries_max=10)
    for number in range(50):
        await resolver.resolve(parse_uri(f"sip:h{number}.example:5060"))
    assert len(resolver._entries) == 10


async def test_watched_name_is_fresh_before_it_runs_out() -> None:
    names = Names()
    resolver = names.resolver(sweep_seconds=0.001, refresh_ahead_seconds=10.0)
    assert resolver.watch(URI)
    task = asyncio.create_task(resolver.run())
    async with asyncio.timeout(5):
        while resolver.cached(URI) is None:
            await asyncio.sleep(0.001)
        names.now = 25.0
        while names.count < 2:
            await asyncio.sleep(0.001)
    task.cancel()


class _NameServer(asyncio.DatagramProtocol):
    ANSWERS = (
        ("h.example.", "NAPTR", '1 1 "s" "SIP+D2U" "" _sip._udp.h.example.'),
        ("_sip._udp.h.example.", "SRV", "1 2 5072 a.h.example."),
        ("a.h.example.", "A", "10.0.0.7"),
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        (question,) = query.question
        if question.name.to_text() == "broken.example.":
            response.set_rcode(dns.rcode.SERVFAIL)
        for name, kind, text in self.ANSWERS:
            if name == question.name.to_text() and kind == question.rdtype.name:
                response.answer.append(dns.rrset.from_text(name, 77, "IN", kind, text))
        if not response.answer and question.name.to_text() == "none.example.":
            response.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(response.to_wire(), addr)


async def test_real_name_server() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_NameServer, local_addr=("127.0.0.1", 0))
    lookup = DnsLookup(["127.0.0.1"], transport.get_extra_info("sockname")[1])
    try:
        assert await lookup(Query(Kind.NAPTR, "h.example")) == (
            [Naptr(1, 1, "s", "SIP+D2U", "_sip._udp.h.example")],
            77.0,
        )
        assert await lookup(Query(Kind.SRV, "_sip._udp.h.example")) == ([Srv(1, 2, 5072, "a.h.example")], 77.0)
        assert await lookup(Query(Kind.A, "none.example")) == ([], 0.0)
        assert await lookup(Query(Kind.A, "h.example")) == ([], 0.0)
        with pytest.raises(LookupFailed):
            await lookup(Query(Kind.A, "broken.example"))
        resolver = Resolver(lookup, SERVED, random=lambda: 0.0, clock=loop.time)
        assert await resolver.resolve(parse_uri("sip:h.example")) == [Hop("udp", "10.0.0.7", 5072)]
    finally:
        transport.close()
