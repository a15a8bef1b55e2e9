"""Which fault comes in which round: one seed is one plan."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    ENGINE_KILLED = "engine_killed"
    ENGINE_KILLED_IN_A_CROWD = "engine_killed_in_a_crowd"
    ENGINE_KILLED_TWICE = "engine_killed_twice"
    ENGINE_HANDED_OVER = "engine_handed_over"
    ENGINE_PAUSED = "engine_paused"
    MEDIA_KILLED = "media_killed"
    MEDIA_KILLED_WITHOUT_ENGINE = "media_killed_without_engine"
    MEDIA_PAUSED = "media_paused"
    API_KILLED = "api_killed"
    API_PAUSED = "api_paused"
    DATABASE_KILLED = "database_killed"
    ENGINE_KILLED_WITHOUT_DATABASE = "engine_killed_without_database"
    DISK_FULL = "disk_full"
    CLOCK_AHEAD = "clock_ahead"
    CLOCK_BACK = "clock_back"
    CLOCK_STOPPED = "clock_stopped"
    BROKER_KILLED = "broker_killed"


OF_THE_CLOCK = frozenset({Fault.CLOCK_AHEAD, Fault.CLOCK_BACK, Fault.CLOCK_STOPPED})


ONCE = frozenset({Fault.ENGINE_KILLED_IN_A_CROWD})
"""Two hundred calls at once want half a minute of their own."""


@dataclass(frozen=True, slots=True)
class Round:
    """``before_seconds`` is the wait before the fault; ``choice`` (0 to 1) picks one where there are several."""

    fault: Fault
    before_seconds: float
    choice: float


def make_plan(seed: int, rounds: int, possible: Collection[Fault]) -> list[Round]:
    """Each possible fault once, in an order of the seed's, before any comes again."""
    chance = random.Random(seed)
    faults: list[Fault] = []
    while len(faults) < rounds:
        again = [fault for fault in Fault if fault in possible and not (faults and fault in ONCE)]
        chance.shuffle(again)
        faults += again
    return [Round(fault, chance.uniform(1.0, 4.0), chance.random()) for fault in faults[:rounds]]
