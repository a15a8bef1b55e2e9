"""Publishes tenants' notices over MQTT: at least once, oldest first, whatever becomes of the broker meanwhile.

A notice counts as published when the broker has acknowledged it (QoS 1). Several processes may publish at once; then
one may come twice, so a receiver goes by its id, which is that of the webhooks' event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiomqtt
import msgspec
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.push import topics
from engine.push.broker import Broker, BrokerClient
from engine.store.database import reading, uninterrupted, writing
from engine.store.money.notice_store import Notice, mark_published, unpublished_notices

POLL_SECONDS = 1.0
BATCH = 100
AGE_MS_MAX = 24 * 3600 * 1000
"""An older notice is not published any more: nobody wants to hear today that his money ran low last week."""
DELAY_SECONDS_MAX = 30.0
"""Between two attempts to reach a broker that is away, doubling up to this."""

log = structlog.get_logger(__name__)


class NoticePublisher:
    def __init__(
        self,
        *,
        database: AsyncEngine,
        broker: Broker,
        client_id: str,
        topic_prefix: str,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._broker = broker
        self._client_id = client_id
        self._prefix = topic_prefix
        self._now_ms = now_ms

    async def run(self) -> None:
        """Until it is cancelled; a broker or database that is away is tried again."""
        delay_seconds = 1.0
        while True:
            try:
                async with self._broker.client(self._client_id) as client:
                    log.info("broker reached", host=self._broker.host, port=self._broker.port)
                    delay_seconds = 1.0
                    while True:
                        await self._publish_waiting(client)
                        await asyncio.sleep(POLL_SECONDS)
            except (aiomqtt.MqttError, SQLAlchemyError, OSError) as error:
                # An MqttError's text is paho's word for the reason, such as "Not authorized".
                reason = str(error) if isinstance(error, aiomqtt.MqttError) else type(error).__name__
                log.error("notices wait", reason=reason, again_in_seconds=delay_seconds)
            await asyncio.sleep(delay_seconds)
            delay_seconds = min(2 * delay_seconds, DELAY_SECONDS_MAX)

    async def _publish_waiting(self, client: BrokerClient) -> None:
        while True:
            async with reading(self._database) as connection:
                notices = await unpublished_notices(connection, self._now_ms() - AGE_MS_MAX, BATCH)
            if not notices:
                return
            await self._publish(client, notices)

    async def _publish(self, client: BrokerClient, notices: Sequence[Notice]) -> None:
        published: list[int] = []
        try:
            for notice in notices:
                topic = topics.notices(self._prefix, notice.tenant_id)
                await client.publish_acknowledged(topic, _body(notice), _properties())
                published.append(notice.id)
        finally:
            if published:
                await uninterrupted(self._mark(published))

    async def _mark(self, published: Sequence[int]) -> None:
        async with writing(self._database) as connection:
            await mark_published(connection, published, self._now_ms())


def _body(notice: Notice) -> bytes:
    """As a webhook's: id, type, time and data."""
    return msgspec.json.encode(
        {"id": notice.event_id, "type": notice.kind, "occurred_at_ms": notice.at_ms, "data": notice.content}
    )


def _properties() -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's own lack of a type
    properties.ContentType = "application/json"
    properties.MessageExpiryInterval = AGE_MS_MAX // 1000
    return properties
