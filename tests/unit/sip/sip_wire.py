"""Two user agents joined by an in-memory wire with virtual time that can lose, double and reorder datagrams."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count

from sip.core.dialogs.session import Session
from sip.core.events import Event
from sip.core.hop import Hop
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent

A_HOP = Hop("udp", "10.0.0.1", 5060)
B_HOP = Hop("udp", "10.0.0.2", 5060)
SDP = b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"


def tokens(prefix: str) -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers)}"


def user_agent(hop: Hop, prefix: str, **settings: object) -> UserAgent:
    return UserAgent(
        settings=UserAgentSettings(local_ipv4=(hop.host, hop.port), **settings),  # type: ignore[arg-type]  # test only
        new_token=tokens(prefix),
    )


class Wire:
    """`drop(data, destination)` decides on each datagram; the rates are for random loss. Delay is 10 ms."""

    def __init__(self, seed: int = 0, *, loss: float = 0.0, doubling: float = 0.0, jitter_seconds: float = 0.0) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.loss, self.doubling, self.jitter_seconds = loss, doubling, jitter_seconds
        self.agents = {A_HOP: user_agent(A_HOP, "a"), B_HOP: user_agent(B_HOP, "b")}
        self.seen: list[tuple[float, Hop, bytes]] = []
        self.events: list[tuple[Hop, Event]] = []
        self.drop: Callable[[bytes, Hop], bool] = lambda data, destination: False
        self.react: Callable[[Hop, Event], None] = lambda hop, event: None
        self._flying: list[tuple[float, int, bytes, Hop, Hop]] = []
        self._order = count()

    @property
    def a(self) -> UserAgent:
        return self.agents[A_HOP]

    @property
    def b(self) -> UserAgent:
        return self.agents[B_HOP]

    def call(self, **arguments: object) -> Session:
        return self.a.invite(
            target="sip:100@10.0.0.2",
            hop=B_HOP,
            from_="<sip:200@10.0.0.1>",
            to="<sip:100@10.0.0.2>",
            now=self.now,
            body=SDP,
            **arguments,  # type: ignore[arg-type]
        )

    def drain(self) -> None:
        busy = True
        while busy:
            busy = False
            for hop, agent in self.agents.items():
                sent = list(agent.datagrams)
                agent.datagrams.clear()
                for data, destination in sent:
                    self.seen.append((self.now, hop, data))
                    self._fly(data, hop, destination)
                told = list(agent.events)
                agent.events.clear()
                for event in told:
                    busy = True
                    self.events.append((hop, event))
                    self.react(hop, event)

    def _fly(self, data: bytes, source: Hop, destination: Hop) -> None:
        if self.drop(data, destination) or self.random.random() < self.loss:
            return
        copies = 2 if self.random.random() < self.doubling else 1
        for _ in range(copies):
            due = self.now + 0.01 + self.random.random() * self.jitter_seconds
            heapq.heappush(self._flying, (due, next(self._order), data, source, destination))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        self.drain()
        while True:
            times = [agent.next_deadline() for agent in self.agents.values()]
            due = [time for time in times if time is not None]
            if self._flying:
                due.append(self._flying[0][0])
            if not due or min(due) > until:
                break
            self.now = max(self.now, min(due))
            while self._flying and self._flying[0][0] <= self.now:
                _, _, data, source, destination = heapq.heappop(self._flying)
                agent = self.agents.get(destination)
                if agent is not None:
                    agent.receive_datagram(data, source, self.now)
                    self.drain()
            for agent in self.agents.values():
                agent.fire_timers(self.now)
            self.drain()
        self.now = until

    def told(self, hop: Hop) -> list[str]:
        return [type(event).__name__ for where, event in self.events if where == hop]

    def sent(self, start: bytes, hop: Hop | None = None) -> list[bytes]:
        return [data for _, where, data in self.seen if data.startswith(start) and hop in (None, where)]

    def is_clean(self) -> bool:
        return all(
            not agent.sessions
            and not agent._layer.clients
            and not agent._layer.servers
            and not agent._layer.merge_keys
            and len(agent._layer.timers) == 0
            for agent in self.agents.values()
        )
