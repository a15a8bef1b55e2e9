"""Which middle numbers to replace: those whose low answer rate is no accident, compared with the line's others.

A number that customers' phones show as spam is answered more rarely. Raw rates tell that badly: with few calls they
scatter widely, and whoever always replaces the lowest takes good numbers out and runs out of rested ones.
``scripts/bench numbers`` compares the rule with that and with chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from typing import TypeVar

from engine.domain.lines.answer_rate import Evidence, Interval, wilson_interval

Key = TypeVar("Key", bound=int | str)


class Advice(StrEnum):
    KEEP = "keep"
    WATCH = "watch"
    REPLACE = "replace"


class Reason(StrEnum):
    """Why; the figures stand beside it in the judgement."""

    TOO_FEW_CALLS = "too_few_calls"
    NOTHING_TO_COMPARE = "nothing_to_compare"
    LIKE_THE_OTHERS = "like_the_others"
    PERHAPS_WORSE = "perhaps_worse"
    """Lower than the others', and it may still be chance or too little to act on."""
    CLEARLY_WORSE = "clearly_worse"


@dataclass(frozen=True, slots=True)
class ReplacementRules:
    """``window_days`` of evidence; ``shortfall_min`` of 0.25: the rate is at least a quarter below the others'."""

    window_days: int = 2
    attempts_min: int = 15
    others_attempts_min: int = 100
    shortfall_min: float = 0.25
    z: float = 2.33
    """The normal quantile of how sure one must be: 2.33 is wrong once in a hundred good numbers."""
    per_day_max: int = 2
    quarantine_days: int = 14
    """How long a number that was replaced rests; then it may be given out again, its evidence begun anew."""
    cool_down_days: int = 3
    """A number that has just come is not replaced for so long, whatever its first calls say."""


@dataclass(frozen=True, slots=True)
class Judgement:
    advice: Advice
    reason: Reason
    evidence: Evidence
    interval: Interval
    others: Evidence
    lost_answers: float
    """Answers that the number missed in the window, had it been like the others: what replacing it may win."""


def judge(evidence: Evidence, others: Evidence, rules: ReplacementRules) -> Judgement:
    """A number's evidence held against that of the line's other numbers together."""
    interval = wilson_interval(evidence, rules.z)
    others_rate = others.rate

    def judgement(advice: Advice, reason: Reason) -> Judgement:
        lost = 0.0 if others_rate is None else max(0.0, others_rate * evidence.attempted - evidence.answered)
        return Judgement(advice, reason, evidence, interval, others, lost)

    if others_rate is None or others.attempted < rules.others_attempts_min:
        return judgement(Advice.KEEP, Reason.NOTHING_TO_COMPARE)
    if evidence.attempted < rules.attempts_min:
        return judgement(Advice.KEEP, Reason.TOO_FEW_CALLS)
    rate = evidence.answered / evidence.attempted
    if rate >= others_rate:
        return judgement(Advice.KEEP, Reason.LIKE_THE_OTHERS)
    if _is_below(evidence, others, rules.z):
        enough = rate <= others_rate * (1 - rules.shortfall_min)
        return (
            judgement(Advice.REPLACE, Reason.CLEARLY_WORSE) if enough else judgement(Advice.WATCH, Reason.PERHAPS_WORSE)
        )
    if _is_below(evidence, others, rules.z / 2):
        return judgement(Advice.WATCH, Reason.PERHAPS_WORSE)
    return judgement(Advice.KEEP, Reason.LIKE_THE_OTHERS)


def _is_below(evidence: Evidence, others: Evidence, z: float) -> bool:
    """Whether the others' rate less the number's is above zero for sure (Newcombe 1998, method 10: of two Wilsons)."""
    own, theirs = wilson_interval(evidence, z), wilson_interval(others, z)
    rate, others_rate = evidence.answered / evidence.attempted, others.answered / others.attempted
    difference = others_rate - rate
    return difference - sqrt((others_rate - theirs.low) ** 2 + (own.high - rate) ** 2) > 0


def judge_all(evidence: Mapping[Key, Evidence], rules: ReplacementRules) -> dict[Key, Judgement]:
    """Each number of a line against all its others."""
    everything = sum(evidence.values(), Evidence(0, 0))
    return {key: judge(own, everything - own, rules) for key, own in evidence.items()}


def to_replace(
    judgements: Mapping[Key, Judgement],
    rules: ReplacementRules,
    *,
    replaced_today: int,
    spare: int,
    cooling: Iterable[Key],
) -> list[Key]:
    """The numbers to replace now, those first that miss most answers: at most the day's rest, and the ``spare`` ones.

    ``cooling`` are those that came within ``cool_down_days``.
    """
    resting = set(cooling)
    worst = sorted(
        (key for key, found in judgements.items() if found.advice is Advice.REPLACE and key not in resting),
        key=lambda key: -judgements[key].lost_answers,
    )
    return worst[: max(0, min(rules.per_day_max - replaced_today, spare))]
