"""The RTP header (RFC 3550 §5.1)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from media.errors import MalformedPacket

HEADER_OCTETS: Final = 12
_HEADER: Final = struct.Struct("!BBHII")


class Packet(NamedTuple):
    """One RTP packet: ``sequence`` of 16 bits, ``timestamp`` and ``ssrc`` of 32, extension and padding removed."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def is_rtp(data: bytes) -> bool:
    """Whether a datagram can be RTP: version 2 and a whole header. What the relay asks of each packet."""
    return len(data) >= HEADER_OCTETS and data[0] >> 6 == 2


def parse(data: bytes) -> Packet:
    """Read a packet. Raises MalformedPacket."""
    if not is_rtp(data):
        raise MalformedPacket("not RTP version 2")
    _, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    start, end = span(data)
    return Packet(second & 0x7F, second >= 0x80, sequence, timestamp, ssrc, data[start:end])


def span(data: bytes) -> tuple[int, int]:
    """Where the payload of a packet that ``is_rtp`` begins and ends. Raises MalformedPacket."""
    first = data[0]
    start, end = HEADER_OCTETS + 4 * (first & 0x0F), len(data)
    if first & 0x10:
        if start + 4 > end:
            raise MalformedPacket("header extension cut off")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if first & 0x20:
        if data[-1] == 0:
            raise MalformedPacket("padding of length 0")
        end -= data[-1]
    if start > end:
        raise MalformedPacket("shorter than its header says")
    return start, end


def build(packet: Packet) -> bytes:
    """Write a packet without extension and padding."""
    second = packet.payload_type | (0x80 if packet.marker else 0)
    return _HEADER.pack(0x80, second, packet.sequence, packet.timestamp, packet.ssrc) + packet.payload
