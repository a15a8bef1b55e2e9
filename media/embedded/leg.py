"""One side of a relayed call: its sockets, where its media goes, what came from it since the last flush.

A side has an open socket, which sees every datagram to its port, and once its address is latched a second one on the
same port, connected to that address. The kernel then hands each datagram to the socket that fits it best: packets of
the latched peer come through the connected one with plain ``recv`` and ``send`` (no address to build, compare or
look up, a cached route), and everything else stays with the open one, where it is judged and counted.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from media.embedded.port_pool import PortPool, PortPoolExhausted
from media.errors import PeerFault
from media.plane import Side
from media.rtp.dtmf import DigitCollector
from media.rtp.latch import Address, Latch
from media.rtp.rewriting import marker_table, renumbered, transcoded
from media.rtp.srtp import Crypto, Security
from media.rtp.statistics import StreamStatistics
from media.sdp import Laws

DATAGRAM_OCTETS_MAX: Final = 2048
NARROW_OCTETS: Final = 479
"""What a side is first received with: enough for 58 ms of G.711. Python's own allocator serves bytes up to this size
(512 with their header), so that kept packets neither scatter over the heap nor take more than they hold. The first
packet that is larger is lost and has the side received with DATAGRAM_OCTETS_MAX."""

PORT_TRIES_MAX: Final = 16
"""Ports tried where something else on the machine holds one of ours."""

PACKETS_PER_FLUSH_MAX: Final = 1024
"""Packets of one side kept between two flushes (a second): ten times what 10 ms packets need. Older ones are dropped
from recording and statistics, not from the relay."""

DRAIN_MAX: Final = 8

KEYS_PER_FLUSH_MAX: Final = 30
"""Key presses of one side told between two flushes (a second); nobody is faster, and a flood must not fill the queue
of events. More are relayed all the same."""

Send = Callable[[bytes], object]


def discard(_data: bytes) -> None:
    """Where packets go as long as nobody is there to have them."""


def sender_to(open_socket: socket.socket, address: Address) -> Send:
    """A ``send`` for a side that is not latched yet."""
    sendto = open_socket.sendto
    return lambda data: sendto(data, address)


def rewriting(send: Send, payload_types: Mapping[int, int], laws: Mapping[int, Laws]) -> Send:
    """A ``send`` that changes payload types on the way, marker bit kept, and the law of G.711 where ``laws`` says."""
    table = marker_table(payload_types)

    def rewrite(data: bytes) -> object:
        payload_type = data[1] & 0x7F
        if payload_type not in laws:
            return send(renumbered(data, table))
        try:
            changed = transcoded(data, payload_types[payload_type], laws[payload_type])
        except PeerFault:  # its header lies about its length: there is no voice in it
            return 0
        return send(changed)

    return rewrite


def protecting(send: Send, security: Security) -> Send:
    """A ``send`` of SRTP."""
    protect = security.protect

    def send_protected(data: bytes) -> object:
        try:
            changed = protect(data)
        except PeerFault:  # its header is none: nothing that the other side could play
            return 0
        return send(changed)

    return send_protected


class Leg:
    """State of one side. ``arrivals`` (monotonic seconds) and ``packets`` run in step."""

    __slots__ = (
        "address",
        "advertised",
        "arrivals",
        "comfort_noise",
        "connected",
        "crypto",
        "keys",
        "keys_left",
        "keys_told",
        "last_packet",
        "latch",
        "laws",
        "on_odd",
        "on_widened",
        "opportunistic",
        "packets",
        "payload_types",
        "port",
        "receive_octets",
        "refused",
        "rtcp",
        "rtcp_target",
        "rtp",
        "security",
        "side",
        "srtp_required",
        "statistics",
        "target",
    )  # fmt: skip

    def __init__(
        self, side: Side, address: str, advertised: str, port: int, rtp: socket.socket, rtcp: socket.socket
    ) -> None:
        self.side = side
        self.address = address
        self.advertised = advertised
        """What its SDP shows instead of ``address``; of the same family."""
        self.port = port
        self.rtp = rtp
        self.rtcp = rtcp
        self.connected: socket.socket | None = None
        self.latch = Latch(None)
        self.target: Address | None = None
        """Where media to this side goes: the latched address, until then the SDP's."""
        self.rtcp_target: Address | None = None
        self.payload_types: Mapping[int, int] = {}
        """Payload types to change in packets to this side."""
        self.laws: Mapping[int, Laws] = {}
        """Of these, by the number they come with, the ones to be brought from one law to the other."""
        self.comfort_noise = False
        """Whether the side takes comfort noise (RFC 3389)."""
        self.security: Security | None = None
        """Keys of a side that speaks SRTP; everything behind its sockets is plain RTP."""
        self.crypto: Crypto | None = None
        """Our key towards the side, in force or on offer."""
        self.opportunistic = False
        """Keys stand in RTP/AVP and may be left (RFC 8643), not in RTP/SAVP."""
        self.srtp_required = False
        self.keys = DigitCollector()
        self.keys_left = KEYS_PER_FLUSH_MAX
        self.keys_told = 0
        self.on_odd: Callable[[bytes, float], None] = _nobody
        """Given what is no voice by its size, or no RTP: events, comfort noise, garbage."""
        self.arrivals: deque[float] = deque(maxlen=PACKETS_PER_FLUSH_MAX)
        self.packets: deque[bytes] = deque(maxlen=PACKETS_PER_FLUSH_MAX)
        self.last_packet = b""
        """The latest as of the last flush; an announcement to the other side goes on from its numbers."""
        self.refused = 0
        self.statistics = StreamStatistics()
        self.receive_octets = NARROW_OCTETS
        self.on_widened: Callable[[], None] = _nobody

    @property
    def family(self) -> int:
        """The IP version of its sockets."""
        return 6 if ":" in self.address else 4

    def expect(self, rtp: Address | None, rtcp: Address | None) -> None:
        """Latch anew, with the addresses of a new description; None where it wants nothing sent."""
        moved = rtp != self.latch.expected
        self.disconnect()
        self.latch = Latch(rtp)
        # A refresh with the same SDP must not send a side behind NAT back to its private address meanwhile.
        if moved or self.target is None:
            self.target, self.rtcp_target = rtp, rtcp

    def connect(self, peer: Address) -> list[tuple[bytes, Address]]:
        """Take a socket of its own for ``peer``; returns datagrams that came to it before it was connected.

        Raises OSError where no descriptor or memory is left; the open socket then goes on alone.
        """
        self.disconnect()
        # Only for this moment may two sockets share the port: outside it nothing else on the machine can bind it.
        self.rtp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connected = _socket(self.rtp.family)
        try:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connected.bind((self.address, self.port))
            connected.connect(peer)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError:
            connected.close()
            raise
        finally:
            self.rtp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        self.connected = connected
        self.target = peer
        early: list[tuple[bytes, Address]] = []
        while len(early) < DRAIN_MAX:
            try:
                data, source = connected.recvfrom(DATAGRAM_OCTETS_MAX)
            except OSError:
                break
            early.append((data, (source[0], source[1])))
        return early

    def widen(self) -> None:
        """A packet filled the buffer and is lost: take the largest from now on."""
        self.refused += 1
        self.receive_octets = DATAGRAM_OCTETS_MAX
        self.on_widened()

    def receiver(self) -> Callable[[int], bytes]:
        """How a packet comes from the latched side; an empty one, which is refused, where SRTP finds it forged."""
        assert self.connected is not None
        receive, security = self.connected.recv, self.security
        if security is None:
            return receive

        def receive_protected(_octets: int) -> bytes:
            # Cut off at the end it would be no longer authentic: the buffer is the largest at once.
            data = receive(DATAGRAM_OCTETS_MAX)
            try:
                return security.unprotect(data)
            except PeerFault:
                return b""

        return receive_protected

    def disconnect(self) -> None:
        """Give the connected socket up; the open one sees everything again."""
        if self.connected is not None:
            self.connected.close()
            self.connected = None

    def sender(self, *, rewritten: bool = True) -> Send:
        """How a packet gets to this side as things stand; our own packets need no other payload type."""
        if self.connected is not None:
            send: Send = self.connected.send
        elif self.target is not None:
            send = sender_to(self.rtp, self.target)
        else:
            return discard
        if self.security is not None:
            send = protecting(send, self.security)
        return rewriting(send, self.payload_types, self.laws) if rewritten and self.payload_types else send

    def close(self) -> None:
        """Close all sockets of the side, and let go of the call: what refer to each other stay in memory for long."""
        self.disconnect()
        self.rtp.close()
        self.rtcp.close()
        self.on_odd = self.on_widened = _nobody


def _nobody(*_told: object) -> None:
    """Stands where a call will be told, or was."""


def _socket(family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def open_leg(side: Side, address: str, advertised: str, pool: PortPool, now: float) -> Leg:
    """A side on a port of the pool, bound to ``address`` and shown as ``advertised``.

    Raises PortPoolExhausted, also where the machine gives us no sockets.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(PORT_TRIES_MAX):
        port = pool.take(now)
        sockets: list[socket.socket] = []
        try:
            for number in (port, port + 1):
                sockets.append(_socket(family))
                sockets[-1].bind((address, number))
        except OSError:
            for opened in sockets:
                opened.close()
            pool.give_back([port], now)
            continue
        return Leg(side, address, advertised, port, sockets[0], sockets[1])
    raise PortPoolExhausted
