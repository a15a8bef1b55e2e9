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


class Reload(msgspec.Struct, tag="reload"):
    """Read the change feed now, not at the next tick. Answered when the engine acts on the new facts."""


class Health(msgspec.Struct, tag="health"):
    pass


ControlCommand = ListCalls | HangUp | Reload | Health


class Calls(msgspec.Struct, tag="calls"):
    calls: list[LiveCall]


class Done(msgspec.Struct, tag="done"):
    found: bool = True


class HealthReport(msgspec.Struct, tag="health"):
    engine_id: str
    calls: int
    registered_contacts: int
    media_workers: int
    started_at_ms: int
    counters: dict[str, int]


class Failed(msgspec.Struct, tag="failed"):
    reason: str


ControlReply = Calls | Done | HealthReport | Failed
