"""Deliveries to an endpoint that really listens, and does what endpoints do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import open_database, reading, writing, writing_session
from engine.store.records.cdr_store import CDR_COLUMNS, write_cdrs, write_recordings
from engine.store.tables import Tenant, Webhook, WebhookDelivery
from engine.store.webhook_store import GIVE_UP_MS, EventKind, tell_of_records
from engine.webhooks import deliverer as module
from engine.webhooks.deliverer import DELAY_MS_MAX, FAILED_PAUSE_MS, FIRST_DELAY_MS, Deliverer, delay_ms
from engine.webhooks.sealing import seal
from engine.webhooks.signature import headers
from tests.unit.sip.stream_lane import Authority

KEY, SECRET = b"k" * 32, b"s" * 32
NOW_MS = 1_800_000_000_000


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(database_url)
    yield engine
    await engine.dispose()


class Endpoint:
    """An HTTP server of the least kind: keeps what it gets, and answers what ``answer`` says."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[int], bytes] = lambda _count: b"HTTP/1.1 204 No Content\r\n\r\n"
        self.delay_seconds = 0.0
        self.at_once = self.at_once_max = 0

    async def serve(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=tls)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
                body = await reader.readexactly(int(fields["content-length"]))
                self.received.append((head[0], fields, body))
                self.at_once += 1
                self.at_once_max = max(self.at_once_max, self.at_once)
                await asyncio.sleep(self.delay_seconds)
                self.at_once -= 1
                writer.write(self.answer(len(self.received)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is through
        finally:
            writer.close()

    @property
    def ids(self) -> list[str]:
        return [fields["webhook-id"] for _, fields, _ in self.received]


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    server = Endpoint()
    await server.serve()
    yield server
    server.close()


class Site:
    def __init__(self, database: AsyncEngine) -> None:
        self.database = database
        self.now_ms = NOW_MS
        self.deliverer = self.another()

    def another(self, *, private_allowed: bool = True, tls: ssl.SSLContext | None = None) -> Deliverer:
        return Deliverer(
            database=self.database,
            key=KEY,
            now_ms=lambda: self.now_ms,
            random=lambda: 0.999,
            private_allowed=private_allowed,
            tls=tls,
        )

    async def subscribe(self, url: str, tenant_id: int = 1) -> int:
        async with writing_session(self.database, NOW_MS) as session:
            if await session.get(Tenant, tenant_id) is None:
                session.add(Tenant(id=tenant_id, code=f"t{tenant_id}", name="T", created_at_ms=0))
                await session.flush()
            row = Webhook(tenant_id=tenant_id, url=url, kinds=[EventKind.CDR_ENDED, EventKind.RECORDING_READY])
            row.sealed_secret, row.created_at_ms = seal(KEY, SECRET, tenant_id, b"n" * 12), 0
            session.add(row)
            await session.flush()
            return row.id

    async def end_calls(self, *ids: str, tenant_id: int = 1, recorded: bool = False) -> None:
        rows = []
        for call_id in ids:
            row: dict[str, Any] = dict.fromkeys(CDR_COLUMNS)
            row |= {"id": call_id, "state": "ended", "tenant_id": tenant_id, "started_at_ms": 1, "ended_at_ms": 2}
            rows.append(row | {"billed_seconds": 60, "package_seconds": 0, "charge_micro": 5, "cost_micro": 4})
        made = [
            {"cdr_id": call_id, "path": "p", "duration_ms": 1, "size_octets": 2, "sha256": "s", "gaps_ms": []}
            for call_id in ids
            if recorded
        ]
        async with writing(self.database) as connection:
            await write_cdrs(connection, rows)
            await write_recordings(connection, made)
            await tell_of_records(connection, rows, [row["cdr_id"] for row in made], self.now_ms)

    async def deliveries(self) -> list[Any]:
        async with reading(self.database) as connection:
            return list(
                await connection.execute(
                    select(WebhookDelivery.__table__).order_by(WebhookDelivery.webhook_id, WebhookDelivery.id)
                )
            )

    async def webhook(self, webhook_id: int) -> Any:
        async with reading(self.database) as connection:
            return (await connection.execute(select(Webhook.__table__).where(Webhook.id == webhook_id))).one()


@pytest.fixture
def site(database: AsyncEngine) -> Site:
    return Site(database)


async def test_an_endpoint_gets_another_message_than_was_signed(site: Site, endpoint: Endpoint) -> None:
    await site.subscribe(f"http://localhost:{endpoint.port}/hook?key=1")
    await site.end_calls("c1", recorded=True)
    site.now_ms += 5_000
    await site.deliverer.deliver_due()
    assert sorted(endpoint.ids) == ["cdr.ended:c1", "recording.ready:c1"]
    line, fields, body = sorted(endpoint.received, key=lambda message: message[1]["webhook-id"])[0]
    assert line == "POST /hook?key=1 HTTP/1.1"
    assert fields["host"] == f"localhost:{endpoint.port}"
    assert fields["content-type"] == "application/json"
    signed = headers(SECRET, "cdr.ended:c1", (NOW_MS + 5_000) // 1000, body)
    assert {name: fields[name] for name in signed} == signed
    told = msgspec.json.decode(body)
    assert (told["id"], told["type"], told["occurred_at_ms"]) == ("cdr.ended:c1", "cdr.ended", 2)
    assert told["data"]["charge_micro"] == 5
    assert {"trunk_id", "cost_micro", "recording_path"} & set(told["data"]) == set()
    assert [(row.state, row.attempts, row.last_status) for row in await site.deliveries()] == [
        ("delivered", 1, 204)
    ] * 2
    await site.deliverer.deliver_due()
    assert len(endpoint.received) == 2, "sent again"


async def test_a_tenants_endpoint_is_told_of_anothers_record(site: Site, endpoint: Endpoint) -> None:
    await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    await site.end_calls("c1")
    async with writing(site.database) as connection:  # whatever went wrong in the outbox
        await connection.execute(WebhookDelivery.__table__.update().values(subject_id="c2"))
    await site.end_calls("c2", tenant_id=2)
    await site.deliverer.deliver_due()
    assert endpoint.received == []
    assert [(row.state, row.last_error) for row in await site.deliveries()] == [("dead", "the record is gone")]


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_a_success_is_taken_for_a_failure(site: Site, endpoint: Endpoint, status: int) -> None:
    endpoint.answer = lambda _count: b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status
    await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    await site.end_calls("c1")
    await site.deliverer.deliver_due()
    assert (await site.deliveries())[0].state == "delivered"


@pytest.mark.parametrize("status", [301, 307, 400, 404, 410, 429, 500, 503])
async def test_a_failure_is_taken_for_a_success_or_a_redirect_followed(
    site: Site, endpoint: Endpoint, status: int
) -> None:
    place = f"http://127.0.0.1:{endpoint.port}/elsewhere"
    endpoint.answer = lambda _count: f"HTTP/1.1 {status} x\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
    webhook_id = await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    await site.end_calls("c1")
    await site.deliverer.deliver_due()
    (row,) = await site.deliveries()
    assert (row.state, row.attempts, row.last_status, row.last_error) == ("pending", 1, status, f"answered {status}")
    assert len(endpoint.received) == 1
    webhook = await site.webhook(webhook_id)
    assert (webhook.failing_since_ms, webhook.last_error) == (NOW_MS, f"answered {status}")


async def test_a_failed_delivery_is_never_tried_again_or_for_ever(site: Site, endpoint: Endpoint) -> None:
    endpoint.answer = lambda _count: b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"
    await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    await site.end_calls("c1")
    attempts_at = []
    while (row := (await site.deliveries())[0]).state == "pending":
        site.now_ms = max(row.next_attempt_at_ms, site.now_ms + FAILED_PAUSE_MS)
        attempts_at.append(site.now_ms - NOW_MS)
        await site.deliverer.deliver_due()
        assert len(endpoint.received) == len(attempts_at)
    assert row.state == "dead"
    assert attempts_at[1] - attempts_at[0] < 2 * FIRST_DELAY_MS
    assert GIVE_UP_MS - DELAY_MS_MAX <= attempts_at[-1] < GIVE_UP_MS
    assert len(set(endpoint.ids)) == 1
    assert len({fields["webhook-timestamp"] for _, fields, _ in endpoint.received}) == len(attempts_at)


def test_delays_do_not_grow_or_have_no_chance_in_them() -> None:
    assert [delay_ms(n, 0.0) for n in (1, 2, 3)] == [2_500, 5_000, 10_000]
    assert delay_ms(1, 0.999) > 4_900
    assert delay_ms(10**6, 0.999) <= DELAY_MS_MAX


async def test_an_endpoint_that_comes_back_is_not_served(site: Site, endpoint: Endpoint) -> None:
    endpoint.answer = lambda count: b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % (500 if count <= 3 else 200)
    webhook_id = await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    await site.end_calls("c1", "c2", "c3")
    await site.deliverer.deliver_due()
    await site.deliverer.deliver_due()
    assert len(endpoint.received) == 3, "it rests after a batch of failures"
    site.now_ms += FAILED_PAUSE_MS
    await site.deliverer.deliver_due()
    assert {row.state for row in await site.deliveries()} == {"delivered"}
    assert (await site.webhook(webhook_id)).failing_since_ms is None


async def test_one_endpoint_gets_too_much_at_once_or_the_rest_never(
    site: Site, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(module, "CONCURRENT", 2)
    endpoint.delay_seconds = 0.005
    await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    ids = [f"c{n:02}" for n in range(11)]
    await site.end_calls(*ids)
    await site.deliverer.deliver_due()
    assert sorted(endpoint.ids) == [f"cdr.ended:{call_id}" for call_id in ids]
    assert endpoint.at_once_max == 2
    assert endpoint.ids[0] in ("cdr.ended:c00", "cdr.ended:c01")


async def test_others_never_have_their_turn(site: Site, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 1)
    monkeypatch.setattr(module, "ROUNDS_MAX", 2)
    await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    await site.end_calls("c1", "c2", "c3")
    await site.deliverer.deliver_due()
    assert len(endpoint.received) == 2
    await site.deliverer.deliver_due()
    assert len(endpoint.received) == 3, "given back after its turn"


async def test_two_processes_send_the_same(site: Site, endpoint: Endpoint) -> None:
    endpoint.delay_seconds = 0.05
    await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    await site.end_calls("c1", "c2", "c3")
    another = site.another()
    await asyncio.gather(site.deliverer.deliver_due(), another.deliver_due())
    assert sorted(endpoint.ids) == ["cdr.ended:c1", "cdr.ended:c2", "cdr.ended:c3"]


async def test_an_endpoint_that_says_nothing_holds_a_place_for_ever(
    site: Site, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPT_SECONDS_MAX", 0.2)
    endpoint.delay_seconds = 3.0
    await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    await site.end_calls("c1")
    await site.deliverer.deliver_due()
    assert (await site.deliveries())[0].last_error == "no answer in time"


async def test_an_answer_without_end_is_read(site: Site, endpoint: Endpoint) -> None:
    endpoint.answer = lambda _count: b"HTTP/1.1 200 x\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 50_000
    await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    await site.end_calls("c1")
    await site.deliverer.deliver_due()
    assert (await site.deliveries())[0].state == "delivered"


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200", b"\x00" * 70_000])
async def test_an_answer_that_is_none_stops_the_deliverer(site: Site, endpoint: Endpoint, answer: bytes) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    await site.subscribe(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    await site.end_calls("c1")
    await site.deliverer.deliver_due()
    server.close()
    failed, taken = await site.deliveries()
    assert (failed.state, taken.state) == ("pending", "delivered")
    assert failed.last_error.startswith("cannot be reached (")


async def test_a_private_address_is_gone_to(site: Site, endpoint: Endpoint) -> None:
    await site.subscribe(f"http://localhost:{endpoint.port}")
    await site.subscribe("http://nowhere.invalid")
    await site.end_calls("c1")
    await site.another(private_allowed=False).deliver_due()
    assert endpoint.received == []
    refused, unknown = await site.deliveries()
    assert refused.last_error == "leads into a private network"
    assert unknown.last_error == "cannot be reached (gaierror)"


async def test_a_secret_of_another_installation_stops_the_deliverer(site: Site, endpoint: Endpoint) -> None:
    await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    async with writing(site.database) as connection:
        await connection.execute(Webhook.__table__.update().values(sealed_secret=seal(b"x" * 32, SECRET, 1, b"n" * 12)))
    await site.end_calls("c1")
    await site.deliverer.deliver_due()
    assert endpoint.received == []
    assert (await site.deliveries())[0].last_error == "its secret cannot be read: make another"


async def test_the_deliverer_does_not_end(site: Site, endpoint: Endpoint) -> None:
    endpoint.delay_seconds = 30
    await site.subscribe(f"http://127.0.0.1:{endpoint.port}")
    await site.end_calls("c1")
    running = asyncio.create_task(site.deliverer.run())
    while not endpoint.received:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()
    # What was under way is sent again once the lease is over.
    endpoint.delay_seconds = 0
    site.now_ms += 120_001
    await site.another().deliver_due()
    assert endpoint.ids == ["cdr.ended:c1"] * 2


@pytest.mark.parametrize(
    ("name", "is_trusted", "error"),
    [
        ("localhost", True, None),
        ("127.0.0.1", True, "cannot be reached (ConnectError)"),  # the address that we connect to is not the name
        ("other.example", True, "cannot be reached (ConnectError)"),
        ("localhost", False, "cannot be reached (ConnectError)"),
    ],
)
async def test_somebody_else_at_the_address_is_told(
    site: Site, tmp_path: Path, name: str, is_trusted: bool, error: str | None
) -> None:
    authority = Authority(tmp_path)
    files = authority.settings(name)
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(files.certificate_file, files.key_file)
    endpoint = Endpoint()
    await endpoint.serve(shown)
    await site.subscribe(f"https://localhost:{endpoint.port}/")
    await site.end_calls("c1")
    trusted = ssl.create_default_context(cafile=authority.file if is_trusted else None)
    await site.another(tls=trusted).deliver_due()
    endpoint.close()
    (row,) = await site.deliveries()
    assert (row.last_error, len(endpoint.received)) == (error, 0 if error else 1)
