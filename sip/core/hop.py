"""A numeric place on the network that a datagram comes from or goes to."""

from __future__ import annotations

from typing import NamedTuple


class Hop(NamedTuple):
    """`transport` is lower case ("udp"); `host` is numeric, IPv6 without brackets; `port` is never 0.

    `name` is what a TLS server's certificate must hold (RFC 5922 §4), "" where the address was all that was known.
    """

    transport: str
    host: str
    port: int
    name: str = ""

    @property
    def is_reliable(self) -> bool:
        """True where the transport retransmits by itself, so that transactions do not (RFC 3261 §17)."""
        return self.transport != "udp"


def is_numeric_host(host: str) -> bool:
    """True for an IPv4 or IPv6 literal (IPv6 with or without brackets), False for a name to be resolved."""
    if ":" in host:
        return True
    return host.count(".") == 3 and host.isascii() and host.replace(".", "").isdigit()


def bracketed(host: str) -> str:
    """The host as it stands in a URI or Via: IPv6 in brackets (RFC 3261 §25.1, IPv6reference)."""
    return f"[{host}]" if ":" in host and host[0] != "[" else host
