"""The MQTT broker, and how it is reached."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

PORTS = {"mqtt": 1883, "mqtts": 8883}
ANSWER_SECONDS_MAX = 10.0
"""For the connection, and for each acknowledgement."""
KEEP_ALIVE_SECONDS = 30
SECRET_OCTETS_MAX = 4096


class PublicationRefused(aiomqtt.MqttError):
    """The broker has acknowledged a message with a reason why it does not carry it (MQTT 5 §3.4.2.1)."""


class BrokerClient(aiomqtt.Client):
    """Adds to aiomqtt 2.5 what it leaves out: a refused message is told from a published one, and a cancellation that
    comes together with the acknowledgement is kept (Python 3.11's ``asyncio.wait_for`` drops it)."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._acknowledged: ReasonCode | None = None

    async def publish_acknowledged(self, topic: str, payload: bytes, properties: Properties) -> None:
        """Returns when the broker has it (QoS 1). Raises PublicationRefused, aiomqtt.MqttError. One at a time."""
        self._acknowledged = None
        await self.publish(topic, payload, qos=1, properties=properties)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        if self._acknowledged is not None and self._acknowledged.is_failure:
            raise PublicationRefused(str(self._acknowledged))

    def _on_publish(
        self, client: mqtt.Client, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        self._acknowledged = reason_code
        super()._on_publish(client, userdata, mid, reason_code, properties)


class BrokerUnusable(Exception):
    """What is set for the broker cannot be used: says which key and why, never the password."""


@dataclass(frozen=True, slots=True)
class Broker:
    """``tls`` is None for a connection in clear."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None

    def __repr__(self) -> str:
        return f"Broker({self.host}:{self.port})"

    def client(self, client_id: str) -> BrokerClient:
        """An MQTT 5 client that is connected on entering. Raises aiomqtt.MqttError there where it is not to be had."""
        return BrokerClient(
            self.host,
            self.port,
            username=self.username,
            password=self.password,
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            timeout=ANSWER_SECONDS_MAX,
            keepalive=KEEP_ALIVE_SECONDS,
            tls_context=self.tls,
        )


def read_broker(url: str, *, username: str = "", password_file: str = "", authorities_file: str = "") -> Broker:
    """``mqtt://host:port``, or ``mqtts://`` for TLS, whose certificate the system's authorities or those of the file
    vouch for. Raises BrokerUnusable."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BrokerUnusable(f"push.broker_url: {error}") from error
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise BrokerUnusable("push.broker_url: must be mqtt://host:port or mqtts://host:port")
    if parts.username is not None:
        raise BrokerUnusable("push.broker_url: holds a user; use push.username and push.password_file")
    if password_file and not username:
        raise BrokerUnusable("push.password_file: needs push.username")
    return Broker(
        parts.hostname,
        port or PORTS[parts.scheme],
        username or None,
        _password(Path(password_file)) if password_file else None,
        _tls(authorities_file) if parts.scheme == "mqtts" else None,
    )


def _password(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise BrokerUnusable(f"push.password_file: others may read {path}: chmod 600 it")
        with path.open(encoding="utf-8") as file:
            password = file.read(SECRET_OCTETS_MAX + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BrokerUnusable(f"push.password_file: {path} cannot be read: {type(error).__name__}") from error
    if not password or len(password) > SECRET_OCTETS_MAX:
        raise BrokerUnusable(f"push.password_file: {path} is empty, or longer than {SECRET_OCTETS_MAX} octets")
    return password


def _tls(authorities_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities_file or None)
    except (OSError, ssl.SSLError) as error:
        raise BrokerUnusable(f"push.authorities_file: {authorities_file} cannot be used: {error.strerror}") from error
