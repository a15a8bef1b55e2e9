"""Money is exact for every rate, talk time and balance, not only for round ones."""

from hypothesis import given
from hypothesis import strategies as st

from engine.domain.charging import Rate

rates = st.builds(
    Rate,
    per_minute_micro=st.integers(0, 50_000_000),
    first_increment_seconds=st.integers(1, 180),
    next_increment_seconds=st.integers(1, 180),
    minimum_seconds=st.integers(0, 200),
)


@given(rates, st.integers(0, 20_000_000))
def test_billed_time_covers_the_talk_and_wastes_less_than_an_increment(rate: Rate, talk_ms: int) -> None:
    billed = rate.billed_seconds(talk_ms)
    if talk_ms == 0:
        assert billed == 0
        return
    assert billed * 1000 >= talk_ms
    asked_for = max(-(-talk_ms // 1000), rate.minimum_seconds, rate.first_increment_seconds)
    assert billed - asked_for < rate.next_increment_seconds
    assert billed >= rate.first_increment_seconds
    assert (billed - rate.first_increment_seconds) % rate.next_increment_seconds == 0


@given(rates, st.integers(0, 20_000_000), st.integers(0, 20_000_000))
def test_a_longer_call_never_costs_less(rate: Rate, one_ms: int, other_ms: int) -> None:
    shorter, longer = sorted((one_ms, other_ms))
    assert rate.charge_micro(shorter) <= rate.charge_micro(longer)


@given(rates, st.integers(0, 500_000_000), st.integers(1, 14_400))
def test_seconds_for_an_amount_are_affordable_and_one_more_is_not(rate: Rate, amount: int, seconds_max: int) -> None:
    seconds = rate.seconds_for(amount, seconds_max)
    assert 0 <= seconds <= seconds_max
    assert rate.charge_micro(seconds * 1000) <= amount
    if seconds < seconds_max:
        assert rate.charge_micro(seconds * 1000 + 1) > amount


def test_price_is_rounded_half_up_once() -> None:
    assert Rate(100, 1, 1).price_micro(1) == 2  # 1.67
    assert Rate(90, 1, 1).price_micro(1) == 2  # 1.5
    assert Rate(80, 1, 1).price_micro(1) == 1  # 1.33
