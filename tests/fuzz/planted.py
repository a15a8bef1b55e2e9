"""A fault for the fuzzer to find, so that it is known to find any."""

from __future__ import annotations


def fault(data: bytes) -> None:
    """Raises where the input begins with INVITE, which no chance of some thousand inputs would bring."""
    if data[:1] == b"I" and data[1:2] == b"N" and data[2:3] == b"V" and data[3:4] == b"I" and data[4:6] == b"TE":
        raise ValueError("the planted fault")
