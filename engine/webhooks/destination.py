"""Where a webhook may lead: a tenant must not reach our own network through us (SSRF).

The name is resolved for each attempt, and the connection goes to the very address that was checked: a name that is
public when it is checked and private when it is connected to gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

URL_LENGTH_MAX = 2000

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class DestinationRefused(Exception):
    """Not a place that we go to. Says why; names no address, which the tenant could not know."""


@dataclass(frozen=True, slots=True)
class Destination:
    """``host`` as in the URL, without brackets; ``authority`` is the Host header."""

    scheme: str
    host: str
    port: int
    authority: str
    target: str


def destination_of(url: str) -> Destination:
    """Raises DestinationRefused for what is no plain http(s) URL."""
    if len(url) > URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise DestinationRefused("is no URL, or too long; a name in other letters is written in punycode")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise DestinationRefused("is no URL") from error
    if parts.scheme not in ("https", "http"):
        raise DestinationRefused("begins with neither https:// nor http://")
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment or port == 0:
        raise DestinationRefused("must have a host, and neither user, password nor fragment")
    default = 443 if parts.scheme == "https" else 80
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme, parts.hostname, port or default, parts.netloc, target)


def is_public(address: Address) -> bool:
    """False for whatever is ours, our network's, or holds such an IPv4 address inside."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour
        if inside is not None:
            return is_public(inside)
        if address.teredo is not None or address in _NAT64 or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def literal_of(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check_url(url: str, *, private_allowed: bool) -> Destination:
    """What can be said before any name is resolved. Raises DestinationRefused."""
    destination = destination_of(url)
    address = literal_of(destination.host)
    if address is not None and not private_allowed and not is_public(address):
        raise DestinationRefused("leads into a private network")
    return destination


async def resolve(destination: Destination, threads: Executor, *, private_allowed: bool) -> Address:
    """The address to connect to. Raises DestinationRefused where any of the name's addresses is not public, OSError."""
    look_up = partial(socket.getaddrinfo, destination.host, destination.port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(threads, look_up)
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses:
        raise OSError("has no address")
    if not private_allowed and not all(map(is_public, addresses)):
        raise DestinationRefused("leads into a private network")
    return addresses[0]
