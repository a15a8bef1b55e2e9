"""Keeps the way open to softphones behind NAT: an empty datagram to each, every so often (RFC 5626 §3.5, §4.4).

A NAT forgets a UDP flow within half a minute of silence, and the phone behind it is then called in vain. Phones with
connections keep those alive themselves; behind an edge proxy (Path) that is the proxy's business.
"""

from __future__ import annotations

from sip.core.hop import Hop
from sip.core.messages.framer import PING
from sip.core.registrar import Registrar

PINGS_PER_TICK_MAX = 1000
"""However late a tick is: at some 5 µs each, no call waits for longer than 5 ms. Then a round lasts longer instead."""


class NatKeepAlive:
    """Goes round the registrar's contacts once in ``seconds``, the same share of them at each tick; 0 for never."""

    def __init__(self, registrar: Registrar, seconds: float) -> None:
        self._registrar = registrar
        self._seconds = seconds
        self._left: list[str] = []
        """Addresses of record still to come in this round, the next one last: who has just registered comes soon."""
        self._share = 0.0
        self._ticked_at: float | None = None

    def tick(self, now: float) -> list[tuple[bytes, Hop]]:
        """The datagrams that are due. Called ten times a second or so."""
        elapsed = 0.0 if self._ticked_at is None else now - self._ticked_at
        self._ticked_at = now
        if not self._seconds:
            return []
        self._share = min(self._share + len(self._registrar) * elapsed / self._seconds, PINGS_PER_TICK_MAX)
        found: list[tuple[bytes, Hop]] = []
        while self._share >= 1:
            self._share -= 1
            if not self._left:
                self._left = self._registrar.addresses_of_record()
                if not self._left:
                    break
            for binding in self._registrar.lookup(self._left.pop(), now):
                if binding.is_behind_nat and binding.source.transport == "udp":
                    found.append((PING, binding.source))
        return found
