"""A call on package minutes whose engine dies: it goes on with what it held, and pays for no second twice."""

from __future__ import annotations

import pytest

from engine.domain.cause import Cause
from engine.domain.facts import RateFacts
from tests.sim.calm import CalmPair
from tests.sim.engine import Death, DeathPoint
from tests.sim.invariants import violations
from tests.sim.media_plane import MediaConduct
from tests.sim.world import RATE_ID

BY_SECOND = RateFacts(RATE_ID, 60_000, 1, 1, 0)


@pytest.mark.parametrize("dies_after", [10.0, 45.0, 58.0, 70.0, 110.0])
def test_a_bucket_that_runs_out_after_the_death_is_used_up_and_money_pays_the_rest(dies_after: float) -> None:
    pair = CalmPair(rate=BY_SECOND, minutes={1: 60, 2: 40}, deaths=(Death(dies_after, 0.5, DeathPoint.BETWEEN),))
    pair.timeline.pass_seconds(150.0)
    pair.caller.act(pair.caller_session, "BYE")
    history = pair.run_out()
    (cdr,) = history.engine.records
    assert cdr.cause is Cause.NORMAL
    assert cdr.billed_seconds == -(-cdr.talk_ms // 1000) >= 150
    assert cdr.minutes_used == ((1, 60), (2, 40))
    assert cdr.charge_micro == (cdr.billed_seconds - 100) * 1000
    assert violations(history) == []


@pytest.mark.parametrize("away_seconds", [70.0, 100.0, 150.0])
@pytest.mark.parametrize("goes_on_for", [1.0, 60.0, 100.0])
def test_time_without_an_engine_is_paid_from_the_bucket_as_well(away_seconds: float, goes_on_for: float) -> None:
    """What the call had not held yet was paid in money: seeds 2390, 3191 and 3234."""
    pair = CalmPair(rate=BY_SECOND, minutes={1: 3600}, deaths=(Death(20.0, away_seconds, DeathPoint.BETWEEN),))
    pair.timeline.pass_seconds(20.0 + away_seconds + goes_on_for)
    pair.caller.act(pair.caller_session, "BYE")
    history = pair.run_out()
    (cdr,) = history.engine.records
    assert cdr.cause is Cause.NORMAL
    assert cdr.billed_seconds > away_seconds
    assert cdr.minutes_used == ((1, cdr.billed_seconds),)
    assert cdr.charge_micro == 0
    assert violations(history) == []


def test_minutes_of_a_call_that_died_with_engine_and_media_are_used_as_far_as_it_lived() -> None:
    pair = CalmPair(
        rate=BY_SECOND,
        minutes={1: 30, 2: 40},
        deaths=(Death(50.5, 1.0, DeathPoint.BETWEEN),),
        media=MediaConduct(dies_after=50.6, comes_back_after=0.1),
    )
    history = pair.run_out()
    (cdr,) = history.engine.records
    assert cdr.cause is Cause.ENGINE_RESTART
    assert cdr.minutes_used == ((1, 30), (2, cdr.billed_seconds - 30))
    assert cdr.charge_micro == 0
    assert violations(history) == []
