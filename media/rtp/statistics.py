"""What one side sent, counted as RFC 3550 appendices A.1 (sequence), A.3 (loss) and A.8 (jitter) do."""

from __future__ import annotations

from typing import Final

import numpy as np

from media.rtp.block import Block, Floats, Int64s

DROPOUT_MAX: Final = 3000
MISORDER_MAX: Final = 100
"""RFC 3550 A.1: a jump forward or back by more is another stream's numbering, if the next packet agrees."""

CHANGE_SECONDS_MAX: Final = 1.0
"""A greater change of transit time is a jump of the sender's clock or a wrap of its timestamps, not jitter."""

CLOCK_RATE: Final = 8000
"""Hz. Of G.711 and G.722; the jitter of other codecs is not told right."""

_SEQUENCES: Final = 1 << 16

# J += (|D| - J) / 16 for each packet (A.8) is a sum with these weights, the last packet's at the end.
_WEIGHTS: Final = (15 / 16) ** np.arange(1023, -1, -1)


class StreamStatistics:
    """Counts over the blocks of one side, whatever its SSRCs. ``jitter_seconds`` is of the latest SSRC."""

    __slots__ = (
        "_bad", "_base", "_distinct", "_earlier_lost", "_highest", "_missing", "_ssrc", "_transit",
        "duplicates", "jitter_seconds", "octets", "out_of_order", "packets",
    )  # fmt: skip

    def __init__(self) -> None:
        self.packets = 0
        self.octets = 0
        self.out_of_order = 0
        self.duplicates = 0
        self.jitter_seconds = 0.0
        self._ssrc: int | None = None
        self._base = 0
        self._highest = 0
        self._distinct = 0
        self._earlier_lost = 0
        self._missing: set[int] = set()
        self._bad: int | None = None
        self._transit: float | None = None

    @property
    def lost(self) -> int:
        """Packets that never came, up to the highest sequence number seen."""
        if self._ssrc is None:
            return 0
        return self._earlier_lost + max(0, self._highest - self._base + 1 - self._distinct)

    def add(self, block: Block) -> None:
        """Count a block in."""
        self.packets += len(block)
        self.octets += block.octets
        run = block.run
        if run is not None and run.ssrc == self._ssrc and run.sequence == (self._highest + 1) % _SEQUENCES:
            self._highest += len(block)
            self._distinct += len(block)
            self._bad = None
            self._measure(run.delays, run.timestamp / CLOCK_RATE)
            return
        first_ssrc = int(block.ssrcs[0])
        if block.payloads is not None or bool((block.ssrcs == first_ssrc).all()):
            self._add_stream(first_ssrc, block.sequences, block.timestamps, block.arrivals)
            return
        edges = np.flatnonzero(np.diff(block.ssrcs)) + 1
        for chosen in np.split(np.arange(len(block)), edges):
            ssrc = int(block.ssrcs[chosen[0]])
            self._add_stream(ssrc, block.sequences[chosen], block.timestamps[chosen], block.arrivals[chosen])

    def _add_stream(self, ssrc: int, sequences: Int64s, timestamps: Int64s, arrivals: Floats) -> None:
        if ssrc != self._ssrc:
            self._restart(ssrc, int(sequences[0]))
        count = len(sequences)
        first = int(sequences[0])
        last = first + count - 1
        if (
            first == (self._highest + 1) % _SEQUENCES
            and last < _SEQUENCES
            and int(sequences[-1]) == last
            and bool((sequences[1:] - sequences[:-1] == 1).all())
        ):
            self._highest += count
            self._distinct += count
            self._bad = None
        else:
            for sequence in sequences.tolist():
                self._count(sequence)
        self._measure(arrivals - timestamps / CLOCK_RATE, 0.0)

    def _restart(self, ssrc: int, sequence: int) -> None:
        self._earlier_lost = self.lost
        self._ssrc = ssrc
        self._base, self._highest, self._distinct = sequence, sequence - 1, 0
        self._missing.clear()
        self._bad = None
        self._transit = None

    def _count(self, sequence: int) -> None:
        ahead = (sequence - self._highest) % _SEQUENCES
        if 0 < ahead < DROPOUT_MAX:
            self._missing.update(range(self._highest + 1, self._highest + ahead))
            if len(self._missing) > DROPOUT_MAX:
                self._missing = {number for number in self._missing if number > self._highest - DROPOUT_MAX}
            self._highest += ahead
            self._distinct += 1
        elif ahead == 0 or ahead > _SEQUENCES - MISORDER_MAX:
            number = self._highest - (_SEQUENCES - ahead) % _SEQUENCES
            if number in self._missing:
                self._missing.discard(number)
                self._distinct += 1
                self.out_of_order += 1
            elif number < self._base and self._distinct:
                # Sent before the first that came, and overtaken by it.
                self._missing.update(range(number + 1, self._base))
                self._base = number
                self._distinct += 1
                self.out_of_order += 1
            else:
                self.duplicates += 1
            return
        elif sequence == self._bad and self._ssrc is not None:
            self._restart(self._ssrc, sequence)
            self._highest, self._distinct = sequence, 1
        else:
            self._bad = (sequence + 1) % _SEQUENCES
            return
        self._bad = None

    def _measure(self, delays: Floats, less: float) -> None:
        """Jitter: the smoothed change of transit time from packet to packet, in order of arrival.

        Transit times are ``delays`` - ``less``, in seconds.
        """
        if self._transit is not None:
            change = abs(float(delays[0]) - less - self._transit)
            if change <= CHANGE_SECONDS_MAX:
                self.jitter_seconds += (change - self.jitter_seconds) / 16
        self._transit = float(delays[-1]) - less
        changes = np.abs(delays[1:] - delays[:-1])
        count = len(changes)
        if count and float(np.maximum.reduce(changes)) > CHANGE_SECONDS_MAX:
            changes = changes[changes <= CHANGE_SECONDS_MAX]
            count = len(changes)
        if count:
            smoothed = float(changes @ _WEIGHTS[-count:]) / 16
            self.jitter_seconds = smoothed + self.jitter_seconds * (15 / 16) ** count
