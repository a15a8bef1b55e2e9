"""Answers Prometheus, and nothing else, over HTTP/1.1 on a port of the engine's own.

A scrape thus tells of the engine and not of the API before it; a whole web server for one page would be too much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engine.runtime.monitoring.metrics import CONTENT_TYPE

CONNECTIONS_MAX = 16
REQUEST_OCTETS_MAX = 16_384
REQUEST_SECONDS_MAX = 5.0


class MetricsServer:
    """``text()`` is asked for each scrape."""

    def __init__(self, host: str, port: int, text: Callable[[], str]) -> None:
        self._host = host
        self._port = port
        self._text = text
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """Where it listens, once it does."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Raises OSError where the port is taken."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=REQUEST_OCTETS_MAX)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._connections):
                writer.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.close()
            return
        self._connections.add(writer)
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.partition(b"\r\n")[0]))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a scraper that went away, or something that speaks no HTTP
        finally:
            self._connections.discard(writer)
            writer.close()

    def _answer(self, request_line: bytes) -> bytes:
        method, _, rest = request_line.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path != b"/metrics":
            return _response("404 Not Found", "only /metrics is here\n")
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "GET\n")
        return _response("200 OK", self._text(), with_body=method == b"GET")


def _response(status: str, text: str, *, with_body: bool = True) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {CONTENT_TYPE}; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(head).encode() + (body if with_body else b"")
