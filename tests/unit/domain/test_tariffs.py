"""Which calls have a price, and which of them may go."""

from dataclasses import replace

from engine.domain.cause import Cause
from engine.domain.facts import Facts, RateFacts
from engine.domain.lines.directory import Directory
from engine.domain.lines.routing import NoRoute, Route, route_axb
from engine.domain.money.charging import Rate, Rounding
from engine.domain.money.package_minutes import MinutesBucket
from engine.domain.money.rate_plan import RateEntry
from tests.unit.facts import NOW_MS, TRUNK, A, B, X, directory

SELL = RateFacts(1, 120_000, 60, 60, 0)
BUY = RateFacts(2, 100_000, 60, 60, 0)
BOUGHT = replace(TRUNK, buy_rate_id=2)
UNICOM = RateEntry(Rate(90_000, 6, 6), "86139")


def route(*changes: Facts, caller: str = A) -> Route | NoRoute:
    return route_axb(directory(*changes), caller=caller, dialled=X, now_ms=NOW_MS)


def routed(*changes: Facts, caller: str = A) -> Route:
    found = route(*changes, caller=caller)
    assert isinstance(found, Route)
    return found


def refused(*changes: Facts) -> Cause:
    found = route(*changes)
    assert isinstance(found, NoRoute)
    return found.cause


def test_a_plain_rate_is_a_plan_of_one_entry() -> None:
    found = routed()
    assert (found.tariff.rate, found.tariff.buy, found.tariff.buckets) == (Rate(120_000), None, ())
    assert (found.parties.rate_id, found.parties.rate_version) == (1, 1)


def test_a_plans_own_fee_and_rounding_are_forgotten() -> None:
    found = routed(replace(SELL, connect_fee_micro=7, rounding="up", rounded_to_micro=10_000, minimum_seconds=9))
    assert found.tariff.rate == Rate(120_000, 60, 60, 9, 7, Rounding.UP, 10_000)


def test_the_callees_number_and_the_direction_choose_the_entry() -> None:
    from_customers = RateEntry(Rate(1), "86", direction="b_to_a")
    plan = replace(SELL, entries=(UNICOM, from_customers), version=3)
    assert routed(plan).tariff.rate is UNICOM.rate
    assert routed(plan, caller=B).tariff.rate == Rate(1)
    assert routed(plan).parties.rate_version == 3


def test_a_number_without_a_price_is_refused_and_its_record_says_why() -> None:
    found = route(replace(SELL, entries=(RateEntry(Rate(1), "1"),), others_refused=True))
    assert isinstance(found, NoRoute)
    assert (found.cause, found.parties.b_number, found.parties.rate_id) == (Cause.NO_RATE, B, 1)


def test_a_time_zone_that_nobody_knows_makes_no_call_free() -> None:
    assert refused(replace(SELL, zone="Mars/Olympus")) is Cause.NO_RATE
    assert refused(replace(SELL, zone="../../etc/passwd")) is Cause.NO_RATE


def test_a_route_that_loses_money_is_refused_unless_the_plan_allows_it() -> None:
    assert routed(BUY, BOUGHT).tariff.buy == Rate(100_000)
    dear = replace(BUY, per_minute_micro=120_001)
    assert refused(dear, BOUGHT) is Cause.ROUTE_LOSES_MONEY
    assert routed(dear, BOUGHT, replace(SELL, loss_allowed=True)).tariff.buy == Rate(120_001)


def test_a_call_whose_cost_is_in_no_plan_is_refused_unless_losses_are_allowed() -> None:
    partial = replace(BUY, entries=(RateEntry(Rate(1), "1"),), others_refused=True)
    assert refused(partial, BOUGHT) is Cause.NO_RATE
    assert refused(BOUGHT) is Cause.NO_RATE, "the buy plan itself is gone"
    assert routed(partial, BOUGHT, replace(SELL, loss_allowed=True)).tariff.buy is None


def test_a_change_of_the_plan_leaves_the_rate_of_a_running_call_alone() -> None:
    world = directory()
    before = route_axb(world, caller=A, dialled=X, now_ms=NOW_MS)
    world.apply([replace(SELL, per_minute_micro=1, version=2)])
    after = route_axb(world, caller=A, dialled=X, now_ms=NOW_MS)
    assert isinstance(before, Route)
    assert isinstance(after, Route)
    assert (before.tariff.rate.per_minute_micro, after.tariff.rate.per_minute_micro) == (120_000, 1)


def bucket(bucket_id: int, agent_id: int | None, expires_in_ms: int, tenant_id: int = 1) -> MinutesBucket:
    return MinutesBucket(bucket_id, tenant_id, agent_id, (), NOW_MS, NOW_MS + expires_in_ms)


def test_the_agents_own_minutes_and_the_tenants_are_used_and_nobody_elses() -> None:
    buckets = bucket(1, None, 50), bucket(2, 1, 20), bucket(3, 9, 10), bucket(4, None, 10, tenant_id=2)
    assert routed(*buckets).tariff.buckets == (2, 1)


def test_minutes_that_are_gone_are_still_offered() -> None:
    world: Directory = directory(bucket(1, None, 50))
    world.apply([bucket(1, 1, 50)])  # handed to one agent
    assert world.minutes_for(1, None, 1, NOW_MS) == ()
    assert world.minutes_for(1, 1, 1, NOW_MS) == (1,)
    world.remove("minutes_buckets", "1")
    assert world.minutes_for(1, 1, 1, NOW_MS) == ()
