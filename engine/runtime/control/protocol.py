"""What other processes may ask of a running engine: one JSON object a line, over a Unix socket.

Facts travel through the database; here go only commands, and what is true of this moment alone.
"""

from __future__ import annotations

import msgspec

LINE_OCTETS_MAX = 8 * 1024 * 1024
"""Enough for 10,000 live calls in one answer."""


class LiveCall(msgspec.Struct, kw_only=True):
    """A call as it stands. Numbers are in full: whoever shows them masks them for who is looking."""

    id: str
    tenant_id: int | None
    agent_id: int | None
    line_id: int | None
    state: str
    direction: str | None
    a_number: str | None
    x_number: str | None
    b_number: str | None
    started_at_ms: int
    ringing_at_ms: int | None
    answered_at_ms: int | None
    held_micro: int
    """Money held on the tenant's account for this call."""


class ListCalls(msgspec.Struct, tag="calls"):
    tenant_id: int | None = None


class HangUp(msgspec.Struct, tag="hang_up"):
    """Ends a call; with ``tenant_id`` only if it is that tenant's, with ``agent_id`` only if it is that agent's."""

    call_id: str
    tenant_id: int | None = None
    agent_id: int | None = None


class CutCalls(msgspec.Struct, tag="cut_calls"):
    """Ends all calls of a tenant, or of one of its agents."""

    tenant_id: int
    agent_id: int | None = None


class Reload(msgspec.Struct, tag="reload"):
    """Read the change feed now, not at the next tick. Answered when the engine acts on the new facts."""


class HandOver(msgspec.Struct, tag="hand_over"):
    """End, and leave the running calls to the engine that is started next. Who is being called then hears no more."""


class Health(msgspec.Struct, tag="health"):
    pass


class ReadTrace(msgspec.Struct, tag="trace"):
    """Of a call that runs, or that ended a while ago."""

    call_id: str


class ReadMetrics(msgspec.Struct, tag="metrics"):
    pass


ControlCommand = ListCalls | HangUp | CutCalls | Reload | HandOver | Health | ReadTrace | ReadMetrics


class Calls(msgspec.Struct, tag="calls"):
    calls: list[LiveCall]


class Done(msgspec.Struct, tag="done"):
    found: bool = True


class CallsCut(msgspec.Struct, tag="calls_cut"):
    count: int


class HealthReport(msgspec.Struct, tag="health"):
    engine_id: str
    calls: int
    registered_contacts: int
    media_workers: int
    started_at_ms: int
    counters: dict[str, int]


class TraceMessage(msgspec.Struct, kw_only=True):
    """One SIP message: when (microseconds since the epoch), which way, with whom; ``text`` is the whole of it, masked.

    ``leg`` counts the call's SIP dialogs from 0, the caller's.
    """

    at_us: int
    sent: bool
    peer: str
    leg: int
    first_line: str
    text: str


class CallTrace(msgspec.Struct, tag="trace"):
    """``messages`` is None where there is no trace of the call; ``left_out`` are those beyond the limit."""

    messages: list[TraceMessage] | None
    left_out: int = 0


class Metrics(msgspec.Struct, tag="metrics"):
    """In Prometheus' text format."""

    text: str


class Failed(msgspec.Struct, tag="failed"):
    reason: str


ControlReply = Calls | Done | CallsCut | HealthReport | CallTrace | Metrics | Failed
