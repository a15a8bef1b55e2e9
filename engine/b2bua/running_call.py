"""A call in mid-talk as it is kept outside the process, so that the next engine can go on with it."""

from __future__ import annotations

import msgspec

from engine.b2bua.active_call import ActiveCall
from engine.domain.call import CallState
from engine.domain.call_limits import Limit
from engine.domain.cdr import Cdr
from engine.domain.charging import Tariff
from sip.core.session_snapshot import SessionSnapshot, take_snapshot


class RunningCall(msgspec.Struct, array_like=True, frozen=True):
    """What a talking call's record does not say. ``granted_seconds`` is at least what was granted: slices that came
    later are asked for again."""

    callee_number: str
    callee_agent_id: int | None
    limits: tuple[Limit, ...]
    max_forwards: int
    granted_seconds: int
    caller: SessionSnapshot
    callee: SessionSnapshot

    def __repr__(self) -> str:
        return f"RunningCall({self.caller.local_tag}, {self.callee.local_tag})"


class CallRecord(msgspec.Struct, array_like=True):
    """A call as of now: its CDR, the tariff it has (None where it was turned away), and, while it talks, how to go
    on with it."""

    cdr: Cdr
    tariff: Tariff | None = None
    running: RunningCall | None = None


def record_of(active: ActiveCall) -> CallRecord:
    return CallRecord(active.call.cdr, active.route.tariff, _running(active))


def _running(active: ActiveCall) -> RunningCall | None:
    caller, callee = active.caller, active.callee
    if active.call.state is not CallState.TALKING or caller is None or callee is None:
        return None
    return RunningCall(
        active.route.callee_number,
        active.route.callee_agent_id,
        active.route.limits,
        active.max_forwards,
        active.call.granted_seconds,
        take_snapshot(caller),
        take_snapshot(callee),
    )
