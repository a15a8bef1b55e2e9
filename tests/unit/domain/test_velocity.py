"""How fast is too fast, with made histories: what an ordinary day does, and what a stolen softphone does."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cache
from random import Random

import pytest

from engine.domain.cause import Cause
from engine.domain.facts import MoneyRulesFacts, VelocityAlarmFacts
from engine.domain.lines.routing import NoRoute, route_axb
from engine.domain.money.spend_cap import Spender
from engine.domain.money.velocity import (
    ATTEMPTS_FLOOR,
    DAYS_MIN,
    WINDOW_MS,
    Excess,
    LimitedBy,
    Measure,
    Velocity,
    VelocityBook,
    excess,
    too_fast,
    usual_of,
)
from tests.unit.facts import NOW_MS, A, X, directory

TENANT = 7
AGENTS = range(1, 21)
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
MONDAY_MS = 1_799_625_600_000  # 2027-01-11 00:00 UTC; the days of these histories begin there
RULES = MoneyRulesFacts(TENANT, "Asia/Shanghai", None)
PER_MINUTE_MICRO = 120_000


class Office:
    """Twenty agents who dial by hand: each call some seconds after the one before, a third of them answered."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.book = VelocityBook()
        self.peaks: dict[Spender, list[Velocity]] = {}
        self.usual: dict[Spender, Velocity | None] = {}

    def day(self, starts_at_ms: int, *, eagerness: float = 1.0, until_ms: int | None = None) -> None:
        """Nine to noon and one to six; the fastest windows of it are remembered, unless it is cut off."""
        events: list[tuple[int, int, int]] = []
        for agent in AGENTS:
            for begins, ends in ((9, 12), (13, 18)):
                at = starts_at_ms + begins * HOUR_MS + round(self.random.expovariate(1 / 60_000))
                while at < starts_at_ms + ends * HOUR_MS:
                    answered = self.random.random() < 1 / 3
                    seconds = self.random.expovariate(1 / 90) if answered else self.random.uniform(8, 40)
                    events.append((at, agent, round(seconds / 60 * PER_MINUTE_MICRO) if answered else 0))
                    at += round((seconds + self.random.expovariate(1 / (20 / eagerness))) * 1000)
        highest: dict[Spender, Velocity] = {}
        next_look = 0
        for at, agent, micro in sorted(events):
            if until_ms is not None and at > until_ms:
                return
            self.book.attempted(TENANT, agent, at)
            self.book.spent(TENANT, agent, micro, at)
            if at >= next_look:
                next_look = at + 5_000
                windows = self.book.windows(at)
                for spender, velocity in windows.items():
                    highest[spender] = highest.get(spender, Velocity()).highest(velocity)
                assert self.alarms(windows) == {}, "an ordinary day raises an alarm"
        for spender, velocity in highest.items():
            self.peaks.setdefault(spender, []).insert(0, velocity)
        self.usual = {spender: usual_of(peaks[:14]) for spender, peaks in self.peaks.items()}

    def alarms(self, windows: Mapping[Spender, Velocity]) -> dict[Spender, Excess]:
        return too_fast(windows, {TENANT: RULES}, self.usual)


@cache
def first_week(seed: int) -> Office:
    """An office after five ordinary days, none of which raised an alarm; made once, as a day takes half a second."""
    office = Office(seed)
    for day in range(5):
        office.day(MONDAY_MS + day * DAY_MS)
    return office


def known_office(seed: int) -> Office:
    """One whose habits are known, and that a test may go on with."""
    return deepcopy(first_week(seed))


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))]  # a week of calls each


@pytest.mark.parametrize("seed", SEEDS)
def test_an_ordinary_monday_morning_raises_an_alarm(seed: int) -> None:
    office = known_office(seed)
    office.day(MONDAY_MS + 7 * DAY_MS, eagerness=2.0)  # the new week, everybody rested


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stolen_softphone_calls_for_longer_than_a_minute(seed: int) -> None:
    office = known_office(seed)
    # On the next Monday at eleven, beside the office's own calls, one softphone places three calls every other second.
    stolen_at = MONDAY_MS + 7 * DAY_MS + 11 * HOUR_MS
    office.day(MONDAY_MS + 7 * DAY_MS, until_ms=stolen_at)
    for second in range(0, 60, 2):
        at = stolen_at + second * 1000
        for _ in range(3):
            office.book.attempted(TENANT, 4, at)
            office.book.spent(TENANT, 4, 2 * PER_MINUTE_MICRO, at)
        if found := office.alarms(office.book.windows(at)):
            assert set(found) == {Spender(TENANT, 4)}, "one alarm: the tenant's other agents are as ever"
            assert found[Spender(TENANT, 4)].measure is Measure.ATTEMPTS
            assert second >= 5, "not the first call"
            return
    pytest.fail("no alarm within a minute of traffic")


def test_at_night_a_few_dear_calls_are_overlooked() -> None:
    """Premium numbers: few attempts, and money that goes by what the calls hold, long before they end."""
    office = known_office(0)
    night = MONDAY_MS + 6 * DAY_MS + 3 * HOUR_MS
    for call in range(4):
        office.book.attempted(TENANT, 4, night + call * 1000)
        office.book.spent(TENANT, 4, 10_000_000, night + call * 1000)
    found = office.alarms(office.book.windows(night + 4000))
    assert found[Spender(TENANT, 4)].measure is Measure.SPENDING


def test_a_burst_becomes_what_is_usual() -> None:
    quiet, burst = Velocity(10, 1_000_000), Velocity(900, 90_000_000)
    assert usual_of([burst, quiet, quiet, quiet, burst]) == quiet
    assert usual_of([quiet] * (DAYS_MIN - 1)) is None


def test_who_calls_little_calls_a_little_more() -> None:
    usual = Velocity(1, 0)
    assert excess(Velocity(ATTEMPTS_FLOOR, 0), None, usual, of_agent=True) is None
    found = excess(Velocity(ATTEMPTS_FLOOR + 1, 0), None, usual, of_agent=True)
    assert found == Excess(Measure.ATTEMPTS, LimitedBy.USUAL, ATTEMPTS_FLOOR + 1, ATTEMPTS_FLOOR, 1)
    assert excess(Velocity(10**6, 10**12), None, None, of_agent=True) is None, "nothing is known to be usual"


def test_a_rule_s_limit_is_overlooked_or_taken_for_the_other() -> None:
    rules = replace(RULES, velocity_attempts_max=100, agent_velocity_spend_max_micro=5, velocity_factor=0)
    usual = Velocity(1, 1)
    assert excess(Velocity(101, 0), rules, usual, of_agent=True) is None
    assert excess(Velocity(101, 0), rules, usual, of_agent=False) == Excess(
        Measure.ATTEMPTS, LimitedBy.RULE, 101, 100, 1
    )
    assert excess(Velocity(0, 6), rules, usual, of_agent=True) == Excess(Measure.SPENDING, LimitedBy.RULE, 6, 5, 1)
    assert excess(Velocity(0, 6), rules, usual, of_agent=False) is None
    assert excess(Velocity(100, 5), rules, usual, of_agent=True) is None


def test_a_window_never_ends_or_counts_what_was_given_back() -> None:
    book = VelocityBook()
    book.attempted(TENANT, 4, NOW_MS)
    book.spent(TENANT, 4, 100, NOW_MS)
    book.spent(TENANT, 4, -40, NOW_MS + MINUTE_MS)
    assert book.windows(NOW_MS + MINUTE_MS) == {
        Spender(TENANT): Velocity(1, 60),
        Spender(TENANT, 4): Velocity(1, 60),
    }
    assert book.windows(NOW_MS + WINDOW_MS)[Spender(TENANT, 4)] == Velocity(0, 0), "less than nothing"
    assert book.windows(NOW_MS + WINDOW_MS + MINUTE_MS) == {}
    assert book._slots == {}, "who is quiet is forgotten"


def test_a_stopped_agent_calls_on_or_the_others_do_not() -> None:
    def cause(*alarms: VelocityAlarmFacts) -> Cause | None:
        known = directory(*alarms)
        route = route_axb(known, caller=A, dialled=X, now_ms=NOW_MS)
        known.remove("velocity_alarms", "1")
        assert not isinstance(route_axb(known, caller=A, dialled=X, now_ms=NOW_MS), NoRoute)
        return route.cause if isinstance(route, NoRoute) else None

    assert cause(VelocityAlarmFacts(1, 1, 1, stops_calls=True, acknowledged_at_ms=None)) is Cause.VELOCITY_ALARM
    assert cause(VelocityAlarmFacts(1, 1, None, stops_calls=True, acknowledged_at_ms=None)) is Cause.VELOCITY_ALARM
    assert cause(VelocityAlarmFacts(1, 1, 2, stops_calls=True, acknowledged_at_ms=None)) is None
    assert cause(VelocityAlarmFacts(1, 1, 1, stops_calls=False, acknowledged_at_ms=None)) is None
