"""Money that ends, or comes, while people talk."""

from __future__ import annotations

import time

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import writing_session
from engine.store.money.ledger_store import recharge
from engine.store.money.minutes_store import buy_minutes
from media.codec.tone import WARNING_HZ
from tests.interop.conftest import MakeLane
from tests.interop.lane import CALLEE_SSRC, CALLER_SSRC, PER_SECOND_MICRO, Lane
from tests.interop.rtp_phone import RtpPhone, power_at, samples_of
from tests.interop.site import wait_for

pytestmark = pytest.mark.sipp


def warning_heard(phone: RtpPhone, other_ssrc: int) -> float:
    """How many seconds of warning tone a phone heard in place of the other side."""
    payloads = [packet.payload for packet in list(phone.heard) if packet.ssrc != other_ssrc]
    if not payloads:
        return 0.0
    assert power_at(samples_of(payloads), WARNING_HZ) > 0.9, "something else than the warning"
    return len(payloads) * 0.02


@pytest.mark.parametrize("is_customer", [False, True], ids=["agent_calls", "customer_calls"])
def test_credit_gone_in_mid_call(make_lane: MakeLane, is_customer: bool) -> None:
    """¥0.30 are 3 seconds: after 2 the agent alone hears the warning, after 3 both get BYE; all of it is spent."""
    lane = make_lane(balance="0.30")
    callee = lane.callee("callee_answers", is_agent=is_customer)
    caller = lane.caller("caller_waits", is_customer=is_customer)
    lane.talk(caller, callee, 2.8)
    lane.hear_out()
    caller.wait()
    callee.wait()
    for phone in (caller, callee):
        assert phone.received("BYE")[0].header("Reason") == "Q.850;cause=21"
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("credit_exhausted", "platform")
    assert cdr["ended_at_ms"] - cdr["answered_at_ms"] == 3000
    recording = lane.assert_talked(cdr, 3.0, 0.0)
    assert cdr["charge_micro"] == 3 * PER_SECOND_MICRO == lane.balance_micro
    agent, agents_other = (lane.callee_voice, CALLER_SSRC) if is_customer else (lane.caller_voice, CALLEE_SSRC)
    customer, customers_other = (lane.caller_voice, CALLEE_SSRC) if is_customer else (lane.callee_voice, CALLER_SSRC)
    assert 0.5 <= warning_heard(agent, agents_other) <= 0.62
    assert warning_heard(customer, customers_other) == 0.0
    agent_said = lane.caller_voice.sent if not is_customer else lane.callee_voice.sent
    assert customer.heard_from(customers_other) == agent_said  # the warning took nothing from the customer
    for channel in (recording.caller, recording.callee):
        assert power_at(channel, WARNING_HZ) < 0.01  # and is in the recording of nobody


def test_topup_extends_running_call(make_lane: MakeLane) -> None:
    """Money that comes in the final unit is used in this call; without it this one would end after 3 seconds."""
    lane = make_lane(balance="0.30")
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=4500)
    caller.wait_received("SIP/2.0 200")
    time.sleep(1.0)
    lane.site.write(lambda database: _recharge(database, lane, 1_000_000))
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "caller")
    assert cdr["billed_seconds"] == 5
    assert cdr["charge_micro"] == 5 * PER_SECOND_MICRO
    lane.assert_charged(5 * PER_SECOND_MICRO, cdr["id"], recharges_micro=1_000_000)
    lane.recording(cdr)


async def _recharge(database: AsyncEngine, lane: Lane, amount_micro: int) -> None:
    now_ms = int(time.time() * 1000)
    async with writing_session(database, now_ms) as session:
        assert await recharge(session, lane.tenant_id, amount_micro, "top-up", now_ms)


def test_overdraft_is_used_and_not_exceeded(make_lane: MakeLane) -> None:
    lane = make_lane(balance="0.10", overdraft_limit="0.20")
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_waits")
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["charge_micro"]) == ("credit_exhausted", 300_000)
    lane.assert_talked(cdr, 3.0, 0.0)
    balance = lane.site.rows("SELECT balance_micro FROM accounts WHERE tenant_id = ?", lane.tenant_id)
    assert balance == [{"balance_micro": -200_000}]


def test_two_calls_share_what_there_is(make_lane: MakeLane) -> None:
    """¥0.40 for two calls: together they spend no more than that, whoever comes first."""
    lane = make_lane(balance="0.40")
    callee = lane.callee("callee_answers", calls=2)
    first = lane.caller("caller_waits")
    second = lane.caller("caller_waits", is_customer=False, port=lane.second_port)
    first.wait()
    second.wait()
    callee.wait()
    wait_for("both CDRs", lambda: [row["state"] for row in lane.cdrs()] == ["ended", "ended"])
    rows = lane.cdrs()
    assert [row["cause"] for row in rows] == ["credit_exhausted"] * 2
    assert sum(row["charge_micro"] for row in rows) == lane.balance_micro
    balance = lane.site.rows("SELECT balance_micro FROM accounts WHERE tenant_id = ?", lane.tenant_id)
    assert balance == [{"balance_micro": 0}]


def test_a_call_crosses_from_minutes_to_money(make_lane: MakeLane) -> None:
    """Two seconds of a package, then ¥0.10 for the third: cut to the millisecond, and each second is paid once."""
    lane = make_lane(balance="0.10")
    lane.site.write(lambda database: _buy_minutes(database, lane, 2))
    time.sleep(1.0)  # the engine polls the change feed
    callee, caller = lane.callee("callee_answers"), lane.caller("caller_waits")
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["ended_at_ms"] - cdr["answered_at_ms"]) == ("credit_exhausted", 3000)
    assert (cdr["billed_seconds"], cdr["package_seconds"], cdr["charge_micro"]) == (3, 2, PER_SECOND_MICRO)
    (bucket,) = lane.site.rows("SELECT * FROM minutes_buckets WHERE cause_id = ?", lane.code)
    (use,) = lane.site.rows("SELECT * FROM minutes_uses WHERE cdr_id = ?", cdr["id"])
    assert (bucket["seconds_bought"], bucket["seconds_left"], use["seconds"]) == (2, 0, 2)
    lane.assert_charged(PER_SECOND_MICRO, cdr["id"])


async def _buy_minutes(database: AsyncEngine, lane: Lane, seconds: int) -> None:
    async with writing_session(database, int(time.time() * 1000)) as session:
        await buy_minutes(session, lane.tenant_id, lane.code, seconds, starts_at_ms=0, expires_at_ms=10**14)
