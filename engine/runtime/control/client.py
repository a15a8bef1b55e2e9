"""Another process's end of the engine's control interface."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from engine.runtime.control.protocol import LINE_OCTETS_MAX, ControlCommand, ControlReply

ANSWER_SECONDS_MAX = 5.0

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ControlReply).decode


class EngineUnavailable(Exception):
    """The engine is not running, or does not answer in time."""


class EngineControl:
    """One connection a question: questions are rare, and an engine that was restarted needs no care."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def ask(self, command: ControlCommand) -> ControlReply:
        """The engine's reply. Raises EngineUnavailable."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                reader, writer = await asyncio.open_unix_connection(str(self._socket), limit=LINE_OCTETS_MAX)
                try:
                    writer.write(_encode(command) + b"\n")
                    await writer.drain()
                    reply: ControlReply = _decode(await reader.readuntil(b"\n"))
                    return reply
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, msgspec.MsgspecError) as error:
            raise EngineUnavailable(f"the engine does not answer at {self._socket.name}") from error
