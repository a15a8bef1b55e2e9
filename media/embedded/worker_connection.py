"""The connection to one worker's control socket: commands out, replies and events in, again whenever it is gone."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import msgspec

from media.plane import Accepted, Command, Event, Refused, Reply

log = logging.getLogger("media.client")

OUTBOUND_MAX: Final = 2_000
"""Commands waiting for one worker that does not read; further ones are refused as unreachable."""

PENDING_MAX: Final = 10_000
"""Commands sent to one worker and not yet replied to."""

MESSAGE_OCTETS_MAX: Final = 1 << 20
"""A list of 10,000 calls has 300 kB; the kernel's own limit for one message is below this."""

MESSAGES_PER_WAKE: Final = 64
LIST_SECONDS_MAX: Final = 1.0
"""How long the start waits for a worker that is there to tell its calls; 10,000 take it some milliseconds."""
RECONNECT_SECONDS_MIN: Final = 0.05
RECONNECT_SECONDS_MAX: Final = 0.5
"""A worker that is started anew takes seconds; its first call should not wait for as long again."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Accepted | Refused | Event)


class WorkerUser(Protocol):
    """Who is told what comes of a worker."""

    def connected(self, worker: WorkerConnection) -> None: ...
    def lost(self, worker: WorkerConnection, pending: list[Command]) -> None:
        """It is gone; ``pending`` are the commands that it has not replied to."""

    def settle(self) -> None:
        """It could not be connected to."""

    def replied(self, worker: WorkerConnection, command: Command, reply: Reply) -> None: ...
    def told(self, event: Event) -> None: ...


class WorkerConnection:
    """``call_ids`` and the sets beside it are the user's, kept here since they go with the worker."""

    def __init__(self, path: Path, user: WorkerUser, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._user = user
        self._loop = loop
        self._socket: socket.socket | None = None
        self._outbound: deque[bytes] = deque()
        self._pending: dict[int, Command] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._delay_seconds = RECONNECT_SECONDS_MIN
        self._closed = False
        self.call_ids: set[str] = set()
        self.answered: set[str] = set()
        """Calls whose first offer was accepted."""
        self.recording: set[str] = set()
        """Calls whose recordings it has not told of: those that it holds, and some that have just ended."""
        self.given_up: set[str] = set()
        """Calls reported as lost, which a worker that was only cut off may still hold."""
        self.listed = asyncio.Event()
        self._has_no_room = False

    @property
    def connected(self) -> bool:
        return self._socket is not None

    @property
    def is_silent(self) -> bool:
        """It is there, and has not told its calls."""
        return (self.connected or self._has_no_room) and not self.listed.is_set()

    async def start(self) -> None:
        self._connect()
        if self.is_silent:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.listed.wait(), LIST_SECONDS_MAX)

    def send(self, command: Command) -> bool:
        """False if the worker is away or has too much to do already."""
        if self._socket is None or len(self._pending) >= PENDING_MAX or len(self._outbound) >= OUTBOUND_MAX:
            return False
        message = _encoder.encode(command)
        self._pending[command.cookie] = command
        if self._outbound:
            self._outbound.append(message)
            return True
        try:
            self._socket.send(message)
        except BlockingIOError:
            self._outbound.append(message)
            self._loop.add_writer(self._socket, self._send_on)
        except OSError:
            # The reply is a refusal by way of ``lost``, soon and not from within the caller's own call.
            self._loop.call_soon(self._lost, self._socket)
        return True

    def close(self) -> None:
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        if self._socket is not None:
            self._lost(self._socket, quiet=True)

    def _connect(self) -> None:
        self._retry = None
        if self._closed:
            return
        attempt = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            attempt.connect(str(self._path))
        except OSError as error:
            attempt.close()
            # So many connections wait for it: it is there, and accepts none (unix(7), connect(2): EAGAIN).
            self._has_no_room = isinstance(error, BlockingIOError)
            self._try_again()
            self._user.settle()
            return
        self._has_no_room = False
        self._socket = attempt
        self._delay_seconds = RECONNECT_SECONDS_MIN
        self._loop.add_reader(attempt, self._receive)
        self._user.connected(self)

    def _try_again(self) -> None:
        self._retry = self._loop.call_later(self._delay_seconds, self._connect)
        self._delay_seconds = min(2 * self._delay_seconds, RECONNECT_SECONDS_MAX)

    def _receive(self) -> None:
        for _ in range(MESSAGES_PER_WAKE):
            connection = self._socket
            if connection is None:
                return
            try:
                message = connection.recv(MESSAGE_OCTETS_MAX)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._lost(connection)
                return
            try:
                decoded = _decoder.decode(message)
            except msgspec.MsgspecError:
                log.error("a media worker sent what is no reply and no event")
                continue
            if isinstance(decoded, Accepted | Refused):
                command = self._pending.pop(decoded.cookie, None)
                if command is not None:
                    self._user.replied(self, command, decoded)
            else:
                self._user.told(decoded)

    def _send_on(self) -> None:
        if self._socket is None:
            return
        while self._outbound:
            try:
                self._socket.send(self._outbound[0])
            except BlockingIOError:
                return
            except OSError:
                self._lost(self._socket)
                return
            self._outbound.popleft()
        self._loop.remove_writer(self._socket)

    def _lost(self, connection: socket.socket, *, quiet: bool = False) -> None:
        if self._socket is not connection:
            return
        self._loop.remove_reader(connection)
        self._loop.remove_writer(connection)
        connection.close()
        self._socket = None
        self._outbound.clear()
        pending, self._pending = list(self._pending.values()), {}
        if quiet:
            return
        log.error("a media worker is gone")
        self._user.lost(self, pending)
        self._try_again()
