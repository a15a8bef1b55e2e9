"""An engine that dies in mid-call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import check_after, lane_indexes
from tests.interop.lane import PER_SECOND_MICRO, Lane
from tests.interop.site import Site

pytestmark = pytest.mark.sipp


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "site")
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_engine_killed_in_mid_call_leaves_one_cdr(own_site: Site, tmp_path: Path) -> None:
    """After the restart: one CDR, ended by the restart, charged for no longer than the call can have lived."""
    lane = Lane(own_site, tmp_path / "lane", next(lane_indexes))
    try:
        callee = lane.callee("callee_answers")
        caller = lane.caller("caller_waits")
        lane.talk(caller, callee, 2.4)
        answered = time.time()
        time.sleep(2.3)
        own_site.kill_engine()
        lived_seconds = time.time() - answered
        time.sleep(0.5)
        own_site.start_engine()
        cdr = lane.cdr()
        assert (cdr["cause"], cdr["release_side"]) == ("engine_restart", "platform")
        talked_ms = cdr["ended_at_ms"] - cdr["answered_at_ms"]
        assert 1000 <= talked_ms <= lived_seconds * 1000 + 50
        assert cdr["billed_seconds"] == -(-talked_ms // 1000)
        assert cdr["charge_micro"] == cdr["billed_seconds"] * PER_SECOND_MICRO
        lane.assert_charged(cdr["charge_micro"], cdr["id"])
        # The media worker lived on: the recording is there, and no longer than what the call is charged for.
        assert lane.recording(cdr).caller.any()
        # A second restart changes nothing.
        own_site.kill_engine()
        own_site.start_engine()
        assert lane.cdr() == cdr
        lane.assert_charged(cdr["charge_micro"], cdr["id"])
        caller.end()
        callee.end()
    finally:
        lane.close()
    check_after(own_site, [lane])
