"""Simulates a line whose numbers get flagged as spam, and who replaces them: nobody, chance, the raw rate, our rule.

    scripts/bench numbers [--json] [--histories 40] [--days 60]

All policies have the same budget (numbers a day), the same rested numbers, the same quarantine, and live through the
same histories, drawn from the seed. Not one of them sees which numbers are flagged: they see calls and answers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import mean, stdev

from engine.domain.lines.answer_rate import Evidence
from engine.domain.lines.number_replacement import ReplacementRules, judge_all, to_replace

RULES = ReplacementRules()
IN_USE = 40
SPARE = 40
CALLS_A_DAY_MEDIAN = 40
FLAG_CHANCE_PER_1000_CALLS = 0.5
"""A number with the median's calls is flagged about once in 50 days."""
DECAY_A_DAY = 0.6
"""A flagged number keeps so much of the way down to its floor from one day to the next: low within a week."""
FLOOR_SHARE = 0.3
RECOVERY_CHANCE_A_DAY = 0.08
"""That a number at rest loses its flag: 69 of 100 have lost it after 14 days."""


@dataclass(slots=True)
class Number:
    """``rate`` is what it is when nobody flags it; ``calls_a_day`` goes with the place that it serves."""

    rate: float
    is_flagged: bool = False
    share: float = 1.0
    since_day: int = -100
    days: list[Evidence] = field(default_factory=list)
    rests_until_day: int = 0

    @property
    def true_rate(self) -> float:
        return self.rate * self.share

    def window(self, days: int) -> Evidence:
        return sum(self.days[-days:], Evidence(0, 0))


Choice = Callable[[Sequence[Number], int, int, int, Random], list[int]]
"""(numbers in use, rested ones, replaced today, day, chance) → the places whose numbers go."""


def nobody(_used: Sequence[Number], _spare: int, _replaced: int, _day: int, _random: Random) -> list[int]:
    return []


def chance(used: Sequence[Number], spare: int, _replaced: int, _day: int, random: Random) -> list[int]:
    return random.sample(range(len(used)), min(RULES.per_day_max, spare))


def raw_rate(used: Sequence[Number], spare: int, _replaced: int, _day: int, _random: Random) -> list[int]:
    """The lowest rates of the window, as a table sorted by answer rate shows them."""
    windows = {place: number.window(RULES.window_days) for place, number in enumerate(used)}
    called = [place for place, evidence in windows.items() if evidence.attempted]
    worst = sorted(called, key=lambda place: windows[place].answered / windows[place].attempted)
    return worst[: min(RULES.per_day_max, spare)]


def our_rule(used: Sequence[Number], spare: int, replaced: int, day: int, _random: Random) -> list[int]:
    judgements = judge_all({place: number.window(RULES.window_days) for place, number in enumerate(used)}, RULES)
    cooling = [place for place, number in enumerate(used) if day - number.since_day < RULES.cool_down_days]
    return to_replace(judgements, RULES, replaced_today=replaced, spare=spare, cooling=cooling)


POLICIES: dict[str, Choice] = {"nobody": nobody, "chance": chance, "raw rate": raw_rate, "our rule": our_rule}


@dataclass(frozen=True, slots=True)
class Outcome:
    calls: int
    answered: int
    replaced: int
    wrongly: int
    """Of the replaced ones those that nobody had flagged."""


def simulate(policy: Choice, seed: int, days: int, spare: int = SPARE) -> Outcome:
    """One history. What happens to a number on a day is drawn of the seed and not of the policy's choices."""
    world = Random(seed)  # noqa: S311 - a simulation
    chance_of_policy = Random(seed + 1_000_003)  # noqa: S311 - a simulation
    pool = [Number(rate=world.betavariate(24, 36)) for _ in range(IN_USE + spare)]
    volumes = [max(1, round(CALLS_A_DAY_MEDIAN * world.lognormvariate(0, 0.7))) for _ in range(IN_USE)]
    used, resting = pool[:IN_USE], pool[IN_USE:]
    calls = answered = replaced = wrongly = 0
    for day in range(days):
        for number, volume in zip(used, volumes, strict=True):
            answers = sum(world.random() < number.true_rate for _ in range(volume))
            number.days.append(Evidence(volume, answers))
            calls, answered = calls + volume, answered + answers
            if not number.is_flagged and world.random() < volume * FLAG_CHANCE_PER_1000_CALLS / 1000:
                number.is_flagged = True
            if number.is_flagged:
                number.share = FLOOR_SHARE + (number.share - FLOOR_SHARE) * DECAY_A_DAY
        for number in resting:
            if number.is_flagged and world.random() < RECOVERY_CHANCE_A_DAY:
                number.is_flagged, number.share = False, 1.0
        rested = [number for number in resting if number.rests_until_day <= day]
        for place in policy(used, len(rested), 0, day, chance_of_policy):
            old, new = used[place], rested.pop(0)
            replaced, wrongly = replaced + 1, wrongly + (not old.is_flagged)
            old.rests_until_day = day + RULES.quarantine_days
            resting.remove(new)
            resting.append(old)
            new.days.clear()
            new.since_day = day
            used[place] = new
    return Outcome(calls, answered, replaced, wrongly)


def compare(histories: int, days: int, first_seed: int = 1000, spare: int = SPARE) -> dict[str, list[Outcome]]:
    """Each policy over the same histories."""
    seeds = range(first_seed, first_seed + histories)
    return {name: [simulate(policy, seed, days, spare) for seed in seeds] for name, policy in POLICIES.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=40)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--spare", type=int, default=SPARE, help="rested numbers")
    parser.add_argument("--json", action="store_true", help="only the last line")
    arguments = parser.parse_args()
    outcomes = compare(arguments.histories, arguments.days, spare=arguments.spare)
    figures = {}
    for name, results in outcomes.items():
        shares = [result.answered / result.calls for result in results]
        more = [result.answered - still.answered for result, still in zip(results, outcomes["nobody"], strict=True)]
        over_raw = [ours.answered - theirs.answered for ours, theirs in zip(results, outcomes["raw rate"], strict=True)]
        figures[name] = {
            "answered_more_than_raw_rate": round(mean(over_raw)),
            "standard_error": round(stdev(over_raw) / len(over_raw) ** 0.5) if len(over_raw) > 1 else 0,
            "answer_rate": round(mean(shares), 4),
            "answer_rate_spread": round(stdev(shares), 4) if len(shares) > 1 else 0.0,
            "answered_more_than_nobody": round(mean(more)),
            "calls": round(mean(result.calls for result in results)),
            "replaced": round(mean(result.replaced for result in results), 1),
            "wrongly": round(mean(result.wrongly for result in results), 1),
        }
    if not arguments.json:
        spare = arguments.spare
        print(f"{arguments.histories} histories of {arguments.days} days, {IN_USE} numbers in use, {spare} at rest")
        for name, row in figures.items():
            print(
                f"{name:9} answered {row['answer_rate']:.1%} (± {row['answer_rate_spread']:.1%} between histories), "
                f"{row['answered_more_than_nobody']:+6} answers, "
                f"{row['answered_more_than_raw_rate']:+6} ± {row['standard_error']} against the raw rate's, "
                f"{row['replaced']:.0f} replaced, {row['wrongly']:.0f} wrongly"
            )
    print(json.dumps({"bench": "numbers", **figures}))


if __name__ == "__main__":
    main()
