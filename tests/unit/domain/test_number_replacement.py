"""Numbers that are replaced for nothing, or kept though nobody answers them."""

from __future__ import annotations

from statistics import mean

import pytest

from engine.domain.lines.answer_rate import Z_95, Evidence, wilson_interval
from engine.domain.lines.number_replacement import Advice, Reason, ReplacementRules, judge, judge_all, to_replace
from scripts.benchmarks.numbers import POLICIES, compare

OTHERS = Evidence(1000, 400)
RULES = ReplacementRules()


@pytest.mark.parametrize(
    ("attempted", "answered", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3.
    [(263, 81, 0.2553, 0.3662), (148, 15, 0.0624, 0.1605), (20, 0, 0.0, 0.1611), (29, 1, 0.0061, 0.1718)],
)
def test_an_interval_is_not_the_published_one(attempted: int, answered: int, low: float, high: float) -> None:
    interval = wilson_interval(Evidence(attempted, answered), Z_95)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@pytest.mark.parametrize("answered", [0, 7, 30])
def test_an_interval_leaves_out_what_was_seen(answered: int) -> None:
    interval = wilson_interval(Evidence(30, answered))
    assert 0.0 <= interval.low <= answered / 30 <= interval.high <= 1.0
    assert (wilson_interval(Evidence(0, 0)).low, wilson_interval(Evidence(0, 0)).high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("evidence", "advice", "reason"),
    [
        (Evidence(3, 0), Advice.KEEP, Reason.TOO_FEW_CALLS),
        (Evidence(100, 5), Advice.REPLACE, Reason.CLEARLY_WORSE),
        (Evidence(20, 5), Advice.WATCH, Reason.PERHAPS_WORSE),
        (Evidence(100, 39), Advice.KEEP, Reason.LIKE_THE_OTHERS),
        (Evidence(100, 60), Advice.KEEP, Reason.LIKE_THE_OTHERS),
        # For sure lower, and so little that replacing it wins nothing.
        (Evidence(100_000, 35_000), Advice.WATCH, Reason.PERHAPS_WORSE),
    ],
)
def test_advice_is_not_the_figures(evidence: Evidence, advice: Advice, reason: Reason) -> None:
    others = Evidence(OTHERS.attempted * 1000, OTHERS.answered * 1000) if evidence.attempted > 1000 else OTHERS
    judgement = judge(evidence, others, RULES)
    assert (judgement.advice, judgement.reason) == (advice, reason)


def test_a_whole_bad_line_is_blamed_on_its_numbers() -> None:
    judgements = judge_all({number: Evidence(200, 10) for number in range(10)}, RULES)
    assert {judgement.advice for judgement in judgements.values()} == {Advice.KEEP}
    assert judge_all({1: Evidence(500, 0)}, RULES)[1].reason is Reason.NOTHING_TO_COMPARE


def test_more_is_replaced_than_the_day_and_the_pool_allow() -> None:
    judgements = judge_all(
        {1: Evidence(50, 2), 2: Evidence(300, 10), 3: Evidence(200, 7), 4: Evidence(3000, 1200)}, RULES
    )
    rules = ReplacementRules(per_day_max=2)
    assert to_replace(judgements, rules, replaced_today=0, spare=9, cooling=()) == [2, 3]
    assert to_replace(judgements, rules, replaced_today=0, spare=1, cooling=()) == [2]
    assert to_replace(judgements, rules, replaced_today=1, spare=9, cooling=()) == [2]
    assert to_replace(judgements, rules, replaced_today=3, spare=9, cooling=()) == []
    assert to_replace(judgements, rules, replaced_today=0, spare=9, cooling=[2]) == [3, 1]


def test_chance_or_raw_rates_choose_better() -> None:
    """In histories other than those that the rule's figures were chosen on."""
    outcomes = compare(histories=8, days=45, first_seed=500)
    answered = {name: [outcome.answered for outcome in outcomes[name]] for name in POLICIES}
    assert mean(answered["our rule"]) > mean(answered["raw rate"]) > mean(answered["chance"]) > mean(answered["nobody"])
    replaced = {name: sum(outcome.replaced for outcome in outcomes[name]) for name in POLICIES}
    assert replaced["our rule"] < replaced["raw rate"]
