"""What a phone's vices have in common: they sit between its user agent, which knows the RFCs, and the network."""

from __future__ import annotations

from collections.abc import Iterable

from sip.core.hop import Hop


class Vice:
    """A phone without vices; each vice overrides what it does otherwise."""

    def outwards(self, data: bytes, destination: Hop) -> Iterable[tuple[float, bytes]]:
        """(delay in seconds, datagram) for each that is sent in place of this one."""
        return ((0.0, data),)

    def lets_in(self, data: bytes, source: Hop) -> bool:
        return True

    def changed_inwards(self, data: bytes) -> bytes:
        """What of an arriving datagram reaches the user agent."""
        return data
