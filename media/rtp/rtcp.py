"""RTCP as far as a relay needs it: pass reports on, and nothing that names anyone (RFC 3550 §6)."""

from __future__ import annotations

import struct
from typing import Final

from media.errors import MalformedPacket

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
GOODBYE: Final = 203

PACKETS_MAX: Final = 16
"""Packets in one compound packet; more are cut off."""

NEUTRAL_CNAME: Final = b"anonymous"
"""RFC 3550 §6.1 wants a CNAME in every compound packet; the peer's own would often be user@host."""


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram begins like RTCP: version 2 and a report first (RFC 3550 §6.1, appendix A.2)."""
    return len(data) >= 8 and data[0] >> 6 == 2 and data[1] in (SENDER_REPORT, RECEIVER_REPORT)


def neutralise(data: bytes) -> bytes:
    """The compound packet with reports and goodbyes only, and a CNAME that says nothing.

    Profile extensions after the report blocks, goodbye reasons, SDES, APP and feedback are left out. Raises
    MalformedPacket.
    """
    if not is_rtcp(data):
        raise MalformedPacket("not RTCP")
    kept: list[bytes] = []
    ssrcs: dict[bytes, None] = {}
    offset = 0
    for _ in range(PACKETS_MAX):
        if offset + 4 > len(data):
            break
        first, kind, words = struct.unpack_from("!BBH", data, offset)
        body = data[offset + 4 : offset + 4 + 4 * words]
        if first >> 6 != 2 or len(body) != 4 * words:
            raise MalformedPacket("an RTCP packet is cut off")
        offset += 4 + 4 * words
        count = first & 0x1F
        if kind in (SENDER_REPORT, RECEIVER_REPORT):
            size = (24 if kind == SENDER_REPORT else 4) + 24 * count
            if len(body) < size:
                raise MalformedPacket("a report shorter than it says")
            kept.append(_packet(count, kind, body[:size]))
            ssrcs[body[:4]] = None
        elif kind == GOODBYE:
            if len(body) < 4 * count:
                raise MalformedPacket("a goodbye shorter than it says")
            kept.append(_packet(count, kind, body[: 4 * count]))
    # SDES goes after the reports and before a goodbye, which ends the compound packet.
    place = next((index for index, packet in enumerate(kept) if packet[1] == GOODBYE), len(kept))
    kept.insert(place, _names(list(ssrcs)))
    return b"".join(kept)


def _packet(count: int, kind: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def _names(ssrcs: list[bytes]) -> bytes:
    item = bytes((1, len(NEUTRAL_CNAME))) + NEUTRAL_CNAME
    item += bytes(4 - len(item) % 4)  # at least one null octet ends the chunk, then padding to 32 bits
    return _packet(len(ssrcs), SOURCE_DESCRIPTION, b"".join(ssrc + item for ssrc in ssrcs))
