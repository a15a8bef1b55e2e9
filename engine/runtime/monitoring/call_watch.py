"""Sees calls begin and end beside their handling: for traces, figures and one line of the log for each ended call.

A call whose media the plane holds is told of when the plane has said how the voice was, any other at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import structlog

from engine.b2bua.running_call import CallRecord
from engine.domain.cdr import Cdr, CdrState
from engine.domain.voice_quality import mos_of_stream
from engine.runtime.monitoring.metrics_calls import CallFigures
from engine.runtime.monitoring.trace import TraceBook
from media import plane

log = structlog.get_logger()


class CallWatch:
    """``trunk_code(trunk_id)`` names a trunk in labels and lines, "" for none."""

    def __init__(
        self, *, trace: TraceBook | None, figures: CallFigures, trunk_code: Callable[[int | None], str]
    ) -> None:
        self.trace = trace
        self.figures = figures
        self._trunk_code = trunk_code
        # Cookie of a Delete → the call that it ends. The plane's client answers or refuses each command.
        self._awaiting_voice: dict[int, Cdr] = {}

    def committed(self, records: Iterable[CallRecord], commands: Iterable[plane.Command], now: float) -> None:
        """What one wake-up has brought: records with a milestone, and commands on their way to the plane."""
        ended = {record.cdr.id: record.cdr for record in records if record.cdr.state is CdrState.ENDED}
        if not ended:
            return
        if self.trace is not None:
            for call_id in ended:
                self.trace.ended(call_id, now)
        for command in commands:
            if type(command) is plane.Delete and command.call_id in ended:
                self._awaiting_voice[command.cookie] = ended.pop(command.call_id)
        for cdr in ended.values():
            self._tell(cdr, None, None)

    def replied(self, reply: plane.Reply) -> None:
        """A reply of the plane, before it goes to the call."""
        cdr = self._awaiting_voice.pop(reply.cookie, None)
        if cdr is None:
            return
        if isinstance(reply, plane.Accepted):
            self._tell(cdr, reply.caller, reply.callee)
        else:
            self._tell(cdr, None, None)

    def _tell(self, cdr: Cdr, caller: plane.SideStatistics | None, callee: plane.SideStatistics | None) -> None:
        trunk = self._trunk_code(cdr.trunk_id)
        self.figures.ended(cdr, trunk)
        fields: dict[str, Any] = {
            "call_id": cdr.id,
            "tenant_id": cdr.tenant_id,
            "agent_id": cdr.agent_id,
            "line_id": cdr.line_id,
            "trunk": trunk,
            "direction": cdr.direction,
            "cause": cdr.cause,
            "release_side": cdr.release_side,
            "sip_status": cdr.sip_status,
            "ringing_after_ms": _after(cdr, cdr.ringing_at_ms),
            "answered_after_ms": _after(cdr, cdr.answered_at_ms),
            "talk_ms": cdr.talk_ms,
            "billed_seconds": cdr.billed_seconds,
        }
        for side, statistics in (("caller", caller), ("callee", callee)):
            if statistics is None or not statistics.packets:
                continue
            mos = mos_of_stream(statistics.packets, statistics.duplicates, statistics.lost, statistics.jitter_ms)
            self.figures.heard(trunk, side, statistics, mos)
            fields[f"{side}_packets"] = statistics.packets
            fields[f"{side}_lost"] = statistics.lost
            fields[f"{side}_jitter_ms"] = round(statistics.jitter_ms, 1)
            fields[f"{side}_keys"] = statistics.keys
            fields[f"{side}_mos"] = None if mos is None else round(mos, 2)
        log.info("call ended", **fields)


def _after(cdr: Cdr, at_ms: int | None) -> int | None:
    return None if at_ms is None else at_ms - cdr.started_at_ms
