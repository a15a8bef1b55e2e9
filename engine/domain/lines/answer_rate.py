"""Answer rates with what is known of them: an interval, so that 1 of 3 is not taken for 100 of 300."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from engine.domain.cause import Cause

Z_95 = 1.96
Z_99 = 2.576

OF_THE_NUMBER = frozenset(
    {
        Cause.NORMAL,
        Cause.BUSY,
        Cause.NO_ANSWER,
        Cause.REJECTED,
        Cause.UNAVAILABLE,
        Cause.DURATION_LIMIT,
        Cause.CREDIT_EXHAUSTED,
        Cause.MEDIA_TIMEOUT,
        Cause.HUNG_UP_BY_PLATFORM,
        Cause.SESSION_EXPIRED,
    }
)
"""Causes of calls that say something of the number shown: the callee's phone was reached, or refused to be.

What our own side prevented (no credit, a trunk that is down, a number that does not exist) and what the agent cut
short himself says nothing of it. An answered call always counts.
"""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Calls that show a number to customers, and those of them that were answered."""

    attempted: int
    answered: int

    def __post_init__(self) -> None:
        if not 0 <= self.answered <= self.attempted:
            raise ValueError("more were answered than attempted, or fewer than none")

    @property
    def rate(self) -> float | None:
        """None where nothing was attempted."""
        return self.answered / self.attempted if self.attempted else None

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(self.attempted + other.attempted, self.answered + other.answered)

    def __sub__(self, other: Evidence) -> Evidence:
        return Evidence(self.attempted - other.attempted, self.answered - other.answered)


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


def wilson_interval(evidence: Evidence, z: float = Z_95) -> Interval:
    """The rates that the evidence does not speak against (Wilson 1927; unlike p ± z·s it holds for few calls, too).

    ``z`` is the normal quantile of the confidence, ``Z_95`` of 95 %. Of no calls it is everything from 0 to 1.
    """
    n = evidence.attempted
    if n == 0:
        return Interval(0.0, 1.0)
    p = evidence.answered / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # The formula meets 0 and 1 exactly; floating point may miss them by a hair.
    low = 0.0 if evidence.answered == 0 else max(0.0, centre - half)
    high = 1.0 if evidence.answered == n else min(1.0, centre + half)
    return Interval(low, high)
