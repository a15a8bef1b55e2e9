"""Package minutes as the database keeps them: what is left of each bucket, leased to the engine, and used by calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

from engine.domain.cdr import Cdr
from engine.domain.money.package_minutes import MinutesBucket
from tests.sim.timeline import Timeline
from tests.sim.world import TENANT

DELAY_MAX = 0.3
FOR_EVER_MS = 1 << 50
PLENTY_SECONDS = 10_000


class SimulatedMinutes:
    """``faults`` are what no database should have been asked for."""

    def __init__(self, timeline: Timeline, random: Random, bought_seconds: dict[int, int], silent: float = 0.0) -> None:
        self.bought_seconds = dict(bought_seconds)
        self.left_seconds = Counter(bought_seconds)
        self.leased_seconds: Counter[int] = Counter()
        self.stranded_seconds: Counter[int] = Counter()
        """Leased, without the engine having heard of it."""
        self.used_seconds: Counter[int] = Counter()
        self.faults: list[str] = []
        self._timeline = timeline
        self._random = random
        self._silent = silent

    @property
    def facts(self) -> list[MinutesBucket]:
        return [MinutesBucket(each, TENANT, None, (), 0, FOR_EVER_MS + each) for each in self.bought_seconds]

    @property
    def never_ran_short(self) -> bool:
        return self._silent == 0.0 and any(seconds >= PLENTY_SECONDS for seconds in self.left_seconds.values())

    def request_lease(self, bucket_id: int, wanted_seconds: int, answered: Callable[[int | None], None]) -> None:
        granted = min(wanted_seconds, self.left_seconds[bucket_id])
        self.left_seconds[bucket_id] -= granted
        self.leased_seconds[bucket_id] += granted
        told: int | None = granted
        if self._random.random() < self._silent:
            self.stranded_seconds[bucket_id] += granted
            told = None
        self._timeline.after(self._random.uniform(0.0001, DELAY_MAX), lambda: answered(told))

    def leases_of_the_dead(self) -> dict[int, int]:
        self.stranded_seconds.clear()
        return dict(self.leased_seconds)

    def give_back(self, seconds_by_bucket: dict[int, int]) -> None:
        for bucket_id, seconds in seconds_by_bucket.items():
            self.leased_seconds[bucket_id] -= seconds
            self.left_seconds[bucket_id] += seconds

    def settle(self, uses: Iterable[tuple[int, int]], call_id: str) -> None:
        for bucket_id, seconds in uses:
            self.used_seconds[bucket_id] += seconds
            self.leased_seconds[bucket_id] -= seconds
            if self.leased_seconds[bucket_id] < 0:
                self.faults.append(f"call {call_id} used minutes beyond the lease")


def minutes_used(cdrs: Iterable[Cdr]) -> Counter[int]:
    used: Counter[int] = Counter()
    for cdr in cdrs:
        for bucket_id, seconds in cdr.minutes_used:
            used[bucket_id] += seconds
    return used


def draw_minutes(timeline: Timeline, random: Random) -> SimulatedMinutes:
    """In a third of all histories the tenant has bought some; two buckets, of which the first is used first."""
    bought = {1: random.choice((7, 60, 100, 100_000)), 2: random.choice((0, 45, 300))} if random.random() < 0.33 else {}
    return SimulatedMinutes(timeline, random, bought, silent=random.choice((0.0, 0.0, 0.1)))
