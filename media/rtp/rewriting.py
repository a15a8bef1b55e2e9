"""What changes in a packet between two sides that agreed on different numbers or laws."""

from __future__ import annotations

from collections.abc import Mapping

from media.codec.g711 import TRANSCODED
from media.rtp.packet import HEADER_OCTETS, span


def renumbered(data: bytes, table: bytes) -> bytes:
    """The packet under another payload type. ``table`` has 256 octets, so that the marker bit is kept."""
    return b"%c%c%b" % (data[0], table[data[1]], data[2:])


def marker_table(payload_types: Mapping[int, int]) -> bytes:
    """The header's second octet before → after, for ``renumbered``."""
    return bytes(payload_types.get(octet & 0x7F, octet & 0x7F) | octet & 0x80 for octet in range(256))


def transcoded(data: bytes, payload_type: int, laws: tuple[str, str]) -> bytes:
    """The packet in another law of G.711 and under another payload type; its header, extension and padding stand.

    Raises MalformedPacket.
    """
    second = data[1] & 0x80 | payload_type
    table = TRANSCODED[laws]
    if data[0] == 0x80:
        return b"\x80%c%b%b" % (second, data[2:HEADER_OCTETS], data[HEADER_OCTETS:].translate(table))
    start, end = span(data)
    return b"%c%c%b%b%b" % (data[0], second, data[2:start], data[start:end].translate(table), data[end:])
