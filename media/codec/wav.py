"""The header of a stereo WAV file of 16-bit samples at 8 kHz (Microsoft's RIFF, WAVE_FORMAT_PCM)."""

from __future__ import annotations

import struct
from typing import Final

SAMPLE_RATE: Final = 8000
CHANNELS: Final = 2
FRAME_OCTETS: Final = 4
"""One sample of each channel."""

HEADER_OCTETS: Final = 44
DATA_OCTETS_MAX: Final = 0xFFFF_FFFF - HEADER_OCTETS
"""What the format's 32 bits can say: 37 hours."""

_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")


def header(data_octets: int) -> bytes:
    """The 44 octets before ``data_octets`` of samples; larger sizes than the format knows say the largest."""
    size = min(data_octets, DATA_OCTETS_MAX)
    return _HEADER.pack(
        b"RIFF", size + HEADER_OCTETS - 8, b"WAVE", b"fmt ", 16, 1,
        CHANNELS, SAMPLE_RATE, SAMPLE_RATE * FRAME_OCTETS, FRAME_OCTETS, 16, b"data", size,
    )  # fmt: skip
