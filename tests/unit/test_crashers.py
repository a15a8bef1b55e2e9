"""Hostile inputs that are kept: each is read, or refused as the peer's fault, whoever reads it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from engine.b2bua.outcome import q850_cause_of
from engine.b2bua.redirection import redirect_targets
from engine.domain.facts import TrunkFacts
from media import sdp
from media.errors import PeerFault as MediaPeerFault
from sip.core.framer import StreamFramer
from sip.core.hop import Hop
from sip.core.message import Request
from sip.core.parser import parse_message
from sip.core.registrar import Registrar, RegistrarSettings
from sip.core.user_agent import UserAgent
from sip.core.user_agent_settings import UserAgentSettings
from sip.errors import PeerFault

KEPT = Path(__file__).parents[1] / "vectors" / "crashers"
SOURCE = Hop("udp", "10.0.0.1", 5060)
TRUNK = TrunkFacts(1, "t", "10.0.0.1", 5060, (), "e164", 1000, "active")


def kept(kind: str) -> list[Path]:
    found = sorted((KEPT / kind).iterdir())
    assert found
    return found


def by_name(path: Path) -> str:
    return path.stem


def read_message(data: bytes) -> None:
    """All that looks into a message by itself: the parser, the registrar, what a CDR and a redirection take of it."""
    message = parse_message(data)
    q850_cause_of(message)
    if isinstance(message, Request):
        Registrar(RegistrarSettings()).register("a", message, SOURCE, 0.0)
    else:
        redirect_targets(message, TRUNK)


def live_through(data: bytes) -> None:
    """A user agent takes it, twice, and its timers after it, without raising even the peer's fault."""
    tokens = count()
    settings = UserAgentSettings(local_ipv4=("10.0.0.2", 5060), extensions=("100rel", "timer", "path"))
    agent = UserAgent(settings=settings, new_token=lambda: f"t{next(tokens)}")
    for now in (0.0, 1.0):
        agent.receive_datagram(data, SOURCE, now)
        agent.fire_timers(now + 0.6)


@pytest.mark.parametrize("path", kept("sip"), ids=by_name)
@pytest.mark.parametrize("reader", [read_message, live_through])
def test_message(path: Path, reader: Callable[[bytes], None]) -> None:
    if reader is live_through:
        reader(path.read_bytes())
    else:
        with suppress(PeerFault):
            reader(path.read_bytes())


@pytest.mark.parametrize("path", kept("sdp"), ids=by_name)
def test_session_description(path: Path) -> None:
    with suppress(MediaPeerFault):
        sdp.serialise(sdp.parse(path.read_bytes()), sdp.Origin(1, 1, "192.0.2.200", 9000))


@pytest.mark.parametrize("path", kept("stream"), ids=by_name)
@pytest.mark.parametrize("piece_octets", [1, 7, 65_536])
def test_stream(path: Path, piece_octets: int) -> None:
    """However it is cut; what comes out whole is read as a message."""
    data, framer = path.read_bytes(), StreamFramer()
    with suppress(PeerFault):
        for start in range(0, len(data), piece_octets):
            for message in framer.receive(data[start : start + piece_octets]):
                live_through(message)
