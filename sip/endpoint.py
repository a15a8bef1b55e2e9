"""The asyncio shell round a user agent: sockets, one timer handle, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from math import inf
from typing import Protocol

from sip.core.events import Event
from sip.core.hop import Hop
from sip.core.messages.via import reopened_hop
from sip.core.user_agents.user_agent import UserAgent
from sip.transport.stream_connection import StreamUser
from sip.transport.tcp import TcpTransport
from sip.transport.udp import UdpSocket

# Rounds of "events cause datagrams, failed sends cause events" in one flush; what is left waits for the next.
FLUSH_ROUNDS_MAX = 16


class TransactionUser(Protocol):
    """What stands above the user agent (RFC 3261 §5). It calls the user agent's methods directly."""

    def receive(self, event: Event, now: float) -> None: ...

    def fire_timers(self, now: float) -> None:
        """Fires the transaction user's own timers that are due."""

    def next_deadline(self) -> float | None:
        """When its own timers are next due, None when none runs."""

    def commit(self, now: float) -> None:
        """Called before datagrams leave: whatever must be on record before it has consequences outside."""


class Endpoint:
    """Drives `user_agent` and the transaction user above it.

    Whoever calls either from outside calls `flush` afterwards. `clock` never runs backwards, in seconds.
    """

    def __init__(
        self,
        user_agent: UserAgent,
        sockets: Iterable[UdpSocket],
        transaction_user: TransactionUser,
        clock: Callable[[], float],
        *,
        admit: Callable[[bytes, Hop, float], bool] | None = None,
        observe: Callable[[bytes, Hop, float, bool], None] | None = None,
        streams: Iterable[TcpTransport] = (),
    ) -> None:
        """`admit(data, source, now)` says whether a datagram is worth reading; `observe(data, hop, now, sent)` sees
        each one that is read or sent.
        """
        self.user_agent = user_agent
        self.sockets = tuple(sockets)
        self.streams = tuple(streams)
        self.unsendable = 0  # datagrams for a family or transport without socket
        self._transaction_user = transaction_user
        self._clock = clock
        self._admit = admit
        self._observe = observe
        self._ipv4 = next((each for each in self.sockets if not each.is_ipv6), None)
        self._ipv6 = next((each for each in self.sockets if each.is_ipv6), None)
        self._by_transport = {(each.name, each.is_ipv6): each for each in self.streams}
        user_agent.serve_streams(self._by_transport)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts reading the sockets."""
        self._loop = loop
        for each in self.sockets:
            each.listen(loop, self._receive, self.flush)
        user = StreamUser(self._receive, self.flush, self._stream_failed, self._stream_lost)
        for stream in self.streams:
            stream.listen(loop, user)
        self.user_agent.on_alias = self._alias

    def close(self) -> None:
        """Closes sockets and timer; what is not sent is not sent. Idempotent."""
        for each in self.sockets:
            each.close()
        for stream in self.streams:
            stream.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None

    def _receive(self, data: bytes, source: Hop) -> None:
        now = self._clock()
        if self._admit is not None and not self._admit(data, source, now):
            return
        if self._observe is not None:
            self._observe(data, source, now, False)
        # What is due comes before what comes in: a late wake-up must not let a message overtake a timer.
        if self._timer is not None and self._armed_for <= now:
            self._fire_due(now)
        self.user_agent.receive_datagram(data, source, now)
        if self.user_agent.events:
            self._tell(now)

    def _stream_failed(self, hop: Hop) -> None:
        self.user_agent.transport_failed(hop, self._clock())
        self.flush()

    def _stream_lost(self, hop: Hop) -> None:
        self.user_agent.connection_lost(hop, self._clock())
        self.flush()

    def _alias(self, source: Hop, port: int) -> None:
        stream = self._by_transport.get((source.transport, ":" in source.host))
        if stream is not None:
            stream.alias(source, port)

    def _fire_due(self, now: float) -> None:
        deadline = self._transaction_user.next_deadline()
        if deadline is not None and deadline <= now:
            self._transaction_user.fire_timers(now)

    def _tell(self, now: float) -> None:
        events = self.user_agent.events
        while events:
            # Taken off first: an event whose handling raises must not come again.
            self._transaction_user.receive(events.pop(0), now)

    def flush(self) -> None:
        """Hands out events, sends what is to be sent, arms the timer."""
        now = self._clock()
        user_agent = self.user_agent
        for _ in range(FLUSH_ROUNDS_MAX):
            if user_agent.events:
                self._tell(now)
            self._transaction_user.commit(now)
            if user_agent.datagrams:
                self._send(now)
            if not user_agent.events and not user_agent.datagrams:
                break
        self._arm(now)

    def _arm(self, now: float) -> None:
        deadline = self.user_agent.soonest_deadline()
        other = self._transaction_user.next_deadline()
        if other is not None and other < deadline:
            deadline = other
        if deadline == inf or self._loop is None:
            return
        # A handle that fires early costs one empty look; cancelling one for every message would cost more.
        if self._timer is None or deadline < self._armed_for:
            if self._timer is not None:
                self._timer.cancel()
            self._armed_for = deadline
            self._timer = self._loop.call_later(max(0.0, deadline - now), self._fire)

    def _send(self, now: float) -> None:
        user_agent = self.user_agent
        datagrams = user_agent.datagrams
        failed: list[Hop] = []
        for data, hop in datagrams:
            if self._observe is not None:
                self._observe(data, hop, now, True)
            carrier: UdpSocket | TcpTransport | None
            if hop.transport == "udp":
                carrier = self._ipv6 if ":" in hop.host else self._ipv4
            else:
                carrier = stream = self._by_transport.get((hop.transport, ":" in hop.host))
                if stream is not None and not stream.is_connected(hop):
                    hop = reopened_hop(data, hop) or hop
            if carrier is None:
                self.unsendable += 1
                failed.append(hop)
            elif not carrier.send(data, hop):
                failed.append(hop)
        datagrams.clear()
        for hop in dict.fromkeys(failed):
            user_agent.transport_failed(hop, now)

    def _fire(self) -> None:
        self._timer = None
        now = self._clock()
        self._fire_due(now)
        self.user_agent.fire_timers(now)
        self.flush()
