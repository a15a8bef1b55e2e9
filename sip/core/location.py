"""Locating SIP servers (RFC 3263 §4): a URI and DNS records in, hops in the order of trying out. Pure.

Records that are wanting are named, so that whoever has a resolver can fetch them and ask again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from sip.core.hop import Hop, is_numeric_host
from sip.core.messages.uri import SipUri

HOPS_MAX = 16  # tried for one request, at up to 32 s each: more than anyone waits for
RECORDS_MAX = 32  # of one answer that are looked at


class Kind(Enum):
    """Record types, by their DNS names."""

    NAPTR = "NAPTR"
    SRV = "SRV"
    A = "A"
    AAAA = "AAAA"


class Query(NamedTuple):
    """`name` in lower case, without the final dot."""

    kind: Kind
    name: str


class Naptr(NamedTuple):
    """`flags` and `service` as they came; `replacement` without the final dot."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


class Srv(NamedTuple):
    """`target` without the final dot: "" says that there is no such service (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


Record = Naptr | Srv | str  # str: a numeric address


class Records(Protocol):
    """What is known: a dict will do."""

    def get(self, query: Query, /) -> Sequence[Record] | None:
        """The records, [] where there are none, None where nobody has asked yet."""


Served = frozenset[tuple[str, bool]]  # (transport, is IPv6) that we can send by

# RFC 3263 §4.1: service field -> transport and prefix of the SRV name.
_BY_SERVICE = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
_SRV_PREFIXES = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}


@dataclass(slots=True)
class Location:
    """`hops` are final when `wanting` is empty; both empty: there is nothing at that name."""

    hops: list[Hop] = field(default_factory=list)
    wanting: list[Query] = field(default_factory=list)


def locate(uri: SipUri, records: Records, served: Served, random: Callable[[], float]) -> Location:
    """Where a request for `uri` (sip: or sips:) goes; `random` gives 0 <= x < 1 and spreads by SRV weight."""
    return _Search(uri, records, served, random).run()


class _Search:
    def __init__(self, uri: SipUri, records: Records, served: Served, random: Callable[[], float]) -> None:
        self._uri = uri
        self._host = uri.host.lower().rstrip(".")
        self._is_secure = uri.scheme == "sips"
        self._records = records
        self._served = served
        self._random = random
        self._location = Location()

    def run(self) -> Location:
        uri, host = self._uri, self._host
        asked = uri.parameters.get("transport", "").lower()
        transport = "tls" if self._is_secure else asked
        if not host:
            return self._location
        if is_numeric_host(host):
            self._add(host, uri.port, transport or "udp")
        elif uri.port:
            self._add_host(host, uri.port, transport or "udp")
        elif asked:
            self._by_srv((transport,))
        else:
            self._by_naptr()
        if self._location.wanting:
            self._location.hops = []
        return self._location

    def _by_naptr(self) -> None:
        """§4.1: the domain says which transports it prefers, and under which names."""
        found = self._get(Kind.NAPTR, self._host)
        if found is None:
            return
        usable = sorted(
            (each for each in found if isinstance(each, Naptr) and self._is_usable(each)),
            key=lambda each: (each.order, each.preference),
        )
        if not usable:
            self._by_srv(("tls",) if self._is_secure else ("udp", "tcp"))
            return
        for each in usable:
            transport = _BY_SERVICE[each.service.upper()]
            self._add_services(each.replacement.lower(), transport)

    def _is_usable(self, record: Naptr) -> bool:
        transport = _BY_SERVICE.get(record.service.upper(), "")
        if self._is_secure and transport != "tls":  # §4.1: never down from sips:
            return False
        return record.flags.lower() == "s" and bool(record.replacement) and self._serves(transport)

    def _serves(self, transport: str) -> bool:
        return (transport, False) in self._served or (transport, True) in self._served

    def _by_srv(self, transports: tuple[str, ...]) -> None:
        """Without NAPTR: SRV of each of `transports` that we serve; without that, the host by the first (§4.2)."""
        is_any = False
        for transport in (each for each in transports if self._serves(each)):
            found = self._get(Kind.SRV, _SRV_PREFIXES[transport] + self._host)
            if found is None or found:
                is_any = True
            if found:
                self._add_services(_SRV_PREFIXES[transport] + self._host, transport)
        if not is_any:
            self._add_host(self._host, 0, transports[0])

    def _add_services(self, name: str, transport: str) -> None:
        found = self._get(Kind.SRV, name)
        for each in in_order([record for record in found or () if isinstance(record, Srv)], self._random):
            if each.target:  # "." says: not here (RFC 2782)
                self._add_host(each.target.lower(), each.port, transport)

    def _add_host(self, host: str, port: int, transport: str) -> None:
        for kind, is_ipv6 in ((Kind.AAAA, True), (Kind.A, False)):
            if (transport, is_ipv6) not in self._served:
                continue
            for each in self._get(kind, host) or ():
                if isinstance(each, str):
                    self._add(each, port, transport)

    def _add(self, host: str, port: int, transport: str) -> None:
        if (transport, ":" in host) not in self._served:
            return
        # RFC 5922 §4: the certificate is to hold the name that was asked for, not the one that SRV led to.
        name = self._host if transport == "tls" and not is_numeric_host(self._host) else ""
        hop = Hop(transport, host, port or (5061 if transport == "tls" else 5060), name)
        hops = self._location.hops
        if hop not in hops and len(hops) < HOPS_MAX:
            hops.append(hop)

    def _get(self, kind: Kind, name: str) -> Sequence[Record] | None:
        """The records, None where they are still to be fetched."""
        query = Query(kind, name)
        found = self._records.get(query)
        if found is None:
            if query not in self._location.wanting:
                self._location.wanting.append(query)
            return None
        return found[:RECORDS_MAX]


def in_order(records: Sequence[Srv], random: Callable[[], float]) -> list[Srv]:
    """By priority, and within one by weight (RFC 2782): a running sum of weights, the first above a random share."""
    ordered: list[Srv] = []
    for priority in sorted({each.priority for each in records}):
        # Weight 0 first, so that it has its very small chance.
        left = sorted((each for each in records if each.priority == priority), key=lambda each: each.weight)
        while left:
            share = random() * (sum(each.weight for each in left) + 1)
            total = 0
            for each in left:
                total += each.weight
                if total >= share or each is left[-1]:
                    left.remove(each)
                    ordered.append(each)
                    break
    return ordered
