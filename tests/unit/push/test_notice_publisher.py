"""Notices over MQTT, by a real Mosquitto and a real database of each kind."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from engine.push import notice_publisher
from engine.push.broker import Broker, BrokerUnusable, read_broker
from engine.push.notice_publisher import AGE_MS_MAX, NoticePublisher
from engine.store.database import open_database, reading, writing
from engine.store.tables import Tenant
from engine.store.tables.orders import MoneyEvent
from tests.mosquitto import Mosquitto
from tests.unit.sip.stream_lane import Authority

NOW_MS = 1_800_000_000_000
PASSWORDS = {"axbridge": "publisher's password", "tenant1": "one's", "tenant2": "two's"}
RIGHTS = [
    ("axbridge", "write axbridge/#"),
    ("tenant1", "read axbridge/tenants/1/#"),
    ("tenant2", "read axbridge/tenants/2/#"),
]


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    broker = Mosquitto(PASSWORDS, RIGHTS)
    try:
        broker.start()
        yield broker
    finally:
        broker.remove()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(database_url)
    async with writing(engine) as connection:
        rows = [
            {"id": each, "code": f"t{each}", "name": "T", "status": "active", "created_at_ms": 0} for each in (1, 2)
        ]
        await connection.execute(insert(Tenant), rows)
    yield engine
    await engine.dispose()


async def raise_notice(database: AsyncEngine, subject: str, *, tenant_id: int = 1, at_ms: int = NOW_MS) -> None:
    row = {"tenant_id": tenant_id, "kind": "low_balance", "subject": subject, "content": {"left_micro": 5}}
    async with writing(database) as connection:
        await connection.execute(insert(MoneyEvent), row | {"at_ms": at_ms})


async def published(database: AsyncEngine) -> list[int | None]:
    async with reading(database) as connection:
        return list(await connection.scalars(select(MoneyEvent.published_at_ms).order_by(MoneyEvent.id)))


def publisher(database: AsyncEngine, broker: Broker, prefix: str = "axbridge") -> NoticePublisher:
    return NoticePublisher(
        database=database, broker=broker, client_id="api-1", topic_prefix=prefix, now_ms=lambda: NOW_MS
    )


@asynccontextmanager
async def publishing(database: AsyncEngine, broker: Broker) -> AsyncIterator[None]:
    task = asyncio.create_task(publisher(database, broker).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), "it must not end by itself"


def own_broker(mosquitto: Mosquitto, name: str = "axbridge", password: str = "", tls: Any = None) -> Broker:
    return Broker("127.0.0.1", mosquitto.port, name, password or PASSWORDS[name], tls)


def subscriber(mosquitto: Mosquitto, name: str = "tenant1") -> aiomqtt.Client:
    """Whose subscription and waiting messages outlive his connection."""
    return aiomqtt.Client(
        "127.0.0.1", mosquitto.port, username=name, password=PASSWORDS[name], identifier=name, clean_session=False
    )


async def receive(client: aiomqtt.Client, count: int, seconds: float = 10) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(seconds):
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            found.append(json.loads(message.payload) | {"topic": str(message.topic)})
            if len(found) == count:
                break
    return found


async def until(is_true: Callable[[], Any], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await is_true():
            await asyncio.sleep(0.05)


async def test_a_notice_reaches_its_tenant_alone_and_once(mosquitto: Mosquitto, database: AsyncEngine) -> None:
    async with subscriber(mosquitto) as one, subscriber(mosquitto, "tenant2") as two:
        for client in (one, two):
            await client.subscribe("axbridge/tenants/#", qos=1)  # the broker keeps each to his own
        async with publishing(database, own_broker(mosquitto)):
            await raise_notice(database, "a")
            await raise_notice(database, "b", tenant_id=2)
            (first,), (second,) = await receive(one, 1), await receive(two, 1)
            await asyncio.sleep(1.5)  # another look at what waits
    assert first == {
        "topic": "axbridge/tenants/1/notices",
        "id": "account.low:1-a",
        "type": "account.low",
        "occurred_at_ms": NOW_MS,
        "data": {"left_micro": 5},
    }
    assert (second["topic"], second["id"]) == ("axbridge/tenants/2/notices", "account.low:2-b")
    assert await published(database) == [NOW_MS, NOW_MS]


async def test_notices_wait_for_a_broker_that_was_killed(mosquitto: Mosquitto, database: AsyncEngine) -> None:
    async with subscriber(mosquitto) as client:
        await client.subscribe("axbridge/tenants/1/notices", qos=1)
        async with publishing(database, own_broker(mosquitto)):
            await raise_notice(database, "before")
            await receive(client, 1)
            mosquitto.kill()
            await raise_notice(database, "while it is away")
            await asyncio.sleep(1.5)
            assert (await published(database))[1] is None
            mosquitto.start()

            async def all_published() -> bool:
                return None not in await published(database)

            await until(all_published, 20)
    async with subscriber(mosquitto) as again:
        (late,) = await receive(again, 1)
        if late["id"] == "account.low:1-before":  # whose acknowledgement went down with the broker
            (late,) = await receive(again, 1)
    assert late["id"] == "account.low:1-while it is away"


async def test_a_wrong_password_is_told_of_and_tried_again(mosquitto: Mosquitto, database: AsyncEngine) -> None:
    await raise_notice(database, "a")
    with capture_logs() as logs:
        async with publishing(database, own_broker(mosquitto, password="not it")):
            async with asyncio.timeout(10):
                while len(logs) < 2:
                    await asyncio.sleep(0.05)
    assert [log["event"] for log in logs[:2]] == ["notices wait"] * 2
    assert "authorized" in logs[0]["reason"].lower()
    assert "not it" not in str(logs)
    assert await published(database) == [None]


async def test_what_the_broker_refuses_to_carry_is_not_taken_for_published(
    mosquitto: Mosquitto, database: AsyncEngine
) -> None:
    """It acknowledges with a reason code (MQTT 5 §3.4.2.1) what this account has no right to publish."""
    await raise_notice(database, "a")
    with capture_logs() as logs:
        task = asyncio.create_task(publisher(database, own_broker(mosquitto), prefix="elsewhere").run())
        async with asyncio.timeout(10):
            while not any(log["event"] == "notices wait" for log in logs):
                await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
    assert await published(database) == [None]


async def test_old_notices_are_not_dug_out(mosquitto: Mosquitto, database: AsyncEngine) -> None:
    await raise_notice(database, "old", at_ms=NOW_MS - AGE_MS_MAX - 1)
    await raise_notice(database, "new")
    async with subscriber(mosquitto) as client:
        await client.subscribe("axbridge/tenants/1/notices", qos=1)
        async with publishing(database, own_broker(mosquitto)):
            (only,) = await receive(client, 1)
    assert only["id"] == "account.low:1-new"
    assert await published(database) == [None, NOW_MS]


async def test_a_crowd_of_notices_keeps_its_order(
    mosquitto: Mosquitto, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice_publisher, "BATCH", 7)
    for index in range(20):
        await raise_notice(database, str(index), at_ms=NOW_MS - 20 + index)
    async with subscriber(mosquitto) as client:
        await client.subscribe("axbridge/tenants/1/notices", qos=1)
        async with publishing(database, own_broker(mosquitto)):
            found = await receive(client, 20)
    assert [each["id"] for each in found] == [f"account.low:1-{index}" for index in range(20)]


async def test_tls_holds_the_broker_to_its_certificate(tmp_path: Path, database: AsyncEngine) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    broker = Mosquitto(PASSWORDS, RIGHTS, authority.settings("127.0.0.1"))
    await raise_notice(database, "a")
    try:
        broker.start()
        wrong, right = (ssl.create_default_context(cafile=each.file) for each in (stranger, authority))
        with capture_logs() as logs:
            async with publishing(database, own_broker(broker, tls=wrong)), asyncio.timeout(10):
                while not logs:
                    await asyncio.sleep(0.05)
        assert await published(database) == [None]

        async def is_published() -> bool:
            return await published(database) == [NOW_MS]

        async with publishing(database, own_broker(broker, tls=right)):
            await until(is_published)
    finally:
        broker.remove()


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("broker.example", {}, "push.broker_url: must be"),
        ("http://broker.example", {}, "push.broker_url: must be"),
        ("mqtt://h:99999", {}, "push.broker_url: Port out of range"),
        ("mqtt://u:secret@h", {}, "push.broker_url: holds a user"),
        ("mqtt://h", {"password_file": "p"}, "push.password_file: needs push.username"),
        ("mqtt://h", {"username": "u", "password_file": "/nowhere"}, "push.password_file: /nowhere cannot be read"),
        ("mqtts://h", {"authorities_file": "/nowhere"}, "push.authorities_file: /nowhere cannot be used"),
    ],
)
def test_what_cannot_be_used_is_named(url: str, more: dict[str, str], says: str) -> None:
    with pytest.raises(BrokerUnusable) as caught:
        read_broker(url, **more)
    assert str(caught.value).startswith(says)
    assert "secret" not in str(caught.value)


def test_a_password_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("secret\n")
    path.chmod(0o640)
    with pytest.raises(BrokerUnusable, match="others may read"):
        read_broker("mqtt://h", username="u", password_file=str(path))
    path.chmod(0o600)
    broker = read_broker("mqtt://h", username="u", password_file=str(path))
    assert (broker.host, broker.port, broker.password, broker.tls) == ("h", 1883, "secret", None)
    assert "secret" not in repr(broker)
