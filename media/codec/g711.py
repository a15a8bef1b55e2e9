"""G.711 both ways by table (ITU-T G.711; the segments as in its tables 1a to 2b)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]
Octets = npt.NDArray[np.uint8]


def _a_law_decoded() -> Pcm:
    code = np.arange(256) ^ 0x55
    segment, step = (code >> 4) & 7, code & 0x0F
    magnitude = np.where(segment == 0, step * 16 + 8, (step * 16 + 0x108) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _mu_law_decoded() -> Pcm:
    code = ~np.arange(256) & 0xFF
    segment, step = (code >> 4) & 7, code & 0x0F
    magnitude = ((step * 8 + 0x84) << segment) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _encoded(decoded: Pcm) -> Octets:
    """For each of the 65,536 samples (index: the sample as unsigned) the code whose value is nearest."""
    order = np.argsort(decoded, kind="stable")
    values = decoded[order].astype(np.int64)
    edges = (values[1:] + values[:-1]) // 2
    samples = np.arange(65_536).astype(np.uint16).view(np.int16).astype(np.int64)
    return order[np.searchsorted(edges, samples, side="left")].astype(np.uint8)


DECODED: Final[dict[str, Pcm]] = {"PCMA": _a_law_decoded(), "PCMU": _mu_law_decoded()}
_ENCODED: Final[dict[str, Octets]] = {law: _encoded(table) for law, table in DECODED.items()}


def _paired(decoded: Pcm) -> npt.NDArray[np.uint32]:
    """Two samples for each two octets, both in the machine's order: half the look-ups."""
    octets = np.arange(65_536, dtype=np.uint16).view(np.uint8)
    return decoded.take(octets).view(np.uint32)


_PAIRED: Final = {law: _paired(table) for law, table in DECODED.items()}


def decode_pairs(pairs: npt.NDArray[np.uint16], law: str) -> Pcm:
    """All samples in a row from octets taken two at a time. ``law`` is PCMA or PCMU; KeyError otherwise."""
    # "wrap" costs nothing on an index of 16 bits, and is spared the search for one that is too large.
    return _PAIRED[law].take(pairs, mode="wrap").reshape(-1).view(np.int16)


def decode(octets: Octets, law: str) -> Pcm:
    """Samples of 16 bits, of the same shape as ``octets``. ``law`` is PCMA or PCMU; KeyError otherwise."""
    return DECODED[law].take(octets)


def encode(samples: Pcm, law: str) -> bytes:
    """One octet a sample. ``law`` is PCMA or PCMU; KeyError otherwise."""
    return _ENCODED[law].take(samples.astype(np.int16).view(np.uint16)).tobytes()


TRANSCODED: Final[dict[tuple[str, str], bytes]] = {
    (one, other): encode(DECODED[one], other) for one, other in (("PCMA", "PCMU"), ("PCMU", "PCMA"))
}
"""(from, to) → for each octet the one whose value is nearest, for ``bytes.translate``."""
