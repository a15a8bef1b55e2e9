"""The MQTT broker of the system under test, and a tenants' system that listens to it."""

from __future__ import annotations

import json
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.mosquitto import Mosquitto

PASSWORDS = {"axbridge": "publisher", "tenants": "listener"}
PREFIX = "chaos"


class Broker:
    """``heard`` are the ids of the notices that the listener got, once or several times."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._password_file = folder / "mqtt.password"
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(PASSWORDS["axbridge"])
        self._mosquitto = Mosquitto(PASSWORDS, [("axbridge", f"write {PREFIX}/#"), ("tenants", f"read {PREFIX}/#")])
        self.heard: set[str] = set()
        # A session that outlives the connection: what comes while it is away waits at the broker (MQTT 3.1.1 §3.1.2.4).
        self._listener = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="tenants", clean_session=False)
        self._listener.username_pw_set("tenants", PASSWORDS["tenants"])
        self._listener.reconnect_delay_set(1, 1)
        self._listener.on_connect = lambda client, *_: client.subscribe(f"{PREFIX}/tenants/+/notices", qos=1)
        self._listener.on_message = self._hear

    @property
    def configuration(self) -> str:
        """The system's section."""
        return (
            f'[push]\nbroker_url = "mqtt://127.0.0.1:{self._mosquitto.port}"\nusername = "axbridge"\n'
            f'password_file = "{self._password_file}"\ntopic_prefix = "{PREFIX}"\n'
        )

    def listen(self) -> None:
        """Once it is started; through whatever becomes of the broker."""
        self._listener.connect("127.0.0.1", self._mosquitto.port)
        self._listener.loop_start()

    def start(self) -> None:
        self._mosquitto.start()

    def kill(self) -> None:
        self._mosquitto.kill()

    def remove(self) -> None:
        self._listener.disconnect()
        self._listener.loop_stop()
        self._mosquitto.remove()

    def _hear(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self.heard.add(json.loads(message.payload)["id"])
