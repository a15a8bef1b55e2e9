"""Ids for calls: sorted by the time they were made, and not to be guessed."""

from __future__ import annotations

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _CROCKFORD for low in _CROCKFORD]


def call_id(now_ms: int, entropy: bytes) -> str:
    """A ULID: 26 characters, of which 10 are the time in milliseconds and 16 the 10 octets of ``entropy``."""
    if len(entropy) != 10:
        raise ValueError("a call id takes 10 octets of entropy")
    number = (now_ms << 80) | int.from_bytes(entropy, "big")
    return "".join([_PAIRS[(number >> shift) & 0x3FF] for shift in range(120, -10, -10)])
