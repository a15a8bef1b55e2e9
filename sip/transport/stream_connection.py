"""One connection of a stream transport: framing, what waits to be written, keep-alives (RFC 5626 §4.4.1)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from sip.core.hop import Hop
from sip.core.messages.framer import PING, PONG, StreamFramer
from sip.errors import PeerFault


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bounds of one stream transport.

    `connections_max` counts both directions, those being made and TLS handshakes that are not over too;
    `connections_per_source_max` incoming ones of one address, likewise. A connection on which no whole message has
    come or gone for `idle_seconds` is closed: that ends the one that sends its message an octet at a time as well.

    A connection of our making on which nothing has come for `ping_seconds` is pinged (RFC 5626 §4.4.1), 0 for never. A
    peer that has answered pings before and does not within `pong_seconds` is gone. One that never has may not know
    RFC 5626, which nobody negotiates with a trunk: there the kernel gives up when the ping is not acknowledged in
    `unacknowledged_seconds` (TCP_USER_TIMEOUT, tcp(7)).
    """

    connections_max: int = 10_000
    connections_per_source_max: int = 200  # an office behind one NAT
    idle_seconds: float = 900.0
    connect_seconds: float = 4.0
    handshake_seconds: float = 5.0
    ping_seconds: float = 0.0
    pong_seconds: float = 10.0
    unacknowledged_seconds: float = 20.0
    waiting_octets_max: int = 262_144  # to be written once a connection is made
    write_octets_max: int = 1_048_576  # written, and not taken by a slow peer; above it the connection is cut


@dataclass(slots=True)
class StreamCounters:
    """Each only grows."""

    accepted: int = 0
    connected: int = 0
    connect_failures: int = 0
    handshake_failures: int = 0  # TLS handshakes of others' making that came to nothing
    accept_failures: int = 0  # connections that the kernel had none of our file descriptors for
    refused_at_limit: int = 0
    closed_garbage: int = 0
    closed_idle: int = 0
    closed_slow: int = 0
    closed_silent: int = 0  # pinged, and no pong
    pings_sent: int = 0


@dataclass(slots=True)
class StreamUser:
    """Whom a transport works for: the endpoint."""

    receive: Callable[[bytes, Hop], None]
    drained: Callable[[], None]
    failed: Callable[[Hop], None]  # nothing could be delivered there
    lost: Callable[[Hop], None]  # a connection that had been there is gone


class StreamOwner(Protocol):
    """What a connection needs of its transport."""

    limits: StreamLimits
    counters: StreamCounters

    def now(self) -> float: ...

    def made(self, connection: StreamConnection) -> bool: ...

    def unmade(self, connection: StreamConnection) -> None: ...

    def take(self, messages: list[bytes], hop: Hop) -> None: ...


class StreamConnection(asyncio.Protocol):
    """One connection. `hop` is the peer: for an outgoing one as it was asked for, name included."""

    def __init__(self, owner: StreamOwner, hop: Hop, *, is_incoming: bool) -> None:
        self.hop = hop
        self.is_incoming = is_incoming
        self.waiting: list[bytes] = []
        self.waiting_octets = 0
        self.active_at = 0.0
        self.heard_at = 0.0
        self.silent_since = 0.0  # when the first ping that nothing has come after was sent; 0 where there is none
        self.pinged_at = 0.0
        self.has_ponged = False
        self.alias: Hop | None = None
        self._owner = owner
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, base)  # uvloop's are no subclasses of it
        self._transport = transport
        self.active_at = self.heard_at = self._owner.now()
        if not self.is_incoming:
            self._set_user_timeout(transport)
        if not self._owner.made(self):
            transport.abort()
            return
        for data in self.waiting:
            transport.write(data)
        self.waiting.clear()

    def data_received(self, data: bytes) -> None:
        owner = self._owner
        if self._transport is None or self._transport.is_closing():
            return
        try:
            messages = self._framer.receive(data)
        except PeerFault:
            owner.counters.closed_garbage += 1
            self._transport.abort()
            return
        self.heard_at = owner.now()
        self.silent_since = 0.0  # whatever comes shows that the flow is alive; only a pong, that this peer gives pongs
        if PONG in messages:
            self.has_ponged = True
            messages = [each for each in messages if each != PONG]
        if messages:
            self.active_at = self.heard_at
            owner.take(messages, self.hop)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owner.unmade(self)

    def peer_certificate(self) -> bool:
        """True when the peer has shown a certificate that was verified."""
        return self._transport is not None and bool(self._transport.get_extra_info("peercert"))

    def send(self, data: bytes) -> bool:
        """Writes, or keeps until the connection is made. False at a limit."""
        transport = self._transport
        if transport is None:
            self.waiting_octets += len(data)
            if self.waiting_octets > self._owner.limits.waiting_octets_max:
                return False
            self.waiting.append(data)
            return True
        if transport.is_closing():
            return False
        self.active_at = self._owner.now()
        transport.write(data)
        if transport.get_write_buffer_size() > self._owner.limits.write_octets_max:
            self._owner.counters.closed_slow += 1
            transport.abort()
            return False
        return True

    def keep_alive(self, now: float) -> None:
        """Pings where it is time to, and cuts the connection where the pong is overdue."""
        limits, transport = self._owner.limits, self._transport
        if self.is_incoming or transport is None or transport.is_closing():
            return
        if self.silent_since and self.has_ponged and now - self.silent_since >= limits.pong_seconds:
            self._owner.counters.closed_silent += 1
            transport.abort()
            return
        if now - max(self.heard_at, self.pinged_at) >= limits.ping_seconds:
            self.pinged_at = now
            self.silent_since = self.silent_since or now
            self._framer.expect_pong()
            self._owner.counters.pings_sent += 1
            transport.write(PING)

    def _set_user_timeout(self, transport: asyncio.Transport) -> None:
        own = transport.get_extra_info("socket")
        seconds = self._owner.limits.unacknowledged_seconds
        if own is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux's own
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
