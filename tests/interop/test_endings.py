"""Calls that neither phone ends: the operator, a dead media worker, a planned stop, silence on both sides."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.runtime.control.protocol import Done, HangUp
from tests.interop.conftest import check_after, end_calls_of, has_failed, lane_indexes
from tests.interop.lane import CALLEE_SSRC, CALLER_SSRC, Lane
from tests.interop.site import Site, wait_for

pytestmark = pytest.mark.sipp

RTP_TIMEOUT_SECONDS = 1.5


@pytest.fixture(scope="module")
def own_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("own_site"), rtp_timeout_seconds=RTP_TIMEOUT_SECONDS)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def own_lane(own_site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lane]:
    made = Lane(own_site, tmp_path / "lane", next(lane_indexes), balance="100.00")
    yield made
    made.close()
    if has_failed(request.node):
        end_calls_of(own_site, [made])
    else:
        check_after(own_site, [made])


def test_operator_hangs_up(lane: Lane) -> None:
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_waits")
    caller.wait_received("SIP/2.0 200")
    live = wait_for("a live call", lambda: lane.site.live_calls(lane.tenant_id).calls)
    assert (live[0].a_number, live[0].b_number) == ("+86" + lane.a, "+86" + lane.b)
    assert lane.site.live_calls(lane.tenant_id + 1000).calls == []
    time.sleep(0.3)
    # Another tenant may not.
    assert lane.site.ask(HangUp(live[0].id, tenant_id=lane.tenant_id + 1000)) == Done(found=False)
    assert lane.site.ask(HangUp(live[0].id, tenant_id=lane.tenant_id)) == Done(found=True)
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("hung_up_by_platform", "platform")
    lane.assert_talked(cdr, 0.4)


def test_silence_on_both_sides_ends_a_dead_call(own_lane: Lane) -> None:
    """Both phones went dead without a BYE: they are charged until it shows, and then hung up on."""
    callee = own_lane.callee("callee_answers")
    caller = own_lane.caller("caller_waits")
    own_lane.talk(caller, callee, 1.0)
    caller.wait()
    callee.wait()
    cdr = own_lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("media_timeout", "platform")
    own_lane.assert_talked(cdr, 1.0 + RTP_TIMEOUT_SECONDS, 1.3)


def test_media_worker_killed_in_mid_call(own_site: Site, own_lane: Lane) -> None:
    """Its speech is gone, so the call ends, with one CDR and its charge; the next call finds the next worker."""
    callee = own_lane.callee("callee_answers")
    caller = own_lane.caller("caller_waits")
    own_lane.talk(caller, callee, 0.6)
    own_lane.hear_out()
    own_site.kill_media()
    caller.wait()
    callee.wait()
    cdr = own_lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("media_failure", "platform")
    assert cdr["billed_seconds"] == 1
    own_lane.assert_charged(cdr["charge_micro"], cdr["id"])
    own_site.start_media()
    callee = own_lane.callee("callee_answers")
    caller = own_lane.caller("caller_hangs_up", duration_ms=300)
    caller.wait()
    callee.wait()
    wait_for("the second CDR", lambda: [row["cause"] for row in own_lane.cdrs()] == ["media_failure", "normal"])


def test_recording_of_a_killed_media_worker_is_on_record(own_site: Site, own_lane: Lane) -> None:
    """What the worker had written by then is a recording, with its length, its hash and the gap at its end."""
    callee = own_lane.callee("callee_answers")
    caller = own_lane.caller("caller_waits")
    own_lane.talk(caller, callee, 1.6)
    own_lane.hear_out()
    own_site.kill_media()
    caller.wait()
    callee.wait()
    own_site.start_media()
    cdr = own_lane.cdr()
    query = "SELECT * FROM recordings WHERE cdr_id = ?"
    row = wait_for("the recording's row", lambda: own_site.rows(query, cdr["id"]), 2.0)[0]
    path = own_site.settings.recordings_folder / row["path"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]


def test_no_media_worker_is_no_capacity(own_site: Site, own_lane: Lane) -> None:
    own_site.kill_media()
    try:
        wait_for("the engine knows", lambda: own_site.status().media_workers == 0)
        own_lane.callee("callee_answers", is_idle=True)
        caller = own_lane.caller("caller_refused")
        caller.wait()
        assert caller.received("SIP/2.0 503")[0].header("Retry-After")
        cdr = own_lane.cdr()
        assert cdr["cause"] == "capacity"
        own_lane.assert_never_talked(cdr)
    finally:
        own_site.start_media()


def test_planned_stop_says_goodbye(own_site: Site, own_lane: Lane) -> None:
    """SIGTERM in mid-call: both get BYE, the books are closed, and the engine goes with code 0."""
    callee = own_lane.callee("callee_answers")
    caller = own_lane.caller("caller_waits")
    own_lane.talk(caller, callee, 0.6)
    own_lane.hear_out()
    assert own_site.stop_engine() == 0
    caller.wait()
    callee.wait()
    cdr = own_lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("hung_up_by_platform", "platform")
    assert cdr["billed_seconds"] == 1
    own_lane.assert_charged(cdr["charge_micro"], cdr["id"])
    leased = own_site.rows("SELECT leased_micro FROM accounts WHERE tenant_id = ?", own_lane.tenant_id)
    assert leased == [{"leased_micro": 0}]  # an engine that is gone holds nobody's money
    own_site.start_engine()
    own_lane.recording(cdr)


def test_engine_killed_while_it_rings(own_site: Site, own_lane: Lane) -> None:
    callee = own_lane.callee("callee_rings")
    caller = own_lane.caller("caller_cancels", duration_ms=5000)
    caller.wait_received("SIP/2.0 180")
    time.sleep(0.3)
    own_site.kill_engine()
    caller.end()
    callee.end()
    own_site.start_engine()
    cdr = own_lane.cdr()
    assert (cdr["cause"], cdr["release_side"], cdr["sip_status"]) == ("engine_restart", "platform", 500)
    own_lane.assert_never_talked(cdr)


def test_engine_killed_among_many_calls(own_site: Site, own_lane: Lane) -> None:
    """Every call that was told 100 has one CDR after the restart, whatever it was doing, and the ledger agrees."""
    callee = own_lane.callee("callee_answers", calls=60, options=("-l", "60"))
    caller = own_lane.caller("caller_hangs_up", calls=60, duration_ms=500, options=("-r", "30", "-l", "60"))
    wait_for("some calls are over", lambda: len(callee.received("BYE")) >= 10, 10.0)
    own_site.kill_engine()
    caller.end()
    callee.end()
    trying = {message.header("Call-ID") for message in caller.received("SIP/2.0 100")}
    over = {message.header("Call-ID") for message in caller.received("SIP/2.0 200") if "BYE" in message.header("CSeq")}
    own_site.start_engine()
    for call in own_site.live_calls(
        own_lane.tenant_id
    ).calls:  # it goes on with those who talked, whose phones are gone
        own_site.ask(HangUp(call.id))
    rows = own_lane.cdrs()
    wait_for("every record is closed", lambda: all(row["state"] == "ended" for row in own_lane.cdrs()))
    assert len(rows) == len({row["id"] for row in rows})
    # One more may have come in whose 100 SIPp had not read.
    assert len(trying) <= len(rows) <= len(trying) + 3
    causes = [row["cause"] for row in own_lane.cdrs()]
    assert "normal" in causes
    assert set(causes) <= {"normal", "engine_restart", "hung_up_by_platform", "media_timeout"}
    assert len(over) <= causes.count("normal") <= len(over) + 3
    entries = [each for each in own_site.ledger(own_lane.tenant_id) if each["kind"] == "call_charge"]
    charged = {row["id"]: -row["charge_micro"] for row in own_lane.cdrs() if row["charge_micro"]}
    assert {entry["cause_id"]: entry["amount_micro"] for entry in entries} == charged
    account = own_site.rows("SELECT balance_micro FROM accounts WHERE tenant_id = ?", own_lane.tenant_id)[0]
    assert account["balance_micro"] == own_lane.balance_micro + sum(charged.values())
    for row in own_lane.cdrs():
        if row["answered_at_ms"] is not None:
            own_lane.recording(row)


def test_database_that_is_locked_holds_up_no_call(own_site: Site, own_lane: Lane) -> None:
    """Another writer sits on the database: calls that have their lease come and go, and their records follow."""
    callee = own_lane.callee("callee_answers", calls=2)
    own_lane.caller("caller_hangs_up", duration_ms=200).wait()
    own_lane.cdr()
    path = own_site.settings.database_url.partition(":///")[2]
    blocker = sqlite3.connect(path, isolation_level=None)
    try:
        blocker.execute("BEGIN IMMEDIATE")
        second = own_lane.caller("caller_hangs_up", duration_ms=600)
        second.wait()
        callee.wait()
        assert len(own_lane.cdrs()) == 1  # nothing could be written yet
        assert own_site.status().counters["records_waiting"] >= 1
    finally:
        blocker.close()
    wait_for("both CDRs", lambda: [row["state"] for row in own_lane.cdrs()] == ["ended", "ended"], 10.0)
    rows = own_lane.cdrs()
    assert abs(rows[1]["ended_at_ms"] - rows[1]["answered_at_ms"] - 600) < 250
    own_lane.recording(rows[1])


def test_call_on_hold_is_not_dead(own_lane: Lane) -> None:
    """The callee holds: no RTP for longer than the time-out, and the call stands. Nor does holding show its number."""
    caller, callee = own_lane.phone(), own_lane.called_phone()
    caller.call(own_lane.a, own_lane.x, own_lane.caller_voice.port)
    callee.accept(own_lane.callee_voice.port)
    answer = caller.answer(least=200)
    caller.acknowledge(answer)
    callee.expect("ACK")
    caller.listen(0.2)
    number = own_lane.b
    told = (f"P-Asserted-Identity: <sip:{number}@example.com>", f"Subject: {number}")
    callee.offer_again(callee.description(own_lane.callee_voice.port, "a=sendonly", f"a=x-number:{number}"), told)
    held = caller.expect("INVITE")
    assert "a=sendonly" in held.body
    assert held.media == answer.media  # our ports stay what they were
    caller.respond(held, "200 OK", body=caller.description(own_lane.caller_voice.port, "a=recvonly"))
    granted = callee.answer(least=200)
    assert granted.status == 200
    assert "a=recvonly" in granted.body
    callee.acknowledge(granted)
    caller.expect("ACK")
    caller.listen(RTP_TIMEOUT_SECONDS + 1.2)
    assert own_lane.live_calls() == 1
    callee.bye()
    assert callee.answer(least=200).status == 200
    assert caller.serve_byes(0.2) == 1
    cdr = own_lane.cdr()
    assert (cdr["cause"], cdr["release_side"]) == ("normal", "callee")
    own_lane.assert_talked(cdr, 0.2 + RTP_TIMEOUT_SECONDS + 1.2)


def test_refused_hold_leaves_the_call_as_it_was(own_lane: Lane) -> None:
    caller, callee = own_lane.phone(), own_lane.called_phone()
    caller.call(own_lane.a, own_lane.x, own_lane.caller_voice.port)
    invite = callee.accept(own_lane.callee_voice.port)
    answer = caller.answer(least=200)
    caller.acknowledge(answer)
    callee.expect("ACK")
    callee.offer_again(callee.description(own_lane.callee_voice.port, "a=sendonly"))
    caller.respond(caller.expect("INVITE"), f"488 {own_lane.a} does not want that")
    refused = callee.answer(least=200)
    assert refused.status == 488
    callee.acknowledge_failure(refused)
    own_lane.caller_voice.talk(answer.media, 0.4)
    own_lane.callee_voice.talk(invite.media, 0.4)
    own_lane.hear_out()
    caller.bye()
    assert caller.answer(least=200).status == 200
    assert callee.serve_byes(0.2) == 1
    assert own_lane.callee_voice.heard_from(CALLER_SSRC) == own_lane.caller_voice.sent
    assert own_lane.caller_voice.heard_from(CALLEE_SSRC) == own_lane.callee_voice.sent
    own_lane.assert_talked(own_lane.cdr(), 0.4)
