"""The port for Prometheus, and what else may come to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.runtime.monitoring import metrics_server
from engine.runtime.monitoring.metrics_server import MetricsServer


@pytest.fixture
async def server() -> AsyncIterator[MetricsServer]:
    made = MetricsServer("127.0.0.1", 0, lambda: "axbridge_up 1\n# größer\n")
    await made.start()
    yield made
    await made.close()


async def ask(server: MetricsServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_scrape_gets_the_figures(server: MetricsServer) -> None:
    answer = await ask(server, b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body.decode() == "axbridge_up 1\n# größer\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics/../x HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"\r\n\r\n", b"404"),
    ],
)
async def test_anything_else_is_refused(server: MetricsServer, request_: bytes, status: bytes) -> None:
    assert (await ask(server, request_)).split()[1] == status


async def test_a_visitor_who_says_too_much_or_nothing_is_shown_out(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "REQUEST_SECONDS_MAX", 0.05)
    assert await ask(server, b"") == b""
    assert await ask(server, b"x" * 100_000) == b""
    assert b"200 OK" in await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_visitors_are_bounded(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "CONNECTIONS_MAX", 0)
    assert await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
