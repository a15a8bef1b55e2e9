"""The kernel's randomness, asked for in blocks."""

from __future__ import annotations

import os
from collections.abc import Callable

BLOCK_OCTETS = 4096
"""For some seventy calls, each of which takes seven pieces; a question for each was a question to the kernel."""


class Randomness:
    """No piece is given twice. A process that forked would share what is left of a block: an engine does not fork."""

    def __init__(self, read: Callable[[int], bytes] = os.urandom) -> None:
        self._read = read
        self._block = b""
        self._taken = 0

    def octets(self, count: int) -> bytes:
        """``count`` of them, at most BLOCK_OCTETS."""
        start, end = self._taken, self._taken + count
        if end > len(self._block):
            self._block = self._read(BLOCK_OCTETS)
            start, end = 0, count
        self._taken = end
        return self._block[start:end]
