"""What a worker is started with: JSON in its argument, so that no worker reads configuration of its own."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from media.errors import MalformedSettings

DESCRIPTORS_PER_CALL: Final = 6
"""Two sides with an open and a connected RTP socket and one for RTCP each."""

DESCRIPTORS_SPARE: Final = 256
"""For control connections, the log, and recordings being opened and closed."""


class WorkerSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One worker's share: its socket, its addresses, its ports. Seconds are seconds, hosts are IP addresses."""

    socket_path: str
    index: int = 0
    host: str = "127.0.0.1"
    """The IPv4 address to bind to, or empty."""
    host_ipv6: str = ""
    advertised_host: str = ""
    """The address to put in SDP where it is another than the one bound to (a 1:1 NAT)."""
    advertised_host_ipv6: str = ""
    port_min: Annotated[int, Meta(ge=1024, le=65_535)] = 20_000
    port_max: Annotated[int, Meta(ge=1024, le=65_535)] = 29_999
    quarantine_seconds: Annotated[float, Meta(ge=0)] = 5.0
    rtp_timeout_seconds: Annotated[float, Meta(gt=0)] = 30.0
    orphan_seconds: Annotated[float, Meta(gt=0)] = 600.0
    """A call without media for so long, while no engine is connected, is ended: nobody else will."""
    calls_max: Annotated[int, Meta(ge=1, le=10_000)] = 1000

    @property
    def addresses(self) -> dict[int, tuple[str, str]]:
        """IP version → (address to bind to, address to advertise); IPv4 first."""
        found: dict[int, tuple[str, str]] = {}
        if self.host:
            found[4] = (self.host, self.advertised_host or self.host)
        if self.host_ipv6:
            found[6] = (self.host_ipv6, self.advertised_host_ipv6 or self.host_ipv6)
        return found

    @property
    def descriptors_max(self) -> int:
        """File descriptors that the worker needs when it is full; one more a call for its recording."""
        return self.calls_max * (DESCRIPTORS_PER_CALL + 1) + DESCRIPTORS_SPARE


def read_settings(text: str) -> WorkerSettings:
    """Decode the worker's argument. Raises MalformedSettings."""
    try:
        settings = msgspec.json.decode(text.encode(), type=WorkerSettings)
    except msgspec.MsgspecError as error:
        raise MalformedSettings(str(error)) from error
    if settings.port_min >= settings.port_max:
        raise MalformedSettings("port_min must be below port_max")
    if not settings.addresses:
        raise MalformedSettings("neither host nor host_ipv6 is set")
    return settings
