"""The round of keep-alives: everybody once, nobody in a burst, and only whom it is for."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from engine.b2bua.nat_keep_alive import PINGS_PER_TICK_MAX, NatKeepAlive
from sip.core.hop import Hop
from sip.core.messages.message import Request
from sip.core.messages.parser import parse_message
from sip.core.registrar import Registrar, RegistrarSettings

SECONDS = 25.0
TICKS_PER_SECOND = 10


@cache
def registration(transport: str, contact: str) -> Request:
    """What each phone sends: parsed once, since only the registrar's key for it differs."""
    message = parse_message(
        f"REGISTER sip:axb SIP/2.0\r\nVia: SIP/2.0/{transport.upper()} h;branch=z9hG4bK1\r\n"
        "From: <sip:b@axb>;tag=1\r\nTo: <sip:b@axb>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n"
        f"Contact: <sip:b@{contact}>\r\nExpires: 3600\r\n\r\n".encode()
    )
    assert isinstance(message, Request)
    return message


def register(registrar: Registrar, index: int, transport: str = "udp", contact: str = "10.0.0.5") -> None:
    hop = Hop(transport, "203.0.113.9", 1024 + index % 60_000)
    registrar.register(str(index), registration(transport, contact), hop, 0.0)


def registered(phones: int, *, transport: str = "udp", contact: str = "10.0.0.5") -> Registrar:
    registrar = Registrar(RegistrarSettings())
    for index in range(phones):
        register(registrar, index, transport, contact)
    return registrar


@pytest.fixture(scope="module")
def crowd() -> Registrar:
    """A hundred thousand phones, which no test changes."""
    return registered(100_000)


def pinged(keep_alive: NatKeepAlive, start: float, seconds: float) -> list[list[int]]:
    """The ports that each tick pings."""
    moments = [start + tick / TICKS_PER_SECOND for tick in range(round(seconds * TICKS_PER_SECOND))]
    return [[hop.port for _, hop in keep_alive.tick(moment)] for moment in moments]


def test_each_phone_is_pinged_once_a_round() -> None:
    ticks = pinged(NatKeepAlive(registered(1003), SECONDS), 0.0, SECONDS + 0.1)
    times = Counter(port for tick in ticks for port in tick)
    assert set(times.values()) <= {1, 2}
    assert len(times) >= 1002  # the last one may be a rounding error later


def test_a_hundred_thousand_phones_make_no_burst(crowd: Registrar) -> None:
    ticks = pinged(NatKeepAlive(crowd, SECONDS), 0.0, 2.0)
    assert max(map(len, ticks)) <= 401
    assert sum(map(len, ticks)) == pytest.approx(100_000 / SECONDS * 1.9, rel=0.01)


def test_late_tick_makes_the_round_longer_and_no_burst(crowd: Registrar) -> None:
    keep_alive = NatKeepAlive(crowd, SECONDS)
    keep_alive.tick(0.0)
    assert len(keep_alive.tick(20.0)) == PINGS_PER_TICK_MAX
    assert len(keep_alive.tick(20.1)) <= 401


def test_who_has_just_registered_is_pinged_within_a_round() -> None:
    registrar = registered(100)
    keep_alive = NatKeepAlive(registrar, SECONDS)
    pinged(keep_alive, 0.0, 10.0)
    register(registrar, 100)
    assert any(1124 in tick for tick in pinged(keep_alive, 10.0, SECONDS))


@pytest.mark.parametrize(
    ("transport", "contact", "seconds"), [("tcp", "10.0.0.5", 1.0), ("udp", "203.0.113.9:1024", 1.0), ("udp", "h", 0.0)]
)
def test_phones_that_need_none_get_none(transport: str, contact: str, seconds: float) -> None:
    """With a connection, at the very address of its contact, or where the operator wants no keep-alives."""
    keep_alive = NatKeepAlive(registered(1, transport=transport, contact=contact), seconds)
    assert not any(pinged(keep_alive, 0.0, 5.0))


def test_phone_that_has_gone_is_left_alone() -> None:
    keep_alive = NatKeepAlive(registered(1), SECONDS)
    assert any(pinged(keep_alive, 0.0, 30.0))
    assert not any(pinged(keep_alive, 3600.0, 60.0))


def test_nobody_is_registered() -> None:
    assert not any(pinged(NatKeepAlive(registered(0), SECONDS), 0.0, 60.0))
