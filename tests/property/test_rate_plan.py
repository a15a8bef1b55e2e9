"""Which rate a call has, held against an implementation that is slow and plain."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.money.charging import Rate
from engine.domain.money.rate_plan import ALL_WEEKDAYS, RateEntry, RatePlan, TimeWindow

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
DAY = 24 * 60

times_ms = st.integers(NOW_MS - 400 * 24 * HOUR_MS, NOW_MS + 400 * 24 * HOUR_MS)
digits = st.text("12", min_size=0, max_size=4)
windows = st.none() | st.builds(
    TimeWindow, st.integers(0, ALL_WEEKDAYS), st.integers(0, DAY - 1), st.integers(0, DAY - 1)
)
directions = st.sampled_from(("both", "a_to_b", "b_to_a"))
entries = st.lists(
    st.builds(
        RateEntry,
        st.builds(Rate, st.integers(1, 1000)),
        digits,
        directions,
        windows,
        st.none() | times_ms,
        st.none() | times_ms,
    ),
    max_size=12,
)


def local_minutes_of(window: TimeWindow) -> set[tuple[int, int]]:
    """(weekday, minute) for each minute of the week in the window, walked one by one."""
    length = (window.until_minute - window.from_minute) % DAY or DAY
    minutes = set()
    for weekday in range(7):
        if window.weekdays >> weekday & 1:
            for minute in range(window.from_minute, window.from_minute + length):
                if length == DAY:
                    minutes.add((weekday, minute % DAY))  # a whole day is that day, wherever it is said to begin
                else:
                    minutes.add(((weekday + minute // DAY) % 7, minute % DAY))
    return minutes


def naive_rate(listed: list[RateEntry], zone: ZoneInfo, direction: str, number: str, at_ms: int) -> Rate | None:
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).astimezone(zone)
    holding = [
        entry
        for entry in listed
        if number.startswith("+" + entry.prefix)
        and entry.direction in (direction, "both")
        and (entry.valid_from_ms or 0) <= at_ms < (entry.valid_until_ms or 10**18)
        and (
            entry.window is None or (local.weekday(), local.hour * 60 + local.minute) in local_minutes_of(entry.window)
        )
    ]
    return max(holding, key=lambda entry: len(entry.prefix)).rate if holding else None  # max takes the first of equals


@given(entries, st.sampled_from((SHANGHAI, BERLIN)), directions, st.text("12", max_size=6), times_ms)
def test_a_plan_finds_another_rate_than_a_plain_search(
    listed: list[RateEntry], zone: ZoneInfo, direction: str, digits_dialled: str, at_ms: int
) -> None:
    number = "+" + digits_dialled
    assert RatePlan(listed, zone).rate(direction, number, at_ms) is naive_rate(listed, zone, direction, number, at_ms)


def at(zone: ZoneInfo, text: str, *, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1000)


NIGHT, DAY_RATE = Rate(1), Rate(2)


def plan(window: TimeWindow, zone: ZoneInfo = SHANGHAI) -> RatePlan:
    return RatePlan([RateEntry(NIGHT, window=window), RateEntry(DAY_RATE)], zone)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-27T21:59:59", DAY_RATE),  # a Friday
        ("2026-11-27T22:00:00", NIGHT),
        ("2026-11-28T05:59:59", NIGHT),  # Saturday's early hours are Friday's night
        ("2026-11-28T06:00:00", DAY_RATE),
        ("2026-11-28T22:00:00", DAY_RATE),  # Saturday's own night is none
        ("2026-11-27T03:00:00", DAY_RATE),  # nor is Thursday's
    ],
)
def test_a_window_across_midnight_belongs_to_the_day_it_began_on(moment: str, expected: Rate) -> None:
    friday_nights = TimeWindow(1 << 4, 22 * 60, 6 * 60)
    assert plan(friday_nights).rate("a_to_b", "+8613900000000", at(SHANGHAI, moment)) is expected


def test_sundays_night_reaches_into_monday() -> None:
    sunday_nights = TimeWindow(1 << 6, 22 * 60, 6 * 60)
    assert plan(sunday_nights).rate("a_to_b", "+86139", at(SHANGHAI, "2026-11-30T01:00:00")) is NIGHT


def test_when_the_clocks_go_forward_the_skipped_hour_is_in_no_window() -> None:
    # 2026-03-29 in Berlin: 02:00 becomes 03:00.
    found = plan(TimeWindow(ALL_WEEKDAYS, 2 * 60, 3 * 60), BERLIN)
    before = at(BERLIN, "2026-03-29T01:59:59")
    assert {found.rate("a_to_b", "+49", before + step * 60_000) for step in range(120)} == {DAY_RATE}
    assert found.rate("a_to_b", "+49", before + 24 * HOUR_MS) is NIGHT, "the day after it is there again"


def test_when_the_clocks_go_back_the_hour_that_comes_twice_is_in_its_window_twice() -> None:
    # 2026-10-25 in Berlin: 03:00 becomes 02:00.
    found = plan(TimeWindow(ALL_WEEKDAYS, 2 * 60, 3 * 60), BERLIN)
    first = at(BERLIN, "2026-10-25T02:00:00")
    rates = [found.rate("a_to_b", "+49", first + half_hours * HOUR_MS // 2) for half_hours in range(-1, 5)]
    assert rates == [DAY_RATE, NIGHT, NIGHT, NIGHT, NIGHT, DAY_RATE]


def test_a_number_in_no_entry_is_not_free() -> None:
    mainland_only = RatePlan([RateEntry(DAY_RATE, "86")], SHANGHAI)
    assert mainland_only.rate("a_to_b", "+8613900000000", NOW_MS) is DAY_RATE
    assert mainland_only.rate("a_to_b", "+14155550100", NOW_MS) is None
    assert RatePlan([], SHANGHAI).rate("a_to_b", "+8613900000000", NOW_MS) is None


def test_validity_ends_before_the_next_begins() -> None:
    old = RateEntry(DAY_RATE, "86", valid_until_ms=NOW_MS)
    new = RateEntry(NIGHT, "86", valid_from_ms=NOW_MS)
    both = RatePlan([new, old], SHANGHAI)
    assert both.rate("a_to_b", "+86139", NOW_MS - 1) is DAY_RATE
    assert both.rate("a_to_b", "+86139", NOW_MS) is NIGHT
