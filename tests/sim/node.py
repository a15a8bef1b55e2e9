"""A user agent on the simulated network with something above it: the engine, or a phone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count

from sip.core.hop import Hop
from sip.core.transactions.timers import TimerSettings
from sip.core.user_agents.settings import UserAgentSettings
from sip.core.user_agents.user_agent import UserAgent
from sip.endpoint import TransactionUser
from tests.sim.network import Network
from tests.sim.phone_agent import PhoneAgent
from tests.sim.timeline import Timeline
from tests.sim.vice import Vice


class Node:
    """What ``sip.endpoint.Endpoint`` is on real sockets and time."""

    def __init__(
        self,
        name: str,
        hop: Hop,
        timeline: Timeline,
        network: Network,
        timers: TimerSettings,
        *,
        extensions: tuple[str, ...] = (),
        session_expires_seconds: int = 1800,
        session_expires_seconds_min: int = 90,
        agent_class: type[UserAgent] = PhoneAgent,
    ) -> None:
        numbers = count(1)
        self.hop = hop
        self.user_agent = agent_class(
            settings=UserAgentSettings(
                local_ipv4=(hop.host, hop.port),
                timers=timers,
                user_agent=name,
                extensions=extensions,
                session_expires_seconds=session_expires_seconds,
                session_expires_seconds_min=session_expires_seconds_min,
            ),
            new_token=lambda: f"{name}{next(numbers)}",
        )
        self.vices: list[Vice] = []
        self.is_dead = False
        self.resumes_at: Callable[[float], float] = lambda now: now
        """When a process that is paused at this time goes on; what comes meanwhile waits, timers too."""
        self._timeline = timeline
        self._network = network
        self._transaction_user: TransactionUser | None = None
        self._armed_for: float | None = None
        network.attach(hop, self._receive)

    def put_above(self, transaction_user: TransactionUser) -> None:
        self._transaction_user = transaction_user

    def die(self) -> None:
        """The process is gone: nothing reaches it, nothing leaves it, and its timers never fire."""
        self.is_dead = True
        self.user_agent.datagrams.clear()
        self._network.detach(self.hop)

    def send_raw(self, data: bytes, destination: Hop) -> None:
        """Puts on the network what the user agent knows nothing of."""
        self._network.send(data, self.hop, destination)

    def _receive(self, data: bytes, source: Hop) -> None:
        if self.is_dead:
            return
        resumes_at = self.resumes_at(self._timeline.now)
        if resumes_at > self._timeline.now:
            self._timeline.at(resumes_at, lambda: self._receive(data, source))
            return
        for vice in self.vices:
            if not vice.lets_in(data, source):
                return
            data = vice.changed_inwards(data)
        self._fire_due()
        self.user_agent.receive_datagram(data, source, self._timeline.now)
        self.flush()

    def _fire_due(self) -> None:
        user, now = self._transaction_user, self._timeline.now
        assert user is not None
        deadline = user.next_deadline()
        if deadline is not None and deadline <= now:
            user.fire_timers(now)

    def flush(self) -> None:
        user, agent, now = self._transaction_user, self.user_agent, self._timeline.now
        assert user is not None
        while not self.is_dead:
            while agent.events:
                user.receive(agent.events.pop(0), now)
            user.commit(now)
            if not agent.datagrams:
                break
            sent = agent.datagrams[:]
            agent.datagrams.clear()
            for data, destination in sent:
                self._send(data, destination)
        self._arm()

    def _send(self, data: bytes, destination: Hop) -> None:
        copies = [(0.0, data)]
        for vice in self.vices:
            copies = [
                (delay + more, changed) for delay, each in copies for more, changed in vice.outwards(each, destination)
            ]
        for delay, each in copies:
            if delay:
                self._timeline.after(delay, partial(self.send_raw, each, destination))
            else:
                self.send_raw(each, destination)

    def _arm(self) -> None:
        if self.is_dead:
            return
        user = self._transaction_user
        assert user is not None
        deadlines = [each for each in (self.user_agent.next_deadline(), user.next_deadline()) if each is not None]
        if deadlines and (self._armed_for is None or min(deadlines) < self._armed_for):
            self._armed_for = min(deadlines)
            self._timeline.at(self._armed_for, self._fire)

    def _fire(self) -> None:
        if self.is_dead:
            return
        resumes_at = self.resumes_at(self._timeline.now)
        if resumes_at > self._timeline.now:
            self._timeline.at(resumes_at, self._fire)
            return
        self._armed_for = None
        self._fire_due()
        self.user_agent.fire_timers(self._timeline.now)
        self.flush()
