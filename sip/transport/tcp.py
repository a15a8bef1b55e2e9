"""SIP over TCP (RFC 3261 §18): connections by peer, reused; responses go back on the one that brought the request.

`TlsTransport` is the same over TLS.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sip.core.framer import StreamFramer
from sip.core.hop import Hop
from sip.errors import PeerFault

LISTEN_BACKLOG = 512
SWEEPS_PER_IDLE_TIME = 4


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bounds of one stream transport.

    `connections_max` counts both directions, those being made too; `connections_per_source_max` incoming ones of one
    address. A connection on which no whole message or keep-alive has come or gone for `idle_seconds` is closed: that
    ends the one that sends its message an octet at a time as well.
    """

    connections_max: int = 10_000
    connections_per_source_max: int = 200  # an office behind one NAT
    idle_seconds: float = 900.0
    connect_seconds: float = 4.0
    handshake_seconds: float = 5.0
    waiting_octets_max: int = 262_144  # to be written once a connection is made
    write_octets_max: int = 1_048_576  # written, and not taken by a slow peer; above it the connection is cut


@dataclass(slots=True)
class StreamCounters:
    """Each only grows."""

    accepted: int = 0
    connected: int = 0
    connect_failures: int = 0
    refused_at_limit: int = 0
    closed_garbage: int = 0
    closed_idle: int = 0
    closed_slow: int = 0


@dataclass(slots=True)
class StreamUser:
    """Whom a transport works for: the endpoint."""

    receive: Callable[[bytes, Hop], None]
    drained: Callable[[], None]
    failed: Callable[[Hop], None]  # nothing could be delivered there
    lost: Callable[[Hop], None]  # a connection that had been there is gone


class StreamConnection(asyncio.Protocol):
    """One connection. `hop` is the peer: for an outgoing one as it was asked for, name included."""

    def __init__(self, owner: TcpTransport, hop: Hop | None) -> None:
        self.hop = hop
        self.is_incoming = hop is None
        self.waiting: list[bytes] = []
        self.waiting_octets = 0
        self.active_at = 0.0
        self.alias: Hop | None = None
        self._owner = owner
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, base)  # uvloop's are no subclasses of it
        self._transport = transport
        if self.hop is None:
            peer = transport.get_extra_info("peername")
            if peer is None:  # gone before we looked
                transport.abort()
                return
            self.hop = Hop(self._owner.name, peer[0], peer[1])
        self.active_at = self._owner.now()
        if not self._owner.made(self, self.hop):
            transport.abort()
            return
        for data in self.waiting:
            transport.write(data)
        self.waiting.clear()

    def data_received(self, data: bytes) -> None:
        hop, owner = self.hop, self._owner
        if hop is None or self._transport is None or self._transport.is_closing():
            return
        try:
            messages = self._framer.receive(data)
        except PeerFault:
            owner.counters.closed_garbage += 1
            self._transport.abort()
            return
        if messages:
            self.active_at = owner.now()
            owner.take(messages, hop)

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

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class TcpTransport:
    """Listens on one address, and connects from there to wherever a message is to go."""

    name = "tcp"

    def __init__(self, host: str, port: int, limits: StreamLimits | None = None) -> None:
        """Binds to a numeric `host`; port 0 takes a free one. Raises OSError when it cannot be bound."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.bind((host, port))
            self._socket.listen(LISTEN_BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self.is_ipv6 = family == socket.AF_INET6
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.limits = limits or StreamLimits()
        self.counters = StreamCounters()
        self._connections: dict[Hop, StreamConnection] = {}
        self._by_source: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._user: StreamUser | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # connections being made, at most connections_max, and the server
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many there are, those being made and aliases included."""
        return len(self._connections)

    def now(self) -> float:
        """Seconds on the loop's clock."""
        return self._loop.time() if self._loop is not None else 0.0

    def listen(self, loop: asyncio.AbstractEventLoop, user: StreamUser) -> None:
        """Starts accepting on `loop`."""
        self._loop, self._user = loop, user
        self._start(self._serve())
        self._sweeper = loop.call_later(self.limits.idle_seconds / SWEEPS_PER_IDLE_TIME, self._sweep)

    def send(self, data: bytes, hop: Hop) -> bool:
        """Sends on the connection to `hop`, made where there is none. False when it is clear at once that it fails;
        what fails later is told by `failed`."""
        connection = self._connections.get(hop)
        if connection is None:
            if self._loop is None:
                return False
            if len(self._connections) >= self.limits.connections_max:
                self.counters.refused_at_limit += 1
                return False
            connection = self._connections[hop] = StreamConnection(self, hop)
            self._start(self._connect(connection, hop))
        return connection.send(data)

    def alias(self, source: Hop, port: int) -> None:
        """Lets requests to the peer's own port go back on the connection that it has made (RFC 5923 §4).

        Only for a peer known by its certificate: by an address alone, one phone behind a NAT could take the calls of
        another.
        """
        connection = self._connections.get(source)
        alias = source._replace(port=port)
        if connection is None or connection.alias is not None or not connection.peer_certificate():
            return
        if alias not in self._connections and len(self._connections) < self.limits.connections_max:
            connection.alias = alias
            self._connections[alias] = connection

    def close(self) -> None:
        """Closes all connections and stops listening. Idempotent."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._user = None
        for task in list(self._tasks):
            task.cancel()
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections.values()):
            connection.close()
        self._connections.clear()
        self._loop = None
        self._socket.close()

    # --- for the connections --------------------------------------------------------------------------------------

    def made(self, connection: StreamConnection, hop: Hop) -> bool:
        """A connection is there; False when there must not be one more."""
        if self._user is None:
            return False
        if not connection.is_incoming:
            self.counters.connected += 1
            return True
        limits = self.limits
        if (
            len(self._connections) >= limits.connections_max
            or self._by_source[hop.host] >= limits.connections_per_source_max
        ):
            self.counters.refused_at_limit += 1
            if not self._by_source[hop.host]:
                del self._by_source[hop.host]
            connection.hop = None
            return False
        self.counters.accepted += 1
        self._connections[hop] = connection
        self._by_source[hop.host] += 1
        return True

    def take(self, messages: list[bytes], hop: Hop) -> None:
        """Hands on what has come."""
        user = self._user
        if user is None:
            return
        try:
            for data in messages:
                user.receive(data, hop)
        finally:
            user.drained()

    def unmade(self, connection: StreamConnection) -> None:
        """A connection is gone."""
        hop = connection.hop
        if hop is None:
            return
        for key in (hop, connection.alias):
            if key is not None and self._connections.get(key) is connection:
                del self._connections[key]
        if connection.is_incoming:
            self._by_source[hop.host] -= 1
            if not self._by_source[hop.host]:
                del self._by_source[hop.host]
        if self._user is not None:
            self._user.lost(hop)

    # --- work -----------------------------------------------------------------------------------------------------

    def _server_context(self) -> ssl.SSLContext | None:
        return None

    def _client_context(self) -> ssl.SSLContext | None:
        return None

    def _start(self, work: object) -> None:
        assert self._loop is not None
        task: asyncio.Task[None] = self._loop.create_task(work)  # type: ignore[arg-type]  # coroutine of ours
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self) -> None:
        assert self._loop is not None
        context = self._server_context()
        handshake_seconds = self.limits.handshake_seconds if context is not None else None
        self._server = await self._loop.create_server(
            lambda: StreamConnection(self, None),
            sock=self._socket,
            ssl=context,
            backlog=LISTEN_BACKLOG,
            ssl_handshake_timeout=handshake_seconds,
        )

    async def _connect(self, connection: StreamConnection, hop: Hop) -> None:
        assert self._loop is not None
        context = self._client_context()
        try:
            async with asyncio.timeout(self.limits.connect_seconds + self.limits.handshake_seconds * bool(context)):
                await self._loop.create_connection(
                    lambda: connection,
                    hop.host,
                    hop.port,
                    ssl=context,
                    server_hostname=(hop.name or hop.host) if context is not None else None,
                    local_addr=(self.address[0], 0),
                )
        except (OSError, ssl.SSLError, TimeoutError, UnicodeError):
            self.counters.connect_failures += 1
            if self._connections.get(hop) is connection:
                del self._connections[hop]
            if self._user is not None:
                self._user.failed(hop)

    def _sweep(self) -> None:
        if self._loop is None:
            return
        since = self.now() - self.limits.idle_seconds
        for connection in set(self._connections.values()):
            if connection.active_at and connection.active_at < since:
                self.counters.closed_idle += 1
                connection.close()
        self._sweeper = self._loop.call_later(self.limits.idle_seconds / SWEEPS_PER_IDLE_TIME, self._sweep)
