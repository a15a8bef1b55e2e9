"""The SIP messages of each call, both legs together, in memory for a while after the call's end.

On the hot path a message is found by its Call-ID and its octets are kept as they are; parsing and masking wait until
somebody reads. Oldest first, ended calls before running ones, traces go when a limit is reached.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from sip.core.hop import Hop

MESSAGE_OCTETS_MAX = 16_384
"""Of a longer message the beginning is kept; the user agent reads none that is longer."""
MESSAGE_OVERHEAD_OCTETS = 100
"""What a kept message takes besides its octets: bytes object, float, places in the list."""
UNJOINED_MAX = 64
"""INVITEs that no call has been made of: refused strangers, and phones that are yet to answer a challenge."""
UNJOINED_MESSAGES_MAX = 8
SHORTEST_MESSAGE_OCTETS = 32
"""What is shorter keeps a NAT open and is no SIP message."""

_CALL_ID = re.compile(rb"(?:^|\n)(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_PLAIN = b"\r\nCall-ID: "
_PLAIN_OCTETS = len(_PLAIN)


@dataclass(frozen=True, slots=True)
class TraceLimits:
    """``octets_max`` is for all traces together; ``kept_seconds`` begin with a call's end."""

    calls_max: int = 20_000
    messages_per_call_max: int = 100
    octets_max: int = 64 * 1024 * 1024
    kept_seconds: float = 600.0


class TracedMessage(NamedTuple):
    """``leg`` counts the call's dialogs from 0, the caller's; ``hop`` is the peer's; ``data`` is not masked."""

    at: float
    sent: bool
    hop: Hop
    leg: int
    data: bytes


class Trace(NamedTuple):
    """One call's messages in order of time; ``left_out`` are those beyond the limit for one call."""

    messages: list[TracedMessage]
    left_out: int


class _TracedCall:
    __slots__ = ("call_id", "ended_at", "left_out", "legs", "messages", "octets")

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.legs: list[bytes] = []
        # Flat, four entries a message: a container for each would be one more for the garbage collector to visit.
        self.messages: list[float | bool | Hop | bytes] = []
        self.octets = 0
        self.left_out = 0
        self.ended_at = 0.0


def sip_call_id(data: bytes) -> bytes:
    """The Call-ID of a message on the wire, b"" where there is none."""
    start = data.find(_PLAIN)
    if start >= 0:
        start += len(_PLAIN)
        return data[start : data.find(b"\r", start)].strip()
    match = _CALL_ID.search(data)
    return match[1].strip() if match else b""


class TraceBook:
    """``observe`` for each message, ``leg_made`` for each dialog of a call, ``ended`` once for each call."""

    def __init__(self, limits: TraceLimits) -> None:
        self.octets = 0
        self.evicted = 0
        """Calls whose trace went before its time."""
        self._limits = limits
        self._octets_max = limits.octets_max
        self._places_max = 4 * limits.messages_per_call_max
        self._places_unasked = min(self._places_max, 4 * UNJOINED_MESSAGES_MAX)
        """Which every call has, also one that waits to be joined."""
        self._legs: dict[bytes, _TracedCall] = {}
        self._live: dict[str, _TracedCall] = {}
        self._ended: OrderedDict[str, _TracedCall] = OrderedDict()
        self._unjoined: OrderedDict[bytes, _TracedCall] = OrderedDict()

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    def observe(self, data: bytes, hop: Hop, now: float, sent: bool) -> None:
        """Keeps a message that belongs to a call, or may come to."""
        size = len(data)
        if size < SHORTEST_MESSAGE_OCTETS:
            return
        start = data.find(_PLAIN) + _PLAIN_OCTETS
        key = data[start : data.find(b"\r", start)] if start >= _PLAIN_OCTETS else b""
        traced = self._legs.get(key)
        if traced is None:
            key = sip_call_id(data)  # as it is read where it is written in another way, or the call is a new one
            traced = self._legs.get(key)
        if traced is None:
            if sent or not data.startswith(b"INVITE "):
                return
            traced = self._await_join(key)
        messages = traced.messages
        places = len(messages)
        if places >= self._places_unasked and (places >= self._places_max or key in self._unjoined):
            traced.left_out += 1
            return
        if size > MESSAGE_OCTETS_MAX:
            data, size = data[:MESSAGE_OCTETS_MAX], MESSAGE_OCTETS_MAX
        messages += (now, sent, hop, data)
        size += MESSAGE_OVERHEAD_OCTETS
        traced.octets += size
        self.octets += size
        if self.octets > self._octets_max:
            self._evict()

    def leg_made(self, call_id: str, sip_id: str) -> None:
        """The dialog with this Call-ID is a leg of the call; the first one is the caller's."""
        key = sip_id.encode("utf-8", "surrogateescape")
        traced = self._live.get(call_id) or self._ended.get(call_id)
        if traced is None:
            while len(self) >= self._limits.calls_max:
                self._evict()
            traced = self._live[call_id] = _TracedCall(call_id)
        if self._legs.get(key) is traced:
            return
        waiting = self._unjoined.pop(key, None)
        if waiting is not None:
            traced.messages += waiting.messages
            traced.octets += waiting.octets
            traced.left_out += waiting.left_out
        self._legs[key] = traced
        traced.legs.append(key)

    def ended(self, call_id: str, now: float) -> None:
        """From here the trace's time runs; stragglers are still added to it."""
        traced = self._live.pop(call_id, None)
        if traced is not None:
            traced.ended_at = now
            self._ended[call_id] = traced
        self.expire(now)

    def expire(self, now: float) -> None:
        """Forgets what has been kept for long enough."""
        ended = self._ended
        while ended:
            call_id, traced = next(iter(ended.items()))
            if traced.ended_at + self._limits.kept_seconds > now:
                return
            del ended[call_id]
            self._forget(traced)

    def read(self, call_id: str, now: float) -> Trace | None:
        """The call's messages, None where there is no trace of it (any more)."""
        self.expire(now)
        traced = self._live.get(call_id) or self._ended.get(call_id)
        if traced is None:
            return None
        legs = {key: leg for leg, key in enumerate(traced.legs)}
        fields = iter(traced.messages)
        messages: list[TracedMessage] = []
        for at, sent, hop, data in zip(fields, fields, fields, fields, strict=True):
            assert isinstance(at, float) and isinstance(sent, bool)  # noqa: PT018  # one statement of what lies flat
            assert isinstance(hop, Hop) and isinstance(data, bytes)  # noqa: PT018
            messages.append(TracedMessage(at, sent, hop, legs.get(sip_call_id(data), 0), data))
        messages.sort(key=lambda message: message.at)
        return Trace(messages, traced.left_out)

    def call_of(self, data: bytes) -> str:
        """The id of the call that a message belongs to, "" for none."""
        traced = self._legs.get(sip_call_id(data))
        return traced.call_id if traced is not None else ""

    def _await_join(self, key: bytes) -> _TracedCall:
        if len(self._unjoined) >= UNJOINED_MAX:
            _, oldest = self._unjoined.popitem(last=False)
            self._forget(oldest)
        traced = self._legs[key] = self._unjoined[key] = _TracedCall("")
        traced.legs.append(key)
        return traced

    def _evict(self) -> None:
        if self._unjoined and not self._ended and not self._live:
            self._forget(self._unjoined.popitem(last=False)[1])
            return
        if self._ended:
            _, traced = self._ended.popitem(last=False)
        else:
            traced = self._live.pop(next(iter(self._live)))
        self.evicted += 1
        self._forget(traced)

    def _forget(self, traced: _TracedCall) -> None:
        self.octets -= traced.octets
        for key in traced.legs:
            if self._legs.get(key) is traced:
                del self._legs[key]
