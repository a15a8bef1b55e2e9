"""SIP over TCP (RFC 3261 §18): connections by peer, reused; responses go back on the one that brought the request.

`TlsTransport` is the same over TLS.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter

from sip.core.hop import Hop
from sip.transport.stream_connection import StreamConnection, StreamCounters, StreamLimits, StreamUser

LISTEN_BACKLOG = 512
ACCEPTS_PER_WAKE_UP_MAX = 64
ACCEPT_RETRY_SECONDS = 1.0
SWEEPS_PER_IDLE_TIME = 4
SWEEPS_PER_PING_TIME = 4


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
        self._handshakes = 0
        self._tasks: set[asyncio.Task[None]] = set()  # connections being made, at most connections_max
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many there are, those being made and aliases included."""
        return len(self._connections) + self._handshakes

    def is_connected(self, hop: Hop) -> bool:
        """Whether there is a connection to `hop`, or one is being made."""
        return hop in self._connections

    def now(self) -> float:
        """Seconds on the loop's clock."""
        return self._loop.time() if self._loop is not None else 0.0

    def listen(self, loop: asyncio.AbstractEventLoop, user: StreamUser) -> None:
        """Starts accepting on `loop`."""
        self._loop, self._user = loop, user
        loop.add_reader(self._socket.fileno(), self._accept)
        self._sweeper = loop.call_later(self._sweep_seconds(), self._sweep)

    def send(self, data: bytes, hop: Hop) -> bool:
        """Sends on the connection to `hop`, made where there is none. False when it is clear at once that it fails;
        what fails later is told by `failed`."""
        connection = self._connections.get(hop)
        if connection is None:
            if self._loop is None:
                return False
            if self.connections >= self.limits.connections_max:
                self.counters.refused_at_limit += 1
                return False
            connection = self._connections[hop] = StreamConnection(self, hop, is_incoming=False)
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
        if alias not in self._connections and self.connections < self.limits.connections_max:
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
        if self._loop is not None and self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
        for connection in list(self._connections.values()):
            connection.close()
        self._connections.clear()
        self._loop = None
        self._socket.close()

    # --- for the connections --------------------------------------------------------------------------------------

    def made(self, connection: StreamConnection) -> bool:
        """A connection is there; False when there must not be one more."""
        if self._user is None:
            return False
        if not connection.is_incoming:
            self.counters.connected += 1
            return True
        self.counters.accepted += 1
        self._connections[connection.hop] = connection
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
        for key in (hop, connection.alias):
            if key is not None and self._connections.get(key) is connection:
                del self._connections[key]
        if connection.is_incoming:
            self._leave(hop)
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

    def _accept(self) -> None:
        """Takes who is waiting. A place is taken here, so that a handshake that is never ended has cost one."""
        loop = self._loop
        for _ in range(ACCEPTS_PER_WAKE_UP_MAX):
            try:
                accepted, address = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no file descriptor is left: asking again at once would be a busy loop
                self.counters.accept_failures += 1
                if loop is not None:
                    loop.remove_reader(self._socket.fileno())
                    loop.call_later(ACCEPT_RETRY_SECONDS, self._accept_again)
                return
            hop = Hop(self.name, address[0], address[1])
            if (
                self.connections >= self.limits.connections_max
                or self._by_source[hop.host] >= self.limits.connections_per_source_max
            ):
                self.counters.refused_at_limit += 1
                accepted.close()
                continue
            self._by_source[hop.host] += 1
            self._handshakes += 1
            self._start(self._welcome(accepted, hop))

    def _accept_again(self) -> None:
        if self._loop is not None:
            self._loop.add_reader(self._socket.fileno(), self._accept)

    async def _welcome(self, accepted: socket.socket, hop: Hop) -> None:
        assert self._loop is not None
        connection = StreamConnection(self, hop, is_incoming=True)
        context = self._server_context()
        try:
            accepted.setblocking(False)
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=context,
                ssl_handshake_timeout=self.limits.handshake_seconds if context is not None else None,
            )
        except (OSError, ssl.SSLError, TimeoutError):
            self.counters.handshake_failures += 1
            accepted.close()
            self._leave(hop)
        finally:
            self._handshakes -= 1

    def _leave(self, hop: Hop) -> None:
        """An incoming connection, or the beginning of one, is gone."""
        self._by_source[hop.host] -= 1
        if self._by_source[hop.host] <= 0:
            del self._by_source[hop.host]

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

    def _sweep_seconds(self) -> float:
        limits = self.limits
        seconds = limits.idle_seconds / SWEEPS_PER_IDLE_TIME
        return (
            min(seconds, limits.ping_seconds / SWEEPS_PER_PING_TIME, limits.pong_seconds)
            if limits.ping_seconds
            else seconds
        )

    def _sweep(self) -> None:
        if self._loop is None:
            return
        now = self.now()
        since = now - self.limits.idle_seconds
        for connection in set(self._connections.values()):
            if connection.active_at and connection.active_at < since:
                self.counters.closed_idle += 1
                connection.close()
            elif self.limits.ping_seconds:
                connection.keep_alive(now)
        self._sweeper = self._loop.call_later(self._sweep_seconds(), self._sweep)
