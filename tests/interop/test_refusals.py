"""Calls that we do not put through: no binding, no credit, no such number, strangers, no room."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.services.lines.bindings import create_binding
from engine.store.database import writing_session
from engine.store.scope import TenantScope
from scripts.benchmarks.installation import free_udp_port
from tests.interop.conftest import MakeLane, check_after, lane_indexes
from tests.interop.lane import Lane
from tests.interop.sipp import Sipp
from tests.interop.site import Site, wait_for

pytestmark = pytest.mark.sipp


def assert_refused(lane: Lane, caller: Sipp, cause: str, status: int, q850_cause: int) -> dict[str, Any]:
    """The caller was told the status, with its reason; the CDR says the same; the callee heard nothing."""
    assert lane.received_by_callees() == []
    refusal = caller.received(f"SIP/2.0 {status}")[0]
    assert refusal.header("Reason").startswith(f"Q.850;cause={q850_cause}")
    cdr = lane.cdr()
    told = (cdr["cause"], cdr["release_side"], cdr["sip_status"], cdr["q850_cause"])
    assert told == (cause, "platform", status, q850_cause)
    assert cdr["started_at_ms"] == cdr["ended_at_ms"] or cause == "no_credit"
    lane.assert_never_talked(cdr)
    return cdr


def test_caller_without_binding(make_lane: MakeLane) -> None:
    lane = make_lane(bound=False)
    lane.callee("callee_answers", is_idle=True)
    caller = lane.caller("caller_refused")
    caller.wait()
    cdr = assert_refused(lane, caller, "no_binding", 403, 21)
    assert cdr["tenant_id"] == lane.tenant_id


def test_expired_binding(make_lane: MakeLane) -> None:
    lane = make_lane(bound=False)
    now_ms = int(time.time() * 1000)

    async def bind(database: AsyncEngine) -> None:
        async with writing_session(database, now_ms) as session:
            await create_binding(
                session,
                TenantScope(lane.tenant_id),
                binding_id=f"binding-of-{lane.code}",
                x_number=lane.x,
                a_number=lane.a,
                b_number=lane.b,
                expires_at_ms=now_ms + 2500,
                now_ms=now_ms,
            )

    lane.site.write(bind)
    callee = lane.callee("callee_busy")
    caller = lane.caller("caller_refused")
    caller.wait()
    callee.wait()
    assert lane.cdr()["cause"] == "busy"  # while it is in force
    wait_for("the binding's end", lambda: time.time() * 1000 > now_ms + 2510)
    lane.callee("callee_answers", is_idle=True)
    late = lane.caller("caller_refused")
    late.wait()
    assert late.received("SIP/2.0 403")
    wait_for("both CDRs", lambda: [row["cause"] for row in lane.cdrs()] == ["busy", "no_binding"])
    lane.assert_charged(0)


def test_unknown_x(lane: Lane) -> None:
    lane.callee("callee_answers", is_idle=True)
    unknown = "01077770001"
    caller = lane.caller("caller_refused", dialled=unknown)
    caller.wait()
    assert caller.received("SIP/2.0 404")[0].header("Reason").startswith("Q.850;cause=1;")
    query = "SELECT * FROM cdrs WHERE x_number = ? AND cause = 'unknown_x'"
    rows = wait_for("the CDR", lambda: lane.site.rows(query, "+86" + unknown[1:]))
    assert [(row["sip_status"], row["tenant_id"], row["charge_micro"]) for row in rows] == [(404, None, 0)]


def test_stranger_is_challenged_and_leaves_no_record(lane: Lane) -> None:
    """From an address that is no trunk's: 401, no call, no CDR, whoever the From header says it is."""
    lane.callee("callee_answers", is_idle=True)
    stranger = lane.caller("caller_refused", port=free_udp_port(lane.caller_host))
    stranger.wait()
    challenges = stranger.received("SIP/2.0 401")[0].headers("WWW-Authenticate")
    assert len(challenges) == 2
    assert "algorithm=SHA-256" in challenges[0]
    assert "algorithm=MD5" in challenges[1]
    time.sleep(0.5)  # for a record that must not come
    assert lane.cdrs() == []
    lane.assert_charged(0)


def test_no_credit(make_lane: MakeLane) -> None:
    """Less than the first increment costs is no credit."""
    lane = make_lane(balance="0.09")
    lane.callee("callee_answers", is_idle=True)
    caller = lane.caller("caller_refused")
    caller.wait()
    assert_refused(lane, caller, "no_credit", 402, 21)
    assert 'text="no credit"' in caller.received("SIP/2.0 402")[0].header("Reason")


def test_full_trunk(make_lane: MakeLane) -> None:
    """The call beyond the limit is told when to come again; the one before it is not harmed."""
    lane = make_lane(calls_max=1)
    callee = lane.callee("callee_answers")
    first = lane.caller("caller_hangs_up", duration_ms=1000)
    first.wait_received("SIP/2.0 200")
    second = lane.caller("caller_refused", is_customer=True, port=lane.second_port)
    second.wait()
    refusal = second.received("SIP/2.0 503")[0]
    assert refusal.header("Retry-After") == "5"
    assert refusal.header("Reason").startswith("Q.850;cause=42")
    first.wait()
    callee.wait()
    wait_for("both CDRs", lambda: [row["state"] for row in lane.cdrs()] == ["ended", "ended"])
    by_cause = {row["cause"]: row for row in lane.cdrs()}
    assert set(by_cause) == {"normal", "capacity"}
    assert by_cause["capacity"]["charge_micro"] == 0
    lane.assert_talked(by_cause["normal"], 1.0)


def test_full_engine(tmp_path: Path) -> None:
    """The whole engine's limit, and not one trunk's: another tenant's call on another trunk is the one too many."""
    site = Site(tmp_path / "site", calls_max=1)
    try:
        site.start()
        busy = Lane(site, tmp_path / "busy", next(lane_indexes))
        other = Lane(site, tmp_path / "other", next(lane_indexes))
        callee = busy.callee("callee_answers")
        first = busy.caller("caller_hangs_up", duration_ms=1000)
        first.wait_received("SIP/2.0 200")
        second = other.caller("caller_refused")
        second.wait()
        assert second.received("SIP/2.0 503")[0].header("Retry-After") == "5"
        first.wait()
        callee.wait()
        cdr = other.cdr()
        assert (cdr["cause"], cdr["sip_status"], cdr["q850_cause"]) == ("capacity", 503, 42)
        other.assert_never_talked(cdr)
        busy.assert_talked(busy.cdr(), 1.0)
        # There is room again.
        lane_callee = other.callee("callee_busy")
        third = other.caller("caller_refused")
        third.wait()
        lane_callee.wait()
        assert third.received("SIP/2.0 486")
        busy.close()
        other.close()
        check_after(site, [busy, other])
    finally:
        site.stop()


def test_no_hops_left(lane: Lane) -> None:
    lane.callee("callee_answers", is_idle=True)
    caller = lane.caller("caller_beyond_hops")
    caller.wait()
    assert lane.received_by_callees() == []
    lane.assert_charged(0)


def test_options_is_answered(lane: Lane) -> None:
    peer = lane.caller("peer_asks_options")
    peer.wait()
    assert "INVITE" in peer.received("SIP/2.0 200")[0].header("Allow")
    assert lane.cdrs() == []
