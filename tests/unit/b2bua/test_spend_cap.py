"""Days of spending, as one engine counts them."""

from dataclasses import replace
from zoneinfo import ZoneInfo

from engine.domain.cause import Cause
from engine.domain.facts import AgentCapFacts, MoneyRulesFacts, VelocityAlarmFacts
from engine.domain.money.spend_cap import SpendBook, Spender
from engine.domain.money.velocity import Velocity
from engine.domain.month import day_start_ms
from tests.unit.b2bua.pair import World

TENANT, AGENT, OTHER = 7, 3, 4
NOON_MS = 1_800_000_000_000  # 2027-01-15, 16:00 in Shanghai
RULES = MoneyRulesFacts(TENANT, "Asia/Shanghai", 100)
DAY_MS = 24 * 3600 * 1000


def book(*facts: MoneyRulesFacts | AgentCapFacts) -> SpendBook:
    made = SpendBook()
    for fact in facts or (RULES,):
        made.take(fact)
    return made


def test_what_running_calls_hold_is_spent_a_second_time() -> None:
    spending = book()
    spending.hold(TENANT, AGENT, 60)
    assert spending.room_micro(TENANT, AGENT, NOON_MS) == 40
    spending.post(TENANT, AGENT, 60, 25, NOON_MS)
    assert spending.room_micro(TENANT, AGENT, NOON_MS) == 75
    spending.post(TENANT, None, 0, 500, NOON_MS)
    assert spending.room_micro(TENANT, AGENT, NOON_MS) == 0, "never below"


def test_an_agent_spends_what_his_cap_forbids() -> None:
    spending = book(RULES, AgentCapFacts(AGENT, TENANT, 30))
    assert spending.room_micro(TENANT, AGENT, NOON_MS) == 30
    assert spending.room_micro(TENANT, OTHER, NOON_MS) == 100
    spending.post(TENANT, OTHER, 0, 90, NOON_MS)
    assert spending.room_micro(TENANT, AGENT, NOON_MS) == 10, "the tenant's cap is the nearer one"
    spending.remove("agent_spend_caps", str(AGENT))
    spending.take(replace(RULES, day_cap_micro=None))
    assert spending.room_micro(TENANT, AGENT, NOON_MS) is None


def test_a_day_ends_at_another_zone_s_midnight() -> None:
    spending = book()
    midnight_ms = day_start_ms(NOON_MS, ZoneInfo("Asia/Shanghai")) + DAY_MS
    spending.hold(TENANT, None, 10)
    spending.post(TENANT, None, 0, 50, NOON_MS)
    assert spending.room_micro(TENANT, None, midnight_ms - 1) == 40
    assert spending.room_micro(TENANT, None, midnight_ms) == 90, "what is held will be charged on the new day"


def test_the_database_s_sum_doubles_our_own_charges_or_loses_others() -> None:
    spending = book()
    start_ms = spending.day_start_ms(TENANT, NOON_MS)
    spending.post(TENANT, None, 0, 20, NOON_MS)
    spending.charged(Spender(TENANT), start_ms, 0)  # ours is not stored yet
    assert spending.room_micro(TENANT, None, NOON_MS) == 80
    spending.charged(Spender(TENANT), start_ms, 70)  # ours, and 50 of another engine's
    assert spending.room_micro(TENANT, None, NOON_MS) == 30
    spending.charged(Spender(TENANT), start_ms - DAY_MS, 500)  # yesterday's, read as the day changed
    assert spending.room_micro(TENANT, None, NOON_MS) == 30


def test_the_day_of_another_zone_keeps_the_old_one_s_charges() -> None:
    spending = book()
    spending.post(TENANT, None, 0, 50, NOON_MS)
    spending.take(replace(RULES, zone="America/New_York"))
    assert spending.room_micro(TENANT, None, NOON_MS) == 100, "to be read anew"


def _cap(of: World, micro: int) -> None:
    of.engine.controller.spending.take(MoneyRulesFacts(1, "Asia/Shanghai", micro))


def test_a_call_begins_beyond_the_day_s_cap(world: World) -> None:
    _cap(world, 0)
    world.call()
    cdr = world.ended()
    assert (cdr.cause, cdr.answered_at_ms, cdr.sip_status) == (Cause.SPEND_CAP, None, 402)
    assert world.engine.controller.spending.spent_micro(Spender(1), world.ended().started_at_ms) == 0


def test_a_running_call_talks_beyond_the_day_s_cap(world: World) -> None:
    _cap(world, 10_000_000)
    world.call()
    (active,) = world.engine.controller.calls.values()
    spending = world.engine.controller.spending
    assert spending.spent_micro(Spender(1), active.call.cdr.started_at_ms) == active.call.held_micro > 0
    _cap(world, 1)
    world.pass_seconds(600)
    cdr = world.ended()
    assert cdr.cause is Cause.SPEND_CAP
    assert spending.spent_micro(Spender(1), cdr.started_at_ms) == cdr.charge_micro > 0


def test_what_calls_hold_and_attempts_that_are_refused_have_no_speed(world: World) -> None:
    velocity = world.engine.controller.velocity
    world.call()
    (active,) = world.engine.controller.calls.values()
    begun_ms = active.call.cdr.started_at_ms
    held = Velocity(1, active.call.held_micro)
    assert held.spent_micro > 0
    assert velocity.windows(begun_ms) == {Spender(1): held, Spender(1, 1): held}
    world.pass_seconds(90)
    world.engine.controller.hang_up(active.call_id, Cause.HUNG_UP_BY_PLATFORM, world.timeline.now)
    now_ms = begun_ms + 90_000
    assert velocity.windows(now_ms)[Spender(1)] == Velocity(1, active.call.cdr.charge_micro), "what was not used is not"
    alarm = VelocityAlarmFacts(1, 1, 1, stops_calls=True, acknowledged_at_ms=None)
    world.engine.controller.directory.apply([alarm])
    world.call()
    assert [each.cause for each in world.engine.records][-1] is Cause.VELOCITY_ALARM
    assert velocity.windows(now_ms)[Spender(1, 1)].attempts == 2


def test_a_raised_cap_does_not_save_the_call_in_its_final_unit(world: World) -> None:
    _cap(world, 10_000_000)
    world.call()
    (active,) = world.engine.controller.calls.values()
    _cap(world, 1)
    world.pass_seconds(active.call.granted_seconds - 5)
    assert active.call.final_unit
    _cap(world, 10_000_000)
    world.engine.controller.caps_changed(1, world.timeline.now)
    world.pass_seconds(30)
    assert active.call.cdr.ended_at_ms is None
