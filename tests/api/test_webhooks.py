"""A tenant's webhooks from being made to being told."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from litestar.testing import AsyncTestClient

from admin_api.housekeeping import keep_outbox
from admin_api.tenant import webhooks
from engine.settings import ApiSettings
from engine.store.database import open_database, writing
from engine.store.tables import Webhook, WebhookDelivery
from engine.store.webhook_store import WEBHOOKS_PER_TENANT_MAX
from engine.webhooks.deliverer import Deliverer
from engine.webhooks.sealing import seal
from engine.webhooks.signature import headers, secret_octets

from .conftest import NOW_MS, World

HOOKS = "/api/tenant/webhooks"


class Endpoint:
    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        self.received.append((fields, await reader.readexactly(int(fields["content-length"]))))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()


async def deliver(world: World) -> None:
    database = open_database(world.settings.database_url)
    await Deliverer(
        database=database,
        key=world.context.webhook_key,
        now_ms=lambda: world.now_ms,
        random=lambda: 0.0,
        private_allowed=True,
    ).deliver_due()
    await database.dispose()


async def alter(world: World, table: Any, **values: Any) -> None:
    database = open_database(world.settings.database_url)
    async with writing(database) as connection:
        await connection.execute(table.__table__.update().values(**values))
    await database.dispose()


async def test_what_is_told_is_not_what_the_api_shows(world: World) -> None:
    endpoint = Endpoint()
    server = await asyncio.start_server(endpoint.connected, "127.0.0.1", 0)
    made = (
        await world.ask("tenant1", "POST", HOOKS, json={"url": "https://e.example.com", "kinds": ["recording.ready"]})
    ).json()
    secret = secret_octets(made["secret"])
    replaced = (await world.ask("tenant1", "POST", f"{HOOKS}/{made['id']}/secret")).json()["secret"]
    assert replaced != made["secret"]
    secret = secret_octets(replaced)
    port = server.sockets[0].getsockname()[1]
    await alter(world, Webhook, url=f"http://127.0.0.1:{port}/")
    period = {"kinds": ["cdr.ended", "recording.ready"], "from_ms": 0, "to_ms": NOW_MS + 1000}
    answer = await world.ask("tenant1", "POST", f"{HOOKS}/{made['id']}/replays", json=period)
    assert answer.json() == {"events": 4}
    assert (await world.ask("tenant1", "POST", f"{HOOKS}/{made['id']}/test")).status_code == 202
    await deliver(world)
    server.close()
    messages = {}
    for fields, body in endpoint.received:
        signed = headers(secret, fields["webhook-id"], world.now_ms // 1000, body)
        assert {name: fields[name] for name in signed} == signed
        messages[fields["webhook-id"]] = msgspec.json.decode(body)
    kinds = sorted(message["type"] for message in messages.values())
    assert kinds == ["cdr.ended", "cdr.ended", "recording.ready", "recording.ready", "test"]
    assert "cdr.ended:cdr3" not in messages
    told = messages["cdr.ended:cdr1"]["data"]
    shown = (await world.ask("tenant1", "GET", "/api/tenant/cdrs/cdr1")).json()
    shown.pop("trunk_id")
    assert {name: told[name] for name in shown} == shown
    recording = messages["recording.ready:cdr1"]["data"]
    link = (await world.ask("tenant1", "GET", "/api/tenant/cdrs/cdr1/recording")).json()
    assert recording["sha256"] == link["sha256"]
    listed = (await world.ask("tenant1", "GET", f"{HOOKS}/{made['id']}/deliveries?state=delivered")).json()["items"]
    assert len(listed) == 5
    assert {row["next_attempt_at_ms"] for row in listed} == {None}


async def test_a_secret_is_shown_twice_or_kept_in_the_open(world: World) -> None:
    body = {"url": "https://e.example.com", "kinds": ["cdr.ended"]}
    made = (await world.ask("tenant1", "POST", HOOKS, json=body)).json()
    path = f"{HOOKS}/{made['id']}"
    for answer in (
        await world.ask("tenant1", "GET", path),
        await world.ask("tenant1", "GET", HOOKS),
        await world.ask("tenant1", "PATCH", path, json={"status": "paused"}),
    ):
        assert "secret" not in answer.text
    database = open_database(world.settings.database_url)
    async with writing(database) as connection:
        rows = list(await connection.scalars(Webhook.__table__.select().with_only_columns(Webhook.sealed_secret)))
    await database.dispose()
    assert made["secret"].removeprefix("whsec_") not in "".join(rows)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"url": "http://127.0.0.1/", "kinds": ["cdr.ended"]}, 422),
        ({"url": "https://[::ffff:10.0.0.1]/", "kinds": ["cdr.ended"]}, 422),
        ({"url": "file:///etc/passwd", "kinds": ["cdr.ended"]}, 422),
        ({"url": "https://x", "kinds": []}, 400),
        ({"url": "https://x", "kinds": ["test"]}, 422),
        ({"url": "https://x", "kinds": ["no.such"]}, 400),
        ({"url": "https://x", "kinds": ["cdr.ended"], "tenant_id": 2}, 400),
    ],
)
async def test_a_webhook_that_cannot_be_is_made(world: World, body: dict[str, Any], status: int) -> None:
    answer = await world.ask("tenant1", "POST", HOOKS, json=body)
    assert answer.status_code == status, answer.text
    if status == 422:
        assert (await world.ask("tenant1", "PATCH", f"{HOOKS}/1", json=body)).status_code == 422


async def test_a_tenant_makes_webhooks_without_end(world: World) -> None:
    body = {"url": "https://e.example.com", "kinds": ["cdr.ended"]}
    for _ in range(WEBHOOKS_PER_TENANT_MAX - 1):
        assert (await world.ask("tenant1", "POST", HOOKS, json=body)).status_code == 201
    assert (await world.ask("tenant1", "POST", HOOKS, json=body)).status_code == 409
    assert (await world.ask("tenant1", "DELETE", f"{HOOKS}/1")).status_code == 204
    assert (await world.ask("tenant1", "GET", f"{HOOKS}/1")).status_code == 404
    assert (await world.ask("tenant1", "POST", HOOKS, json=body)).status_code == 201


async def test_a_suspended_webhook_cannot_be_woken(world: World) -> None:
    await world.write(Webhook, 1, status="suspended", failing_since_ms=1, last_error="answered 500")
    shown = (await world.ask("tenant1", "GET", f"{HOOKS}/1")).json()
    assert (shown["status"], shown["failing_since_ms"], shown["last_error"]) == ("suspended", 1, "answered 500")
    period = {"kinds": ["cdr.ended"], "from_ms": 0, "to_ms": NOW_MS + 1000}
    assert (await world.ask("tenant1", "POST", f"{HOOKS}/1/replays", json=period)).status_code == 409
    woken = (await world.ask("tenant1", "PATCH", f"{HOOKS}/1", json={"status": "active"})).json()
    assert (woken["status"], woken["failing_since_ms"]) == ("active", None)
    assert (await world.ask("tenant1", "POST", f"{HOOKS}/1/replays", json=period)).json() == {"events": 2}


async def test_one_event_is_replayed_as_another(world: World) -> None:
    await alter(world, WebhookDelivery, state="dead", attempts=9)
    assert (await world.ask("tenant1", "POST", f"{HOOKS}/1/deliveries/1/replay")).status_code == 202
    listed = (await world.ask("tenant1", "GET", f"{HOOKS}/1/deliveries")).json()["items"]
    assert [(row["event_id"], row["state"], row["attempts"]) for row in listed] == [
        ("cdr.ended:cdr2", "dead", 9),
        ("cdr.ended:cdr1", "pending", 0),
    ]
    # Delivery 3 is tenant 2's.
    assert (await world.ask("tenant1", "POST", f"{HOOKS}/1/deliveries/3/replay")).status_code == 404
    first = (await world.ask("tenant1", "GET", f"{HOOKS}/1/deliveries?limit=1")).json()
    second = (await world.ask("tenant1", "GET", f"{HOOKS}/1/deliveries?limit=1&cursor={first['next']}")).json()
    assert [first["items"][0]["id"], second["items"][0]["id"]] == [2, 1]


async def test_too_much_is_replayed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.store.webhook_store.REPLAYED_MAX", 1)
    period = {"kinds": ["cdr.ended"], "from_ms": 0, "to_ms": NOW_MS + 1000}
    answer = await world.ask("tenant1", "POST", f"{HOOKS}/1/replays", json=period)
    assert answer.status_code == 422
    assert str(webhooks.REPLAYED_MAX) in answer.text


async def test_the_api_is_up_and_delivers_nothing(world: World) -> None:
    endpoint = Endpoint()
    server = await asyncio.start_server(endpoint.connected, "127.0.0.1", 0)
    app = world.elsewhere(api=ApiSettings(webhooks_to_private_addresses=True))
    sealed = seal(world.context.webhook_key, b"s" * 32, 1, b"n" * 12)
    port = server.sockets[0].getsockname()[1]
    await world.write(Webhook, 1, url=f"http://127.0.0.1:{port}", leased_until_ms=0, sealed_secret=sealed)
    async with AsyncTestClient(app):
        async with asyncio.timeout(20):
            while len(endpoint.received) < 2:
                await asyncio.sleep(0.02)
    server.close()
    assert sorted(fields["webhook-id"] for fields, _ in endpoint.received) == ["cdr.ended:cdr1", "cdr.ended:cdr2"]


async def test_deliveries_of_a_deleted_webhook_stay_for_ever(world: World) -> None:
    assert (await world.ask("tenant1", "DELETE", f"{HOOKS}/1")).status_code == 204
    database = open_database(world.settings.database_url)
    assert await keep_outbox(database, world.now_ms) == 2
    assert await keep_outbox(database, world.now_ms) == 0
    await database.dispose()
