"""Calls that nobody takes: busy, rejected, not answered, given up, redirected."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.lane import Lane
from tests.interop.site import RING_SECONDS_MAX

pytestmark = pytest.mark.sipp


def assert_outcome(cdr: dict[str, Any], cause: str, release_side: str, sip_status: int, q850_cause: int) -> None:
    told = (cdr["cause"], cdr["release_side"], cdr["sip_status"], cdr["q850_cause"])
    assert told == (cause, release_side, sip_status, q850_cause)


def test_busy_callee(lane: Lane) -> None:
    callee = lane.callee("callee_busy")
    caller = lane.caller("caller_refused")
    caller.wait()
    callee.wait()
    refusal = caller.received("SIP/2.0 486")[0]
    assert refusal.header("Reason") == "Q.850;cause=17"
    cdr = lane.cdr()
    assert_outcome(cdr, "busy", "callee", 486, 17)
    assert cdr["ringing_at_ms"] is None
    lane.assert_never_talked(cdr)


def test_callee_rejects(lane: Lane) -> None:
    callee = lane.callee("callee_rejects")
    caller = lane.caller("caller_refused")
    caller.wait()
    callee.wait()
    assert caller.received("SIP/2.0 603")
    cdr = lane.cdr()
    assert_outcome(cdr, "rejected", "callee", 603, 21)
    assert cdr["ringing_at_ms"] is not None
    lane.assert_never_talked(cdr)


def test_redirection_is_not_followed(lane: Lane) -> None:
    """A contact that is dialled blindly could be anybody's, at the tenant's expense."""
    callee = lane.callee("callee_redirects")
    caller = lane.caller("caller_refused")
    caller.wait()
    callee.wait()
    assert caller.received("SIP/2.0 480")
    assert b"10086" not in b"".join(message.octets for message in caller.received())
    cdr = lane.cdr()
    assert_outcome(cdr, "redirected", "callee", 302, 23)
    lane.assert_never_talked(cdr)


def test_nobody_answers(lane: Lane) -> None:
    callee = lane.callee("callee_rings")
    caller = lane.caller("caller_refused")
    caller.wait()
    callee.wait()
    assert caller.received("SIP/2.0 480")
    cdr = lane.cdr()
    assert_outcome(cdr, "no_answer", "platform", 480, 19)
    rung_seconds = (cdr["ended_at_ms"] - cdr["started_at_ms"]) / 1000
    assert RING_SECONDS_MAX <= rung_seconds < RING_SECONDS_MAX + 0.5
    lane.assert_never_talked(cdr)


def test_caller_gives_up_while_it_rings(lane: Lane) -> None:
    callee = lane.callee("callee_rings")
    caller = lane.caller("caller_cancels", duration_ms=400)
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert_outcome(cdr, "cancelled", "caller", 487, 16)
    assert cdr["ringing_at_ms"] is not None
    lane.assert_never_talked(cdr)


def test_answer_crosses_cancel(lane: Lane) -> None:
    """The caller gave up before the callee's 200 came: that one gets its ACK and a BYE, and nobody pays."""
    callee = lane.callee("callee_answers_too_late")
    caller = lane.caller("caller_cancels", duration_ms=300)
    caller.wait()
    callee.wait()
    cdr = lane.cdr()
    assert_outcome(cdr, "cancelled", "caller", 487, 16)
    lane.assert_never_talked(cdr)


def test_cancel_crosses_200(lane: Lane) -> None:
    """The caller's CANCEL comes after our 200 has left: it changes nothing, and the call is a call (RFC 3261 §9.2)."""
    callee = lane.callee("callee_answers")
    caller = lane.caller("caller_cancels_too_late", duration_ms=500)
    caller.wait()
    callee.wait()
    assert not callee.received("CANCEL")
    cdr = lane.cdr()
    assert_outcome(cdr, "normal", "caller", 200, 16)
    lane.assert_talked(cdr, 0.5)


def test_nobody_is_there(lane: Lane) -> None:
    """Nothing listens at the trunk's address: ringing time ends the call, and nothing of it is left over."""
    caller = lane.caller("caller_refused")
    caller.wait()
    cdr = lane.cdr()
    assert_outcome(cdr, "no_answer", "platform", 480, 19)
    assert cdr["ringing_at_ms"] is None
    lane.assert_never_talked(cdr)
