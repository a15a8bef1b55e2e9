"""Many packets of one side at once: a second's worth, their header fields as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from media.rtp.packet import HEADER_OCTETS

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_HEADER: Final = np.dtype(
    [("first", "u1"), ("second", "u1"), ("sequence", ">u2"), ("timestamp", ">u4"), ("ssrc", ">u4")]
)


@dataclass(slots=True)
class Block:
    """Packets in the order of their arrival, all of at least a header; every array has one entry a packet.

    ``payloads`` is the (packets, octets) array of all payloads where the packets are *plain*: of one length, with
    neither CSRCs, extension nor padding, of one SSRC and one payload type. Otherwise it is None, and payloads are
    read from ``packets`` one by one.
    """

    packets: Sequence[bytes]
    arrivals: Floats
    sequences: Int64s
    timestamps: Int64s
    ssrcs: Int64s
    payload_types: Int64s
    payloads: npt.NDArray[np.uint8] | None
    octets: int
    """Of all payloads together; CSRCs, extensions and padding counted in."""

    def __len__(self) -> int:
        return len(self.packets)


@lru_cache(maxsize=256)
def _header_of(packet_octets: int) -> np.dtype[np.void]:
    """The header's fields at the start of packets of one length."""
    fields: list[tuple[str, str]] = [(name, str(_HEADER[name].str)) for name in _HEADER.names or ()]
    return np.dtype([*fields, ("rest", f"V{packet_octets - HEADER_OCTETS}")])


def read_block(packets: Sequence[bytes], arrivals: Sequence[float]) -> Block:
    """Arrays from at least one packet, each of at least HEADER_OCTETS; arrivals in monotonic seconds."""
    count, size = len(packets), len(packets[0])
    joined = b"".join(packets)
    octets = len(joined) - HEADER_OCTETS * count
    uniform = len(set(map(len, packets))) == 1
    if uniform:
        rows = np.frombuffer(joined, np.uint8).reshape(count, size)
        heads = np.frombuffer(joined, _header_of(size))
    else:
        heads = np.frombuffer(b"".join([packet[:HEADER_OCTETS] for packet in packets]), _HEADER)
    ssrcs = heads["ssrc"].astype(np.int64)
    payload_types = (heads["second"] & 0x7F).astype(np.int64)
    plain = (
        uniform
        and bool((heads["first"] == 0x80).all())
        and bool((ssrcs == ssrcs[0]).all())
        and bool((payload_types == payload_types[0]).all())
    )
    return Block(
        packets,
        np.array(arrivals),
        heads["sequence"].astype(np.int64),
        heads["timestamp"].astype(np.int64),
        ssrcs,
        payload_types,
        rows[:, HEADER_OCTETS:] if plain else None,
        octets,
    )
