"""SIP messages to Homer as HEPv3 (sipcapture, "HEP3 Network Protocol Specification") over UDP: sent and forgotten.

Messages wait, a bounded number, until the loop has time; then each is told with the id of its call, which is not known
yet when a call's first INVITE comes in.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from ipaddress import ip_address
from struct import error as StructError  # noqa: N812  # a bare "error" says nothing
from struct import pack

from sip.core.hop import Hop

WAITING_MAX = 8192
BATCH_MAX = 64
"""Messages in one go, so that a heap of them keeps no call waiting."""
INTERVAL_SECONDS = 0.05
PAYLOAD_OCTETS_MAX = 32_768
"""A UDP datagram holds 65,507 octets, and what is masked may grow: one octet that is no text becomes three."""

Address = tuple[str, int]

# Generic chunk types, those of vendor 0.
FAMILY, PROTOCOL, SOURCE_IPV4, DESTINATION_IPV4, SOURCE_IPV6, DESTINATION_IPV6 = 1, 2, 3, 4, 5, 6
SOURCE_PORT, DESTINATION_PORT, SECONDS, MICROSECONDS, PAYLOAD_TYPE, CAPTURE_ID = 7, 8, 9, 10, 11, 12
PAYLOAD, CORRELATION_ID = 15, 17
FAMILY_IPV4, FAMILY_IPV6 = 2, 10
PAYLOAD_SIP = 1


def hep_packet(
    payload: bytes,
    *,
    transport: str,
    source: Address,
    destination: Address,
    at: float,
    capture_id: int,
    correlation_id: str = "",
) -> bytes:
    """One HEP3 packet. ``at`` is in seconds since the epoch; addresses are numeric and of one family."""
    is_ipv6 = ":" in source[0]
    at_us = round(at * 1e6)
    protocol = socket.IPPROTO_UDP if transport == "udp" else socket.IPPROTO_TCP
    chunks = [
        _chunk(FAMILY, pack("!B", FAMILY_IPV6 if is_ipv6 else FAMILY_IPV4)),
        _chunk(PROTOCOL, pack("!B", protocol)),
        _chunk(SOURCE_IPV6 if is_ipv6 else SOURCE_IPV4, ip_address(source[0]).packed),
        _chunk(DESTINATION_IPV6 if is_ipv6 else DESTINATION_IPV4, ip_address(destination[0]).packed),
        _chunk(SOURCE_PORT, pack("!H", source[1])),
        _chunk(DESTINATION_PORT, pack("!H", destination[1])),
        _chunk(SECONDS, pack("!I", at_us // 1_000_000)),
        _chunk(MICROSECONDS, pack("!I", at_us % 1_000_000)),
        _chunk(PAYLOAD_TYPE, pack("!B", PAYLOAD_SIP)),
        _chunk(CAPTURE_ID, pack("!I", capture_id)),
    ]
    if correlation_id:
        chunks.append(_chunk(CORRELATION_ID, correlation_id.encode()))
    chunks.append(_chunk(PAYLOAD, payload))
    body = b"".join(chunks)
    return b"HEP3" + pack("!H", 6 + len(body)) + body


def _chunk(type_: int, value: bytes) -> bytes:
    """Vendor, type, length of the whole chunk, value."""
    return pack("!HHH", 0, type_, 6 + len(value)) + value


class HepExporter:
    """``own_address(host)`` is ours towards a peer; ``call_of`` the id of a message's call, "" for none; ``dress``
    makes of a message what Homer may have of it.
    """

    def __init__(
        self,
        collector: Address,
        *,
        capture_id: int,
        own_address: Callable[[str], Address],
        call_of: Callable[[bytes], str],
        dress: Callable[[bytes], bytes],
    ) -> None:
        """Raises OSError where there is no way to the collector, ValueError for a name instead of an address."""
        ip_address(collector[0])
        self.sent = 0
        self.dropped = 0
        self._capture_id = capture_id
        self._own_address = own_address
        self._call_of = call_of
        self._dress = dress
        self._waiting: deque[tuple[bytes, Hop, float, bool]] = deque()
        self._socket = socket.socket(socket.AF_INET6 if ":" in collector[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.connect(collector)
        except OSError:
            self._socket.close()
            raise

    def observe(self, data: bytes, hop: Hop, now: float, sent: bool) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self.dropped += 1
        else:
            self._waiting.append((data, hop, now, sent))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0 if self.send_some() else INTERVAL_SECONDS)

    def send_some(self) -> bool:
        """Sends up to BATCH_MAX messages; whether there are more."""
        if not self._waiting:
            return False
        for _ in range(min(BATCH_MAX, len(self._waiting))):
            data, hop, at, was_sent = self._waiting.popleft()
            self._send(data, hop, at, was_sent, self._call_of(data))
        return bool(self._waiting)

    def close(self) -> None:
        """What waits is not sent. Idempotent."""
        self._waiting.clear()
        self._socket.close()

    def _send(self, data: bytes, hop: Hop, at: float, was_sent: bool, correlation_id: str) -> None:
        if len(data) > PAYLOAD_OCTETS_MAX:
            self.dropped += 1
            return
        ours, theirs = self._own_address(hop.host), (hop.host, hop.port)
        try:
            packet = hep_packet(
                self._dress(data),
                transport=hop.transport,
                source=ours if was_sent else theirs,
                destination=theirs if was_sent else ours,
                at=at,
                capture_id=self._capture_id,
                correlation_id=correlation_id,
            )
            self._socket.send(packet)
        except (OSError, ValueError, StructError):  # a full buffer, no collector at the port; a peer that is a name
            self.dropped += 1
        else:
            self.sent += 1
