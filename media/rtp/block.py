"""Many packets of one side at once: a second's worth, their header fields as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from media.rtp.packet import HEADER_OCTETS

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_HEADER: Final = np.dtype(
    [("first", "u1"), ("second", "u1"), ("sequence", ">u2"), ("timestamp", ">u4"), ("ssrc", ">u4")]
)


class Run(NamedTuple):
    """What is known of packets without a look at each of them: numbers count up by one from the first packet's,
    timestamps by ``octets``, and neither wraps around."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    octets: int
    """Payload of each packet, which is also the samples by which the timestamps count."""
    delays: Floats
    """Arrivals less what the timestamps count from the first packet on, in seconds at 8 kHz."""


class Block:
    """Packets in the order of their arrival, all of at least a header; every array has one entry a packet.

    ``payloads`` is the (packets, octets) array of all payloads where the packets are *plain*: of one length, with
    neither CSRCs, extension, padding nor marker, of one SSRC and one payload type. Otherwise it is None, and payloads
    are read from ``packets`` one by one. Plain packets that also follow one another without a gap are a ``run``, as
    most seconds of voice are; the header's arrays are read only when they are asked for.
    """

    __slots__ = ("_fields", "_joined", "_lengths_differ", "arrivals", "octets", "packets", "payloads", "run")

    def __init__(self, packets: Sequence[bytes], arrivals: Sequence[float]) -> None:
        self.packets = packets
        self.arrivals: Floats = np.array(arrivals)
        count, size = len(packets), len(packets[0])
        self._joined = joined = b"".join(packets)
        self.octets = len(joined) - HEADER_OCTETS * count
        """Of all payloads together; CSRCs, extensions and padding counted in."""
        self._lengths_differ = len(set(map(len, packets))) != 1
        self._fields: tuple[Int64s, Int64s, Int64s, Int64s] | None = None
        self.payloads: npt.NDArray[np.uint8] | None = None
        self.run = None if self._lengths_differ else _run(joined, count, size, self.arrivals)
        if self.run is not None or (not self._lengths_differ and _is_plain(joined, count, size)):
            self.payloads = np.frombuffer(joined, np.uint8).reshape(count, size)[:, HEADER_OCTETS:]

    def __len__(self) -> int:
        return len(self.packets)

    @property
    def sequences(self) -> Int64s:
        return self._read()[0]

    @property
    def timestamps(self) -> Int64s:
        return self._read()[1]

    @property
    def ssrcs(self) -> Int64s:
        return self._read()[2]

    @property
    def payload_types(self) -> Int64s:
        return self._read()[3]

    @property
    def octet_pairs(self) -> npt.NDArray[np.uint16]:
        """The payloads of a run, two octets an entry, in the machine's order; (packets, octets / 2)."""
        count = len(self.packets)
        return np.frombuffer(self._joined, np.uint16).reshape(count, -1)[:, HEADER_OCTETS // 2 :]

    def _read(self) -> tuple[Int64s, Int64s, Int64s, Int64s]:
        if self._fields is None:
            if self._lengths_differ:
                heads = np.frombuffer(b"".join([packet[:HEADER_OCTETS] for packet in self.packets]), _HEADER)
            else:
                heads = np.frombuffer(self._joined, _header_of(len(self.packets[0])))
            self._fields = (
                heads["sequence"].astype(np.int64),
                heads["timestamp"].astype(np.int64),
                heads["ssrc"].astype(np.int64),
                (heads["second"] & 0x7F).astype(np.int64),
            )
        return self._fields


@lru_cache(maxsize=256)
def _steps(count: int, payload_octets: int) -> bytes:
    """How the header's three words change through a run; as octets, whose comparison is a third of the price."""
    return np.tile(np.array([1, payload_octets, 0], np.int64), count - 1).tobytes()


@lru_cache(maxsize=256)
def _ramp(count: int, payload_octets: int) -> Floats:
    return np.arange(float(count)) * (payload_octets / 8000)


def _run(joined: bytes, count: int, size: int, arrivals: Floats) -> Run | None:
    """The run that packets of one length are, or None. Three words are compared for 50 packets in one operation."""
    if size % 4 or size == HEADER_OCTETS or joined[0] != 0x80 or joined[1] >= 0x80:
        return None
    octets = size - HEADER_OCTETS
    heads = np.frombuffer(joined, ">u4").reshape(count, size // 4)[:, :3].astype(np.int64)
    if (heads[1:] - heads[:-1]).tobytes() != _steps(count, octets):
        return None
    first, timestamp, ssrc = heads[0].tolist()
    delays = arrivals - _ramp(count, octets)
    return Run(first >> 16 & 0x7F, first & 0xFFFF, timestamp, ssrc, octets, delays)


@lru_cache(maxsize=256)
def _header_of(packet_octets: int) -> np.dtype[np.void]:
    """The header's fields at the start of packets of one length."""
    fields: list[tuple[str, str]] = [(name, str(_HEADER[name].str)) for name in _HEADER.names or ()]
    return np.dtype([*fields, ("rest", f"V{packet_octets - HEADER_OCTETS}")])


def read_block(packets: Sequence[bytes], arrivals: Sequence[float]) -> Block:
    """A block of at least one packet, each of at least HEADER_OCTETS; arrivals in monotonic seconds."""
    return Block(packets, arrivals)


def _is_plain(joined: bytes, count: int, size: int) -> bool:
    """Whether all packets begin with 0x80 and share payload type (no marker) and SSRC.

    Every n-th octet as one slice: a tenth of the time of comparisons in numpy, which are dear on 50 packets.
    """
    return (
        joined[1] < 0x80
        and joined[0::size] == b"\x80" * count
        and joined[1::size] == joined[1:2] * count
        and all(joined[offset::size] == joined[offset : offset + 1] * count for offset in (8, 9, 10, 11))
    )
