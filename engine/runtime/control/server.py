"""The engine's end of the control interface: a Unix socket that only the service's own account can open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import structlog

from engine.runtime.control.protocol import LINE_OCTETS_MAX, ControlCommand, ControlReply, Failed

CONNECTIONS_MAX = 64
COMMAND_OCTETS_MAX = 4096

log = structlog.get_logger()


class ControlServer:
    """Answers one JSON object a line; ``answer`` does the work."""

    def __init__(self, socket: Path, answer: Callable[[ControlCommand], Awaitable[ControlReply]]) -> None:
        self._socket = socket
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(ControlCommand).decode

    async def start(self) -> None:
        """Raises OSError."""
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)  # of an engine that was killed
        self._server = await asyncio.start_unix_server(self._serve, str(self._socket), limit=COMMAND_OCTETS_MAX)
        os.chmod(self._socket, 0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._connections):
                writer.close()
            await self._server.wait_closed()
        self._socket.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.close()
            return
        self._connections.add(writer)
        try:
            while line := await reader.readline():
                reply = await self._reply(line)
                data = self._encode(reply) + b"\n"
                if len(data) > LINE_OCTETS_MAX:
                    data = self._encode(Failed("the answer is too long")) + b"\n"
                writer.write(data)
                await writer.drain()
        except (OSError, ValueError) as error:  # a line over the limit is a ValueError of the stream
            log.warning("control connection dropped", reason=type(error).__name__)
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _reply(self, line: bytes) -> ControlReply:
        try:
            command = self._decode(line)
        except msgspec.MsgspecError as error:
            return Failed(f"not a command: {error}")
        return await self._answer(command)
