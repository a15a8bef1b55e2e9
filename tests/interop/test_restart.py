"""An engine that dies in mid-call, and the next one that takes the call up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.benchmarks.installation import free_udp_port
from tests.interop.conftest import check_after, lane_indexes
from tests.interop.lane import PER_SECOND_MICRO, Lane
from tests.interop.site import RING_SECONDS_MAX, Site, wait_for
from tests.interop.test_softphones import Account, register

pytestmark = pytest.mark.sipp


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "site")
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def lane(own_site: Site, tmp_path: Path) -> Iterator[Lane]:
    made = Lane(own_site, tmp_path / "lane", next(lane_indexes))
    try:
        yield made
    finally:
        made.close()
    check_after(own_site, [made])


@pytest.mark.parametrize("ending", ["killed", "handed over"])
def test_engine_that_ends_in_mid_call_is_not_noticed(own_site: Site, lane: Lane, ending: str) -> None:
    """The speech goes on meanwhile, the caller's BYE meets the next engine, each second is charged and recorded."""
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=6000)
    lane.talk(caller, callee, 5.5)
    time.sleep(1.5)
    if ending == "killed":
        own_site.kill_engine()
        time.sleep(0.5)
    else:
        own_site.hand_over()
    own_site.start_engine()
    (live,) = own_site.live_calls(lane.tenant_id).calls
    assert live.state == "answered"
    caller.wait()  # by then it has talked for longer than the slice that the first engine had held
    callee.wait()
    lane.hear_out()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "caller")
    talked_ms = cdr["ended_at_ms"] - cdr["answered_at_ms"]
    assert abs(talked_ms - 6000) < 500
    assert cdr["billed_seconds"] == -(-talked_ms // 1000)
    assert cdr["charge_micro"] == cdr["billed_seconds"] * PER_SECOND_MICRO
    lane.assert_charged(cdr["charge_micro"], cdr["id"])
    recording = lane.recording(cdr)
    assert abs(recording.row["duration_ms"] - talked_ms) <= 20
    assert all(start > 5400 for _, start, _ in recording.row_gaps()), "speech is missing"


def test_media_worker_that_is_paused_while_the_engine_restarts_keeps_its_calls(own_site: Site, lane: Lane) -> None:
    """It answers no engine for longer than one waits for it, and its calls go on when it does."""
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_hangs_up", duration_ms=9000)
    lane.talk(caller, callee, 8.0)
    time.sleep(1.0)
    own_site.kill_engine()
    own_site.pause_media()
    try:
        own_site.start_engine()
        assert lane.live_calls() == 1
    finally:
        own_site.resume_media()
    caller.wait()
    callee.wait()
    lane.hear_out()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "caller")
    lane.assert_charged(cdr["charge_micro"], cdr["id"])
    assert abs(lane.recording(cdr).row["duration_ms"] - (cdr["ended_at_ms"] - cdr["answered_at_ms"])) <= 20


def test_call_that_fell_silent_while_no_engine_was_there_is_ended_by_the_next(tmp_path: Path) -> None:
    """Its media worker says so once, to an engine that has yet to take the call up."""
    site = Site(tmp_path / "site", rtp_timeout_seconds=1.0)
    try:
        site.start()
        lane = Lane(site, tmp_path / "lane", next(lane_indexes))
        try:
            lane.callee("callee_answers")
            lane.caller("caller_waits")
            wait_for(
                "the talk", lambda: any(call.state == "answered" for call in site.live_calls(lane.tenant_id).calls)
            )
            site.kill_engine()
            time.sleep(2.5)
            site.start_engine()
            assert (
                wait_for("the end", lambda: [row for row in lane.cdrs() if row["cause"]])[0]["cause"] == "media_timeout"
            )
        finally:
            lane.close()
    finally:
        site.stop()


def test_engine_and_media_killed_together_leave_one_cdr(own_site: Site, lane: Lane) -> None:
    """Ended with the engine's last proof of life, charged for no longer than the call can have lived; both hung up."""
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_waits")
    lane.talk(caller, callee, 2.4)
    answered = time.time()
    time.sleep(2.3)
    own_site.kill_engine()
    own_site.kill_media()
    lived_seconds = time.time() - answered
    time.sleep(0.5)
    own_site.start()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("engine_restart", "platform")
    talked_ms = cdr["ended_at_ms"] - cdr["answered_at_ms"]
    assert 1000 <= talked_ms <= lived_seconds * 1000 + 50
    assert cdr["charge_micro"] == -(-talked_ms // 1000) * PER_SECOND_MICRO
    lane.assert_charged(cdr["charge_micro"], cdr["id"])
    # A second restart changes nothing.
    own_site.kill_engine()
    own_site.start_engine()
    assert lane.cdr() == cdr
    lane.assert_charged(cdr["charge_micro"], cdr["id"])
    caller.end()
    callee.end()


def test_softphone_is_reached_after_a_restart_without_registering_again(own_site: Site, tmp_path: Path) -> None:
    lane = Lane(own_site, tmp_path / "lane", next(lane_indexes), softphone=True)
    try:
        phone = lane.phone(port=free_udp_port(lane.caller_host))
        account = Account(lane, "SHA-256")
        challenge = register(phone, account, 1)
        credentials = account.header(challenge, "REGISTER", f"sip:{phone.engine[0]}")
        assert register(phone, account, 2, credentials).status == 200
        time.sleep(1.2)  # registrations are written every second
        own_site.kill_engine()
        own_site.start_engine()
        assert own_site.status().registered_contacts == 1
        customer = lane.caller("caller_hangs_up", is_customer=True, duration_ms=300)
        phone.accept(lane.callee_voice.port)
        phone.expect("ACK")
        phone.expect("BYE")
        phone.serve_byes(0.1)
        customer.wait()
        assert lane.cdr()["cause"] == "normal"
    finally:
        lane.close()
    check_after(own_site, [lane])


def test_engine_killed_between_the_answer_and_its_ack_goes_on_with_the_call(own_site: Site, lane: Lane) -> None:
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_acknowledges_late", duration_ms=2500)
    lane.talk(caller, callee, 3.0)
    own_site.kill_engine()
    own_site.start_engine()
    assert lane.live_calls() == 1
    caller.wait()  # its ACK is for an answer that this engine never gave; half a second later it hangs up
    callee.wait()
    lane.hear_out()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "caller")
    lane.assert_charged(cdr["charge_micro"], cdr["id"])
    lane.recording(cdr)


def test_callee_who_answers_an_engine_that_never_called_him_makes_no_call(own_site: Site, lane: Lane) -> None:
    """He was rung by the engine before. Nobody is charged, and the caller's CANCEL finds no call either."""
    callee = lane.callee("callee_answers_too_late")
    caller = lane.caller("caller_waits")
    callee.wait_received("INVITE")
    own_site.kill_engine()
    own_site.start_engine()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"], cdr["sip_status"]) == ("engine_restart", "platform", 500)
    time.sleep(RING_SECONDS_MAX + 1.0)
    assert lane.live_calls() == 0
    assert lane.cdr() == cdr
    lane.assert_never_talked(cdr)
    caller.end()
    callee.end()


def test_both_phones_of_a_call_that_rang_are_told_by_the_next_engine(own_site: Site, lane: Lane) -> None:
    callee = lane.callee("callee_rings")
    caller = lane.caller("caller_refused")
    caller.wait_received("SIP/2.0 180")
    own_site.kill_engine()
    own_site.start_engine()
    caller.wait()  # it has its final answer
    callee.wait()  # it was cancelled
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"], cdr["sip_status"]) == ("engine_restart", "platform", 500)
    (refusal,) = caller.received("SIP/2.0 500")
    assert refusal.header("Retry-After").isdigit()
    assert lane.live_calls() == 0
    lane.assert_never_talked(cdr)
