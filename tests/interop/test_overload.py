"""More than the engine may hold: what is too much is told so at once, and what is there goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.interop.conftest import check_after, lane_indexes
from tests.interop.lane import Lane
from tests.interop.site import Site, wait_for

pytestmark = pytest.mark.sipp

HELD, TOO_MANY = 5, 200


def test_calls_beyond_the_limit_are_told_at_once_and_cost_none_of_the_others(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", calls_max=HELD)
    try:
        site.start()
        lane = Lane(site, tmp_path / "lane", next(lane_indexes))
        callee = lane.callee("callee_answers", calls=HELD, options=("-l", str(HELD)))
        held = lane.caller("caller_hangs_up", calls=HELD, duration_ms=4000, options=("-r", "100", "-l", str(HELD)))
        wait_for(
            "all that there is room for", lambda: lane.live_calls() == HELD and len(callee.received("ACK")) == HELD
        )
        refused = lane.caller(
            "caller_refused", port=lane.second_port, calls=TOO_MANY, options=("-r", "200", "-l", str(TOO_MANY))
        )
        refused.wait()
        assert lane.live_calls() == HELD
        refusals = refused.received("SIP/2.0 503")
        assert len(refusals) == TOO_MANY
        assert {message.header("Retry-After") for message in refusals} == {"5"}
        # Nobody had to ask twice: each was answered before T1 was over.
        assert len([each for each in refused.messages() if each.start_line.startswith("INVITE")]) == TOO_MANY
        held.wait()
        callee.wait()
        rows = wait_for("all CDRs", lambda: _all_ended(lane), 10.0)
        assert Counter(row["cause"] for row in rows) == {"normal": HELD, "capacity": TOO_MANY}
        for row in rows:
            if row["cause"] == "normal":
                talked_ms = row["ended_at_ms"] - row["answered_at_ms"]
                assert abs(talked_ms - 4000) < 350
                lane.recording(row)
            else:
                assert (row["sip_status"], row["q850_cause"], row["charge_micro"]) == (503, 42, 0)
        assert len(callee.received("INVITE")) == HELD
        lane.close()
        check_after(site, [lane])
    finally:
        site.stop()


def _all_ended(lane: Lane) -> list[dict[str, object]] | None:
    rows = lane.cdrs()
    return rows if len(rows) == HELD + TOO_MANY and all(row["state"] == "ended" for row in rows) else None
