from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from engine.domain.money.order import TRANSITIONS, OrderAction, OrderState, WrongState, allowed_in, next_state
from engine.domain.money.package import Period, PeriodUnit, refund_micro


@pytest.mark.parametrize("state", OrderState)
@pytest.mark.parametrize("action", OrderAction)
def test_an_order_goes_where_the_table_does_not_lead(state: OrderState, action: OrderAction) -> None:
    following = TRANSITIONS.get((state, action))
    if following is not None:
        assert next_state(state, action) is following
        return
    with pytest.raises(WrongState) as refusal:
        next_state(state, action)
    assert refusal.value.allowed == allowed_in(state)
    assert action not in refusal.value.allowed


def test_something_follows_an_end() -> None:
    ends = {OrderState.FULFILLED, OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED}
    assert {state for state in OrderState if not allowed_in(state)} == ends


def test_money_moves_without_approval() -> None:
    ways = {state for (state, action), following in TRANSITIONS.items() if following is OrderState.FULFILLED}
    assert ways == {OrderState.APPROVED}
    assert [k for k, following in TRANSITIONS.items() if following is OrderState.APPROVED] == [
        (OrderState.SUBMITTED, OrderAction.APPROVE)
    ]


def _ms(text: str, zone: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000


@pytest.mark.parametrize(
    ("unit", "count", "zone", "anchor", "ends"),
    [
        ("month", 1, "Asia/Shanghai", "2027-01-31T00:00", ["2027-02-28T00:00", "2027-03-31T00:00", "2027-04-30T00:00"]),
        ("month", 1, "Asia/Shanghai", "2028-01-30T23:59", ["2028-02-29T23:59", "2028-03-30T23:59"]),
        ("month", 11, "Asia/Shanghai", "2027-12-31T12:00", ["2028-11-30T12:00", "2029-10-31T12:00"]),
        ("year", 1, "Asia/Shanghai", "2028-02-29T08:00", ["2029-02-28T08:00", "2030-02-28T08:00"]),
        ("day", 7, "Asia/Shanghai", "2027-02-26T08:00", ["2027-03-05T08:00"]),
        # The clocks go forward on 28 March 2027: the wall's time stays, the day has 23 hours.
        ("day", 1, "Europe/Berlin", "2027-03-27T12:00", ["2027-03-28T12:00", "2027-03-29T12:00"]),
    ],
)
def test_a_period_ends_on_another_day(unit: str, count: int, zone: str, anchor: str, ends: list[str]) -> None:
    period = Period(PeriodUnit(unit), count, zone)
    anchor_ms = _ms(anchor, zone)
    assert period.boundary_ms(anchor_ms, 0) == anchor_ms
    assert [period.boundary_ms(anchor_ms, n) for n in range(1, len(ends) + 1)] == [_ms(end, zone) for end in ends]


def test_a_skipped_hour_makes_a_period_empty() -> None:
    period = Period(PeriodUnit.DAY, 1, "Europe/Berlin")
    anchor_ms = _ms("2027-03-27T02:30", "Europe/Berlin")
    boundaries = [period.boundary_ms(anchor_ms, n) for n in range(4)]
    assert boundaries == sorted(set(boundaries))


def test_a_refund_pays_more_than_the_price() -> None:
    assert refund_micro(100, 3, 3) == 100
    assert refund_micro(100, 3, 1) == 33
    assert refund_micro(100, 3, 1) + refund_micro(100, 3, 2) <= 100
    assert refund_micro(0, 3, 2) == 0
    for bought, unused in ((3, 4), (3, -1), (0, 0)):
        with pytest.raises(ValueError, match="unused"):
            refund_micro(100, bought, unused)
