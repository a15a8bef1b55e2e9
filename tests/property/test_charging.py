"""Money is exact for every rate, talk time, package and balance, not only for round ones."""

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

from hypothesis import given
from hypothesis import strategies as st

from engine.domain.money.charging import (
    Charge,
    FirstLeg,
    Rate,
    Rounding,
    Tariff,
    callback_charge,
)

rates = st.builds(
    Rate,
    per_minute_micro=st.integers(0, 50_000_000),
    first_increment_seconds=st.integers(1, 180),
    next_increment_seconds=st.integers(1, 180),
    minimum_seconds=st.integers(0, 200),
    connect_fee_micro=st.just(0) | st.integers(0, 5_000_000),
    rounding=st.sampled_from(Rounding),
    rounded_to_micro=st.sampled_from((1, 7, 1_000, 10_000)),
)
talks_ms = st.integers(0, 20_000_000)


@given(rates, talks_ms)
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


@given(rates, talks_ms, talks_ms, st.integers(0, 20_000))
def test_a_longer_call_never_costs_less(rate: Rate, one_ms: int, other_ms: int, package_seconds: int) -> None:
    shorter, longer = sorted((one_ms, other_ms))
    assert rate.charge_micro(shorter) <= rate.charge_micro(longer)
    tariff = Tariff(rate, buckets=(1,), held={1: package_seconds})
    assert tariff.charge(shorter).charge_micro <= tariff.charge(longer).charge_micro


@given(rates, st.integers(0, 500_000_000), st.integers(1, 14_400), st.just(0) | st.integers(0, 20_000))
def test_seconds_for_an_amount_are_affordable_and_one_more_is_not(
    rate: Rate, amount: int, seconds_max: int, package_seconds: int
) -> None:
    tariff = Tariff(rate, buckets=(1,), held={1: package_seconds})
    seconds = tariff.seconds_for(amount, seconds_max)
    assert 0 <= seconds <= seconds_max
    assert tariff.charge_micro(seconds * 1000) <= amount
    if seconds < seconds_max:
        assert tariff.charge_micro(seconds * 1000 + 1) > amount


@given(rates, st.integers(1, 20_000))
def test_a_price_is_the_exact_one_rounded_once(rate: Rate, billed_seconds: int) -> None:
    steps = (rate.connect_fee_micro + Fraction(rate.per_minute_micro * billed_seconds, 60)) / rate.rounded_to_micro
    rounded = {
        Rounding.UP: ceil(steps),
        Rounding.DOWN: floor(steps),
        Rounding.HALF_UP: floor(steps + Fraction(1, 2)),
    }[rate.rounding]
    assert rate.price_micro(billed_seconds) == rounded * rate.rounded_to_micro


@given(rates, talks_ms, st.lists(st.integers(0, 6_000), max_size=4))
def test_every_billed_second_is_a_packages_or_paid(rate: Rate, talk_ms: int, buckets: list[int]) -> None:
    tariff = Tariff(rate, buckets=tuple(range(len(buckets))), held=dict(enumerate(buckets)))
    charge = tariff.charge(talk_ms)
    assert charge.billed_seconds == rate.billed_seconds(talk_ms)
    assert charge.package_seconds == min(charge.billed_seconds, sum(buckets))
    assert charge.charge_micro == rate.price_micro(charge.billed_seconds - charge.package_seconds)
    assert sum(seconds for _, seconds in charge.by_bucket) == charge.package_seconds
    for bucket_id, seconds in charge.by_bucket[:-1]:
        assert seconds == buckets[bucket_id], "a later bucket was begun before this one was empty"


@given(rates, rates, st.integers(1, 400_000))
def test_a_rate_that_does_not_sell_below_cost_wins_on_a_minute_and_in_the_long_run(
    sell: Rate, buy: Rate, hours: int
) -> None:
    if sell.sells_below(buy):
        return
    assert sell.charge_micro(60_000) >= buy.charge_micro(60_000)
    increments = max(buy.first_increment_seconds, buy.next_increment_seconds, buy.minimum_seconds) + 1
    most_lost = buy.per_minute_micro * increments // 60 + buy.connect_fee_micro + 20_000
    assert sell.charge_micro(hours * 3_600_000) + most_lost >= buy.charge_micro(hours * 3_600_000)


def test_a_dearer_minute_or_a_dearer_slope_loses_money() -> None:
    sell = Rate(120_000, 6, 6)
    assert not sell.sells_below(sell)
    assert sell.sells_below(replace(sell, per_minute_micro=120_001))
    assert sell.sells_below(replace(sell, per_minute_micro=119_000, connect_fee_micro=1_001)), "the first minute"
    assert replace(sell, connect_fee_micro=50_000, per_minute_micro=100_000).sells_below(sell), "the slope"


def test_price_is_rounded_half_up_once() -> None:
    assert Rate(100, 1, 1).price_micro(1) == 2  # 1.67
    assert Rate(90, 1, 1).price_micro(1) == 2  # 1.5
    assert Rate(80, 1, 1).price_micro(1) == 1  # 1.33


def test_a_call_within_its_minutes_pays_no_connect_fee() -> None:
    rate = Rate(60_000, 1, 1, connect_fee_micro=30_000)
    tariff = Tariff(rate, buckets=(7,), held={7: 60})
    assert tariff.charge(60_000).charge_micro == 0
    assert tariff.charge(60_001).charge_micro == 31_000, "one second of money, and the fee"
    assert tariff.charge(0).charge_micro == 0
    assert tariff.seconds_for(30_999, 3600) == 60, "money for the fee alone buys nothing"
    assert tariff.seconds_for(31_000, 3600) == 61


def test_a_callback_call_charges_the_legs_that_it_says() -> None:
    first, second = Rate(60_000, 1, 1), Rate(120_000, 60, 60)
    tariff = Tariff(second, buy=Rate(30_000))
    both = callback_charge(tariff, 61_000, FirstLeg(70_000, first, Rate(6_000, 1, 1)))
    assert both == Charge(120 + 70, 0, 240_000 + 70_000, 60_000 + 7_000)
    assert callback_charge(tariff, 61_000, FirstLeg(70_000, None, None)) == Charge(120, 0, 240_000, 60_000)
    unanswered = callback_charge(tariff, 0, FirstLeg(10_000, first, None))
    assert unanswered.charge_micro == 10_000, "the agent's leg was had, though the customer never answered"


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 200_000), st.integers(0, 200_000))
def test_a_callback_s_minutes_are_used_twice_or_money_before_them(
    seven: int, eight: int, talk_ms: int, first_ms: int
) -> None:
    rate = Rate(60_000, 6, 6)
    tariff = Tariff(rate, buckets=(7, 8), held={7: seven, 8: eight})
    charge = callback_charge(tariff, talk_ms, FirstLeg(first_ms, rate, None))
    billed = rate.billed_seconds(talk_ms) + rate.billed_seconds(first_ms)
    assert charge.billed_seconds == billed
    assert charge.package_seconds == sum(seconds for _, seconds in charge.by_bucket) == min(billed, seven + eight)
    assert charge.charge_micro == 1_000 * (billed - charge.package_seconds)
    assert dict(charge.by_bucket).get(7, 0) == min(seven, billed)


def test_credit_that_is_a_rounded_half_short_buys_nothing() -> None:
    rate = Rate(90, 1, 1)  # a second is 1.5, rounded to 2
    assert [rate.seconds_for(amount, 10) for amount in (1, 2, 3, 4)] == [0, 1, 2, 2]
