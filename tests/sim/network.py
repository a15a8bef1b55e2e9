"""A network that loses, doubles, delays and so reorders datagrams, and writes down what arrives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from sip.core.hop import Hop
from tests.sim.timeline import Timeline

Receive = Callable[[bytes, Hop], None]


@dataclass(frozen=True)
class Weather:
    """Chances are of each datagram; delays in seconds."""

    loss: float = 0.0
    doubling: float = 0.0
    delay_min: float = 0.001
    delay_max: float = 0.02


class Network:
    def __init__(self, timeline: Timeline, random: Random, weather: Weather) -> None:
        self._timeline = timeline
        self._random = random
        self._weather = weather
        self._receivers: dict[Hop, Receive] = {}
        self._history = hashlib.sha256()
        self.arrived: list[tuple[Hop, Hop, bytes]] = []
        """(from, to, datagram), for the invariants that look at every octet."""

    def attach(self, hop: Hop, receive: Receive) -> None:
        self._receivers[hop] = receive

    def detach(self, hop: Hop) -> None:
        """Nobody is there any more; what comes for it is lost."""
        self._receivers.pop(hop, None)

    def send(self, data: bytes, source: Hop, destination: Hop) -> None:
        weather, random = self._weather, self._random
        copies = 0 if random.random() < weather.loss else 2 if random.random() < weather.doubling else 1
        for _ in range(copies):
            delay = random.uniform(weather.delay_min, weather.delay_max)
            self._timeline.after(delay, lambda: self._arrive(data, source, destination))

    def _arrive(self, data: bytes, source: Hop, destination: Hop) -> None:
        self._history.update(f"{self._timeline.now:.9f} {source} {destination} ".encode() + data)
        receive = self._receivers.get(destination)
        if receive is not None:
            self.arrived.append((source, destination, data))
            receive(data, source)

    @property
    def history(self) -> str:
        """The digest of all that arrived, when and where."""
        return self._history.hexdigest()
