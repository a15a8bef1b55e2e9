"""What hostile octets are given to. Each target reads its input or refuses it as the peer's fault; else it raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import TypeVar

import numpy as np

from engine.b2bua.outcome import q850_cause_of
from engine.b2bua.redirection import redirect_targets
from engine.domain.facts import TrunkFacts
from media import sdp
from media.codec.g711 import DECODED
from media.embedded.voice_track import VoiceTrack
from media.errors import PeerFault as MediaPeerFault
from media.rtp import dtmf, rtcp
from media.rtp.block import read_block
from media.rtp.packet import parse as parse_rtp
from media.rtp.statistics import StreamStatistics
from media.rtp.timeline import Timeline
from sip.core.dialogs.refer import read_referral
from sip.core.digest import parse_credentials
from sip.core.hop import Hop
from sip.core.messages.framer import StreamFramer
from sip.core.messages.message import Request
from sip.core.messages.parser import parse_message
from sip.core.registrar import Registrar, RegistrarSettings
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent
from sip.errors import PeerFault
from tests.fuzz.hostile_peer import HEADER_LINES, STARTS, STATUSES, HostilePeer

T = TypeVar("T")

SOURCE = Hop("udp", "10.0.0.1", 5060)
TRUNK = TrunkFacts(1, "t", "10.0.0.1", 5060, (), "e164", 1000, "active")
STEPS_MAX = 25
"""Of one conversation: more only takes time, since nothing that a peer does is remembered for longer."""
PACKETS_MAX = 50


def read_message(data: bytes) -> None:
    """All that looks into a message by itself: the parser, the registrar, what a CDR, a redirection and a transfer take
    of it. Raises PeerFault."""
    message = parse_message(data)
    q850_cause_of(message)
    if isinstance(message, Request):
        Registrar(RegistrarSettings()).register("a", message, SOURCE, 0.0)
        read_referral(message)
        parse_credentials(message.headers.first.get("authorization", ""), "Authorization")
    else:
        redirect_targets(message, TRUNK)


def message(data: bytes) -> None:
    with suppress(PeerFault):
        read_message(data)


def user_agent(data: bytes) -> None:
    """It takes the octets, twice, and its timers after them, without raising even the peer's fault."""
    tokens = count()
    settings = UserAgentSettings(local_ipv4=("10.0.0.2", 5060), extensions=("100rel", "timer", "path"))
    agent = UserAgent(settings=settings, new_token=lambda: f"t{next(tokens)}")
    for now in (0.0, 1.0):
        agent.receive_datagram(data, SOURCE, now)
        agent.fire_timers(now + 0.6)


def stream(data: bytes) -> None:
    """As one TCP connection brings it, cut where the first octet says."""
    framer, piece_octets = StreamFramer(), 1 + (data[0] if data else 0)
    with suppress(PeerFault):
        for start in range(1, len(data), piece_octets):
            for found in framer.receive(data[start : start + piece_octets]):
                user_agent(found)


def session_description(data: bytes) -> None:
    with suppress(MediaPeerFault):
        description = sdp.parse(data)
        written = sdp.serialise(description, sdp.Origin(1, 1, "192.0.2.200", 9000))
        assert len(sdp.parse(written).media) == len(description.media), "what we write is read as something else"


def offer_and_answer(data: bytes) -> None:
    """Two descriptions, with a NUL between them."""
    offer, _, answer = data.partition(b"\0")
    with suppress(MediaPeerFault):
        agreement = sdp.agree(sdp.parse(offer), sdp.parse(answer))
        offered = {codec.payload_type for codec in sdp.parse(offer).audio.codecs}
        agreed = {codec.payload_type for codec in agreement.description.audio.codecs}
        assert agreed <= offered, "more than was offered"


def voice(data: bytes) -> None:
    """Packets, each after an octet with its length, into all that reads them; 20 ms apart, in blocks of seconds."""
    packets, at = [], 0
    while at < len(data) and len(packets) < PACKETS_MAX:
        packets.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    for packet in packets:
        for reader in (parse_rtp, rtcp.neutralise, dtmf.read_event):
            with suppress(MediaPeerFault):
                reader(packet)
    whole = [packet for packet in packets if len(packet) >= 12]  # shorter ones are dropped by the relay
    if not whole:
        return
    block = read_block(whole, [1.0 + index * 0.02 for index in range(len(whole))])
    StreamStatistics().add(block)
    assert len(Timeline().place(block.ssrcs, block.timestamps, block.arrivals)) == len(whole)
    track, channel, base = VoiceTrack(), np.zeros(8000, np.int16), 8000
    assert 0 <= track.place(block, {0: "PCMU", 8: "PCMA"}, DECODED, channel, base) <= len(channel)
    track.decide(2 * base, base)
    for first, last in track.gaps(base, 2 * base):
        assert base <= first < last <= 2 * base, "a gap outside the recording"


def conversation(data: bytes) -> None:
    """A whole conversation with a hostile peer, step by step as the octets say; afterwards nothing is left of it."""
    script = _Script(data)
    peer = HostilePeer()
    peer.call()
    peer.drain()
    for status, lines in STARTS[script.one_of(sorted(STARTS))]:
        peer.answer(0, status, "p", lines, has_body=True)
        peer.drain()
    for _ in range(STEPS_MAX):
        if script.is_over:
            break
        match script.octet() % 6:
            case 0:
                peer.answer(script.octet(), script.one_of(STATUSES), "pq"[script.octet() % 2], script.lines(), True)
            case 1:
                methods = ("INVITE", "UPDATE", "BYE", "PRACK", "ACK", "INFO", "CANCEL", "REFER", "NOTIFY")
                peer.ask(script.one_of(methods), script.lines())
            case 2:
                peer.incoming(script.lines(), bool(script.octet() % 2))
            case 3:
                peer.wait(script.one_of((0.5, 5.0, 40.0, 1000.0)))
            case 4:
                peer.ours(script.one_of(("INVITE", "UPDATE", "INFO", "bye", "cancel", "progress", "answer")))
            case 5:
                peer.broken()
        peer.drain()
    peer.leave()
    assert peer.is_forgotten(), "something is left of it"


class _Script:
    """Reads decisions off octets; zero once they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._data)

    def octet(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[self.octet() % len(choices)]

    def lines(self) -> str:
        """Header lines: known ones, or one of the octets' own."""
        found = []
        for _ in range(self.octet() % 4):
            choice = self.octet()
            if choice < 2 * len(HEADER_LINES):
                found.append(HEADER_LINES[choice % len(HEADER_LINES)])
                continue
            own = self._data[self._at : self._at + self.octet() % 64]
            self._at += len(own)
            found.append(own.decode("latin-1").replace("\r", "").replace("\n", "") + "\r\n")
        return "".join(found)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "message": message,
    "user-agent": user_agent,
    "stream": stream,
    "sdp": session_description,
    "offer-answer": offer_and_answer,
    "voice": voice,
    "conversation": conversation,
}
