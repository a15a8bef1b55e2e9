"""Many calls at once, on one X number and one account."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.conftest import MakeLane
from tests.interop.lane import PER_SECOND_MICRO
from tests.interop.site import wait_for

pytestmark = pytest.mark.sipp

CALLS = 40


def test_many_calls_at_once_are_charged_one_by_one(make_lane: MakeLane) -> None:
    lane = make_lane(balance="100", calls_max=CALLS)
    callee = lane.callee("callee_answers", calls=CALLS, options=("-l", str(CALLS)))
    caller = lane.caller("caller_hangs_up", calls=CALLS, duration_ms=1200, options=("-r", "100", "-l", str(CALLS)))
    caller.wait()
    callee.wait()
    rows = wait_for("all CDRs", lambda: _all_ended(lane.cdrs()), 10.0)
    assert {row["cause"] for row in rows} == {"normal"}
    for row in rows:
        talked_ms = row["ended_at_ms"] - row["answered_at_ms"]
        assert row["charge_micro"] == -(-talked_ms // 1000) * PER_SECOND_MICRO
    total_micro = sum(row["charge_micro"] for row in rows)
    account = lane.site.rows("SELECT balance_micro FROM accounts WHERE tenant_id = ?", lane.tenant_id)[0]
    assert account["balance_micro"] == lane.balance_micro - total_micro
    entries = [each for each in lane.site.ledger(lane.tenant_id) if each["kind"] == "call_charge"]
    assert {(each["cause_id"], -each["amount_micro"]) for each in entries} == {
        (row["id"], row["charge_micro"]) for row in rows
    }
    query = (
        "SELECT duration_ms - (ended_at_ms - answered_at_ms) AS off_ms FROM cdrs JOIN recordings ON cdr_id = cdrs.id"
        " WHERE cdrs.tenant_id = ?"
    )
    wait_for("all recordings", lambda: len(lane.site.rows(query, lane.tenant_id)) == CALLS)
    assert max(abs(row["off_ms"]) for row in lane.site.rows(query, lane.tenant_id)) <= 20


def _all_ended(rows: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    return rows if len(rows) == CALLS and all(row["state"] == "ended" for row in rows) else None
