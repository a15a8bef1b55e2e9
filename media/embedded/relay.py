"""The worker's loop: epoll, packets from one side to the other, timers, and each call's flush once a second.

Per packet it does one look-up, recv, a check of the header, two appends and send. Whatever else a packet needs
(statistics, decoding, placing, writing) is done for a second's packets at once, for a few calls between two polls.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import math
import select
from collections.abc import Callable
from typing import Final

from media.embedded.call import Flow, Handler, RelayedCall

FLUSH_SECONDS: Final = 1.0
FLUSH_TURNS: Final = 10
"""A tenth of the calls is flushed at a time. One call between two polls is dearer by half: code and tables are then
out of the processor's caches each time."""

FLUSHES_AT_ONCE_MAX: Final = 16
"""Calls flushed before packets have their turn again: about 1 ms."""

POLL_SECONDS_MAX: Final = 0.5
STOOD_STILL_SECONDS: Final = 0.12
"""Where anybody speaks, turns follow one another within milliseconds. After so long the machine was busy, and packets
wait in the sockets: a flush that came before them would find them missing."""

CATCH_UPS_MAX: Final = 5
"""In a row, each as slow as that: what is left then is a gap that the recording reports."""

WAITING_PACKETS_MAX: Final = 500
"""Of one side, taken at once after that: what a socket's buffer holds of voice, and room."""

ODD_OCTETS: Final = 24
"""Shorter datagrams are looked at one by one: telephone events (16 octets), comfort noise, and what has no header."""

GARBAGE_SECONDS: Final = 120.0
"""Reference cycles are rare here (a call's handlers); the collector runs at rest, not in mid-batch."""


class Relay:
    """Watches descriptors and runs timers. ``clock`` is the monotonic clock in seconds."""

    def __init__(self, clock: Callable[[], float], descriptors_max: int) -> None:
        self._clock = clock
        self._epoll = select.epoll()
        self._flows: list[Flow | None] = [None] * descriptors_max
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Handler]] = []
        self._count = itertools.count()
        self._due: list[tuple[float, int, RelayedCall]] = []
        self._phase = 0.0
        self._flushed: Callable[[RelayedCall, float], None] = lambda _call, _now: None
        self.stopping = False
        self.send_errors = 0
        self.flush_failures = 0
        self.receive_errors = 0

    def watch(self, descriptor: int, handler: Handler) -> None:
        """Call ``handler`` with the time whenever ``descriptor`` is readable. OSError if it cannot be watched."""
        if descriptor >= len(self._flows):
            raise OSError("more descriptors than the worker was made for")
        self._epoll.register(descriptor, select.EPOLLIN)
        self._handlers[descriptor] = handler

    def watch_output(self, descriptor: int, wanted: bool) -> None:
        """Have the handler of ``descriptor`` called also when it is writable, or no longer."""
        self._epoll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def connect_through(self, descriptor: int, flow: Flow) -> None:
        """Relay what comes on a connected socket; a new flow takes the place of the last."""
        if self._flows[descriptor] is None:
            self._epoll.register(descriptor, select.EPOLLIN)
        self._flows[descriptor] = flow

    def forget(self, descriptor: int) -> None:
        """No longer watch a descriptor, which is about to be closed; its end takes it out of epoll (epoll(7))."""
        self._flows[descriptor] = None
        self._handlers.pop(descriptor, None)

    def at(self, when: float, handler: Handler) -> None:
        """Call ``handler`` at a time. There is no cancelling: a handler that is not wanted any more does nothing."""
        heapq.heappush(self._timers, (when, next(self._count), handler))

    def flush_each_second(self, call: RelayedCall, now: float) -> None:
        """Flush a call from now on, until it says ``closed``."""
        # Spread over the second even where many calls begin at once: by the golden ratio, shares stay even.
        self._phase = (self._phase + 0.618034) % 1.0
        turn = int(self._phase * FLUSH_TURNS) / FLUSH_TURNS
        heapq.heappush(self._due, (math.floor(now) + FLUSH_SECONDS + turn, next(self._count), call))

    def on_flushed(self, handler: Callable[[RelayedCall, float], None]) -> None:
        """Call ``handler`` after each flush of a call."""
        self._flushed = handler

    def run(self) -> None:
        """Relay until ``stopping`` is set."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self.at(self._clock() + GARBAGE_SECONDS, self._collect)
        clock, poll, flows = self._clock, self._epoll.poll, self._flows
        timeout = 0.0
        before = clock()
        while not self.stopping:
            events = poll(timeout)
            now = clock()
            if now - before > STOOD_STILL_SECONDS:
                for _ in range(CATCH_UPS_MAX):
                    before = now
                    self._catch_up()
                    now = clock()
                    if now - before <= STOOD_STILL_SECONDS:
                        break
                events = poll(0)
            for descriptor, _mask in events:
                flow = flows[descriptor]
                if flow is None:
                    handler = self._handlers.get(descriptor)
                    if handler is not None:
                        handler(clock())  # by now the machine may have stood still, and what waits there is later
                    continue
                recv, size, send, keep, mark, leg = flow
                try:
                    data = recv(size)
                except OSError:  # an ICMP error of an earlier send, or closed earlier in this batch
                    self.receive_errors += 1
                    continue
                if len(data) < ODD_OCTETS or data[0] >> 6 != 2:
                    leg.on_odd(data, now)
                    continue
                if len(data) == size:  # it may have been longer: not to be passed on in part
                    leg.widen()
                    continue
                try:
                    send(data)
                except OSError:
                    self._send_again(send, data)
                keep(data)
                mark(now)
            timeout = self._work(now)
            before = now

    def _catch_up(self) -> None:
        """Takes all that waits on latched sides, before anything is decided about the time in which nobody listened.

        The machine may be as busy meanwhile: a packet is said to have come when it was read, and never before it came.
        """
        for descriptor, _mask in self._epoll.poll(0):
            flow = self._flows[descriptor]
            if flow is None:
                continue
            recv, size, send, keep, mark, leg = flow
            for _ in range(WAITING_PACKETS_MAX):
                try:
                    data = recv(size)
                except BlockingIOError:
                    break
                except OSError:
                    self.receive_errors += 1
                    continue
                now = self._clock()
                if len(data) < ODD_OCTETS or data[0] >> 6 != 2:
                    leg.on_odd(data, now)
                elif len(data) == size:
                    leg.widen()
                    break  # the flow is another from here on
                else:
                    try:
                        send(data)
                    except OSError:
                        self._send_again(send, data)
                    keep(data)
                    mark(now)

    def _send_again(self, send: Callable[[bytes], object], data: bytes) -> None:
        """A send may fail for an ICMP error that an earlier packet got, and is then not done: try once more."""
        try:
            send(data)
        except OSError:
            self.send_errors += 1

    def _work(self, now: float) -> float:
        """Timers that are due, and flushes; returns how long the loop may sleep, in seconds."""
        timers, due = self._timers, self._due
        while timers and timers[0][0] <= now:
            heapq.heappop(timers)[2](now)
        for _ in range(FLUSHES_AT_ONCE_MAX):
            if not due or due[0][0] > now:
                break
            when, _, call = heapq.heappop(due)
            if not call.closed:
                call.flush(now)
                self._flushed(call, now)
                heapq.heappush(due, (when + FLUSH_SECONDS, next(self._count), call))
        wake = now + POLL_SECONDS_MAX
        if timers:
            wake = min(wake, timers[0][0])
        if due:
            wake = min(wake, due[0][0])
        return max(0.0, wake - now)

    def _collect(self, now: float) -> None:
        gc.collect()
        self.at(now + GARBAGE_SECONDS, self._collect)
