"""What a webhook is told: JSON with the event's id, type, time and data, the latter as the tenant's API shows it."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.records.cdr_store import AnyRow, read_cdr, read_recording
from engine.store.scope import TenantScope
from engine.store.webhook_store import EventKind, event_id

_CDR = (
    "id", "state", "tenant_id", "agent_id", "line_id", "binding_id", "direction", "a_number", "x_number", "b_number",
    "started_at_ms", "ringing_at_ms", "answered_at_ms", "ended_at_ms", "billed_seconds", "package_seconds",
    "charge_micro", "release_side", "cause", "sip_status", "q850_cause", "unrecorded_because", "transferred_from",
)  # fmt: skip
_RECORDING = ("cdr_id", "duration_ms", "size_octets", "sha256", "gaps_ms")


async def message(connection: AsyncConnection, tenant_id: int, delivery: AnyRow) -> bytes | None:
    """The body of a delivery (a row of ``due_deliveries``); None where its record is gone or never was the tenant's."""
    data = await _data(connection, TenantScope(tenant_id), delivery)
    if data is None:
        return None
    return msgspec.json.encode(
        {
            "id": event_id(delivery.kind, delivery.subject_id),
            "type": delivery.kind,
            "occurred_at_ms": delivery.occurred_at_ms,
            "data": data,
        }
    )


async def _data(connection: AsyncConnection, scope: TenantScope, delivery: AnyRow) -> dict[str, Any] | None:
    match delivery.kind:
        case EventKind.CDR_ENDED:
            row = await read_cdr(connection, scope, delivery.subject_id)
            if row is None:
                return None
            return {name: getattr(row, name) for name in _CDR} | {"recorded": row.recording_path is not None}
        case EventKind.RECORDING_READY:
            row = await read_recording(connection, scope, delivery.subject_id)
            return None if row is None else {name: getattr(row, name) for name in _RECORDING}
        case _:
            return dict(delivery.payload or {})
