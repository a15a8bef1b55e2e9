"""RFC 3263: which records are asked for, and in which order their hops are tried."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from sip.core.hop import Hop
from sip.core.location import HOPS_MAX, Kind, Naptr, Query, Record, Srv, in_order, locate
from sip.core.messages.uri import parse_uri

ALL = frozenset((transport, is_ipv6) for transport in ("udp", "tcp", "tls") for is_ipv6 in (False, True))
IPV4_UDP = frozenset([("udp", False)])
NOTHING: list[Record] = []
A, AAAA, SRV, NAPTR = Kind.A, Kind.AAAA, Kind.SRV, Kind.NAPTR


def hops(
    uri: str, records: dict[tuple[Kind, str], list[Record]], served: frozenset[tuple[str, bool]] = ALL
) -> list[Hop]:
    known = {Query(*key): value for key, value in records.items()}
    asked: list[Query] = []
    for _ in range(5):
        location = locate(parse_uri(uri), known, served, lambda: 0.0)
        if not location.wanting:
            return location.hops
        assert not location.hops
        assert not set(asked) & set(location.wanting), "asked twice"
        asked += location.wanting
        known.update({query: NOTHING for query in location.wanting if query not in known})
    raise AssertionError("never satisfied")


def wanting(uri: str, served: frozenset[tuple[str, bool]] = ALL) -> list[Query]:
    return locate(parse_uri(uri), {}, served, lambda: 0.0).wanting


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:10.0.0.1", Hop("udp", "10.0.0.1", 5060)),
        ("sip:10.0.0.1:5070;transport=tcp", Hop("tcp", "10.0.0.1", 5070)),
        ("sips:[2001:db8::1]", Hop("tls", "2001:db8::1", 5061)),
        ("sips:10.0.0.1;transport=tcp", Hop("tls", "10.0.0.1", 5061)),
    ],
)
def test_numeric_host_needs_no_dns(uri: str, hop: Hop) -> None:
    assert locate(parse_uri(uri), {}, ALL, lambda: 0.0).hops == [hop]


def test_port_means_addresses_only() -> None:
    assert wanting("sip:h.example:5070") == [Query(AAAA, "h.example"), Query(A, "h.example")]
    records: dict[tuple[Kind, str], list[Record]] = {
        (A, "h.example"): ["10.0.0.1"],
        (AAAA, "h.example"): ["2001:db8::1"],
    }
    assert hops("sip:H.example.:5070", records) == [Hop("udp", "2001:db8::1", 5070), Hop("udp", "10.0.0.1", 5070)]
    assert hops("sip:h.example:5070", records, IPV4_UDP) == [Hop("udp", "10.0.0.1", 5070)]


def test_transport_means_srv_of_it() -> None:
    assert wanting("sip:h.example;transport=tcp")[0] == Query(SRV, "_sip._tcp.h.example")
    assert wanting("sips:h.example;transport=tcp")[0] == Query(SRV, "_sips._tcp.h.example")


def test_naptr_order_then_srv_priority() -> None:
    records: dict[tuple[Kind, str], list[Record]] = {
        (NAPTR, "h.example"): [
            Naptr(20, 10, "s", "SIP+D2U", "_sip._udp.h.example"),
            Naptr(10, 20, "S", "sip+d2t", "_sip._tcp.other.example"),
            Naptr(10, 10, "s", "SIP+D2S", "_sip._sctp.h.example"),  # not spoken here
            Naptr(5, 1, "u", "E2U+sip", ""),  # ENUM
        ],
        (SRV, "_sip._tcp.other.example"): [Srv(2, 0, 5060, "b.example"), Srv(1, 0, 5062, "a.example")],
        (SRV, "_sip._udp.h.example"): [Srv(1, 0, 5064, "a.example")],
        (A, "a.example"): ["10.0.0.1"],
        (A, "b.example"): ["10.0.0.2"],
    }
    assert hops("sip:h.example", records) == [
        Hop("tcp", "10.0.0.1", 5062),
        Hop("tcp", "10.0.0.2", 5060),
        Hop("udp", "10.0.0.1", 5064),
    ]
    assert hops("sip:h.example", records, IPV4_UDP) == [Hop("udp", "10.0.0.1", 5064)]


def test_sips_never_comes_down_to_plain_transports() -> None:
    records: dict[tuple[Kind, str], list[Record]] = {
        (NAPTR, "h.example"): [Naptr(1, 1, "s", "SIP+D2U", "_sip._udp.h.example")],
        (SRV, "_sip._udp.h.example"): [Srv(1, 0, 5060, "a.example")],
        (SRV, "_sip._tcp.h.example"): [Srv(1, 0, 5060, "a.example")],
        (A, "a.example"): ["10.0.0.1"],
        (A, "h.example"): ["10.0.0.9"],
    }
    assert hops("sips:h.example", records) == [Hop("tls", "10.0.0.9", 5061, "h.example")]
    assert hops("sips:h.example", records, IPV4_UDP) == []


def test_certificate_is_held_to_the_name_asked_for_and_not_to_the_one_srv_leads_to() -> None:
    records: dict[tuple[Kind, str], list[Record]] = {
        (SRV, "_sips._tcp.h.example"): [Srv(1, 0, 5071, "evil.example")],
        (A, "evil.example"): ["10.0.0.1"],
    }
    assert hops("sips:h.example", records) == [Hop("tls", "10.0.0.1", 5071, "h.example")]


def test_without_naptr_and_srv_it_is_udp_at_the_host() -> None:
    assert hops("sip:h.example", {(A, "h.example"): ["10.0.0.1"]}) == [Hop("udp", "10.0.0.1", 5060)]


def test_service_that_is_declared_absent_is_not_tried_at_the_host() -> None:
    records: dict[tuple[Kind, str], list[Record]] = {
        (SRV, "_sip._udp.h.example"): [Srv(0, 0, 0, "")],
        (A, "h.example"): ["10.0.0.1"],
    }
    assert hops("sip:h.example", records) == []


def test_hops_are_bounded_and_unique() -> None:
    many: list[Record] = [f"10.0.0.{number % 20}" for number in range(200)]
    found = hops("sip:h.example:5060", {(A, "h.example"): many})
    assert len(found) == len(set(found)) == HOPS_MAX


def test_weights_share_the_load() -> None:
    records = [Srv(1, 75, 5060, "a"), Srv(1, 25, 5060, "b"), Srv(1, 0, 5060, "c"), Srv(0, 1, 5060, "first")]
    random = Random(7)
    orders = [[each.target for each in in_order(records, random.random)] for _ in range(4000)]
    assert {order[0] for order in orders} == {"first"}
    assert all(sorted(order) == ["a", "b", "c", "first"] for order in orders)
    second = Counter(order[1] for order in orders)
    assert 0.70 < second["a"] / 4000 < 0.80
    assert 0.20 < second["b"] / 4000 < 0.30
    assert second["c"] < 80
