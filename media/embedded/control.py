"""The worker's side of the control socket: messages in, replies and events out.

A Unix socket of type SEQPACKET keeps message boundaries and tells when the other side goes. The worker listens; an
engine connects, and after a restart connects again, which the calls do not notice. Events that no engine was there to
hear are kept for the next one. Those sent shortly before a connection ended are sent again on the next, since they may
have been in a buffer that nobody read: events come at least once.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import msgspec

from media.embedded.call import Handler
from media.plane import Command, Dtmf, Event, Reply

log = logging.getLogger("media.control")

CONNECTIONS_MAX: Final = 4
"""More than one only while a new engine takes over; events go to the newest."""

MESSAGE_OCTETS_MAX: Final = 65_536
OUTBOUND_MAX: Final = 10_000
"""Messages waiting for an engine that does not read. Beyond it the connection is closed."""

EVENTS_KEPT_MAX: Final = 10_000
"""Events kept while no engine is connected; the oldest go first."""

EVENTS_REPEATED_SECONDS: Final = 5.0
MESSAGES_PER_WAKE: Final = 32
"""Commands taken at once, before packets have their turn again."""

_decoder: Final = msgspec.msgpack.Decoder(Command)
_encoder: Final = msgspec.msgpack.Encoder()


class Watcher(Protocol):
    """The loop, as far as this module needs it."""

    def watch(self, descriptor: int, handler: Handler) -> None: ...
    def watch_output(self, descriptor: int, wanted: bool) -> None: ...
    def forget(self, descriptor: int) -> None: ...


class ControlSocket:
    """Listens at ``path``; hands each command to ``execute`` and sends back what it returns."""

    def __init__(
        self,
        path: Path,
        watcher: Watcher,
        execute: Callable[[Command], Reply],
        engine_came: Callable[[float], None] = lambda _now: None,
    ) -> None:
        """``engine_came`` is told of each connection. Raises OSError if it cannot listen there, also when another
        worker does."""
        self.path = path
        self._watcher = watcher
        self._execute = execute
        self._engine_came = engine_came
        self._connections: list[_Connection] = []
        self._events: deque[bytes] = deque(maxlen=EVENTS_KEPT_MAX)
        self._told: deque[tuple[float, bytes]] = deque(maxlen=EVENTS_KEPT_MAX)
        self.malformed = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        mask = os.umask(0o177)  # who can connect can redirect calls: the owner only
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(mask)
        self._listener.listen(CONNECTIONS_MAX)
        watcher.watch(self._listener.fileno(), self._accept)

    @property
    def connected(self) -> bool:
        """Whether an engine is there."""
        return bool(self._connections)

    def emit(self, event: Event, now: float) -> None:
        """Send an event to the engine, or keep it for the next one."""
        message = _encoder.encode(event)
        if not self._connections:
            self._events.append(message)
            return
        self._tell(self._connections[-1], message, now, is_repeated=not isinstance(event, Dtmf))

    def close(self) -> None:
        """Stop listening and hang up."""
        for connection in list(self._connections):
            self._drop(connection)
        self._watcher.forget(self._listener.fileno())
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _accept(self, now: float) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return
        if len(self._connections) >= CONNECTIONS_MAX:
            accepted.close()
            return
        accepted.setblocking(False)
        connection = _Connection(accepted)
        try:
            self._watcher.watch(accepted.fileno(), lambda _now: self._serve(connection))
        except OSError:
            accepted.close()
            return
        self._connections.append(connection)
        self._engine_came(now)
        repeated = [message for when, message in self._told if when > now - EVENTS_REPEATED_SECONDS]
        self._told.clear()
        for message in [*repeated, *self._events]:
            self._tell(connection, message, now)
        self._events.clear()

    def _tell(self, connection: _Connection, message: bytes, now: float, *, is_repeated: bool = True) -> None:
        while self._told and self._told[0][0] <= now - EVENTS_REPEATED_SECONDS:
            self._told.popleft()
        if is_repeated:
            self._told.append((now, message))
        self._send(connection, message)

    def _serve(self, connection: _Connection) -> None:
        if connection.outbound:
            self._send_on(connection)
        for _ in range(MESSAGES_PER_WAKE):
            if connection.closed:
                return
            try:
                message = connection.socket.recv(MESSAGE_OCTETS_MAX)
            except BlockingIOError:
                return
            except ConnectionResetError:
                # It went with replies unread. What it has commanded before is here still, and is to be done.
                connection.deaf = True
                continue
            except OSError:
                message = b""
            if not message:
                self._drop(connection)
                return
            try:
                command = _decoder.decode(message)
            except msgspec.MsgspecError:
                self.malformed += 1
                log.warning("control: a message that is no command (%d so far)", self.malformed)
                continue
            self._send(connection, _encoder.encode(self._execute(command)))

    def _send(self, connection: _Connection, message: bytes) -> None:
        if connection.closed or connection.deaf:
            return
        connection.outbound.append(message)
        if len(connection.outbound) == 1:
            self._send_on(connection)
        elif len(connection.outbound) > OUTBOUND_MAX:
            log.error("control: the engine does not read, hanging up")
            self._drop(connection)

    def _send_on(self, connection: _Connection) -> None:
        outbound = connection.outbound
        while outbound:
            try:
                connection.socket.send(outbound[0])
            except BlockingIOError:
                break
            except OSError:
                # Nobody is there to read; commands that were sent before may be, and their end is told after them.
                connection.deaf = True
                outbound.clear()
                break
            outbound.popleft()
        if connection.waiting is not bool(outbound):
            connection.waiting = bool(outbound)
            self._watcher.watch_output(connection.socket.fileno(), connection.waiting)

    def _drop(self, connection: _Connection) -> None:
        if connection.closed:
            return
        connection.closed = True
        self._connections.remove(connection)
        self._watcher.forget(connection.socket.fileno())
        connection.socket.close()


class _Connection:
    """One engine's connection and what waits to be sent on it."""

    __slots__ = ("closed", "deaf", "outbound", "socket", "waiting")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.outbound: deque[bytes] = deque()
        self.waiting = False
        self.closed = False
        self.deaf = False
        """What we say is read no more."""


def _remove_stale(path: Path) -> None:
    """Remove the socket of a worker that died. Raises OSError if one answers there."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe, suppress(ConnectionRefusedError):
        probe.connect(str(path))
        raise OSError(f"another worker listens at {path}")
    path.unlink(missing_ok=True)
