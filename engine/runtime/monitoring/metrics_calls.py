"""What is counted of calls and their voice: plain integers, since a call's path is no place for labelled objects."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from engine.domain.cause import Cause
from engine.domain.cdr import Cdr
from media.plane import SideStatistics

SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
LAG_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
JITTER_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
LOSS_RATIOS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
MOS_BOUNDS = (1.0, 2.0, 2.5, 3.0, 3.1, 3.6, 4.0, 4.2, 4.3, 4.4, 4.5)
"""3.1, 3.6 and 4.0 are where G.109 changes its words for a quality."""

Labels = tuple[str, ...]


class Histogram:
    """Counts by label values and bucket, with the sum of what was seen."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def see(self, value: float, *labels: str) -> None:
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def samples(self) -> Iterator[tuple[Labels, list[tuple[str, float]], float]]:
        """(label values, cumulative buckets as Prometheus wants them, sum)."""
        for labels, counts in self._counts.items():
            total = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, total))
            yield labels, buckets, self._sums[labels]


class CallFigures:
    """Labels are codes of trunks and words of closed sets, so their number is bounded by the trunks'."""

    def __init__(self) -> None:
        self.ended_calls: Counter[Labels] = Counter()
        """By trunk, direction, cause."""
        self.answered_calls: Counter[Labels] = Counter()
        """By trunk and direction; of the ended ones, so that their quotient is the answer rate."""
        self.talk_ms: Counter[Labels] = Counter()
        self.credit_refusals: Counter[Labels] = Counter()
        """By cause."""
        self.ringing_seconds = Histogram(SECONDS)
        self.answer_seconds = Histogram(SECONDS)
        self.packets: Counter[Labels] = Counter()
        """By trunk, side, and what became of them."""
        self.jitter_seconds = Histogram(JITTER_SECONDS)
        self.loss_ratio = Histogram(LOSS_RATIOS)
        self.mos = Histogram(MOS_BOUNDS)
        self.loop_lag_seconds = Histogram(LAG_SECONDS)

    def ended(self, cdr: Cdr, trunk: str) -> None:
        direction = cdr.direction.value if cdr.direction is not None else ""
        cause = cdr.cause or Cause.UNKNOWN
        self.ended_calls[trunk, direction, cause.value] += 1
        if cause in (Cause.NO_CREDIT, Cause.CREDIT_EXHAUSTED, Cause.SPEND_CAP):
            self.credit_refusals[(cause.value,)] += 1
        if cdr.ringing_at_ms is not None:
            self.ringing_seconds.see((cdr.ringing_at_ms - cdr.started_at_ms) / 1000, trunk)
        if cdr.answered_at_ms is not None:
            self.answered_calls[trunk, direction] += 1
            self.talk_ms[trunk, direction] += cdr.talk_ms
            self.answer_seconds.see((cdr.answered_at_ms - cdr.started_at_ms) / 1000, trunk)

    def heard(self, trunk: str, side: str, statistics: SideStatistics, mos: float | None) -> None:
        """What one side of a call sent to us, caller or callee; ``mos`` is what the other made of it."""
        packets = self.packets
        packets[trunk, side, "received"] += statistics.packets
        packets[trunk, side, "lost"] += statistics.lost
        packets[trunk, side, "out_of_order"] += statistics.out_of_order
        packets[trunk, side, "duplicate"] += statistics.duplicates
        packets[trunk, side, "refused"] += statistics.refused
        self.jitter_seconds.see(statistics.jitter_ms / 1000, trunk, side)
        expected = statistics.packets - statistics.duplicates + statistics.lost
        if expected > 0:
            self.loss_ratio.see(statistics.lost / expected, trunk, side)
        if mos is not None:
            self.mos.see(mos, trunk, side)
