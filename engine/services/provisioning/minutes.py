"""The provisioning file's package minutes."""

from __future__ import annotations

from typing import Any

from engine.services.provisioning.entries import PackageMinutesEntry
from engine.services.provisioning.rows import Loading
from engine.store.money.minutes_store import MinutesKeyReused, buy_minutes
from engine.store.tables import Line, Tenant


async def load_package_minutes(loading: Loading, entries: list[tuple[str, PackageMinutesEntry]]) -> None:
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries))
    lines = await loading.rows(Line, "code", (code for _, entry in entries for code in entry.lines))
    agents = await loading.agents_of(tenants)
    seen: dict[Any, str] = {}
    for place, entry in entries:
        tenant = loading.referred(place, "tenant", tenants, entry.tenant, entry.tenant)
        if tenant is None or loading.twice(place, "order", entry.order, seen):
            continue
        agent = (
            loading.referred(place, "agent", agents, (entry.tenant, entry.agent), entry.agent) if entry.agent else None
        )
        on_lines = [loading.referred(place, "lines", lines, code, code) for code in entry.lines]
        if (entry.agent and agent is None) or None in on_lines:
            continue
        try:
            is_new = await buy_minutes(
                loading.session,
                tenant.id,
                entry.order,
                entry.minutes * 60,
                starts_at_ms=round(entry.starts_at.timestamp() * 1000),
                expires_at_ms=round(entry.expires_at.timestamp() * 1000),
                agent_id=agent.id if agent is not None else None,
                line_ids=[line.id for line in on_lines if line is not None],
            )
        except ValueError:
            loading.problem(place, "expires_at", "is not after starts_at")
        except MinutesKeyReused:
            loading.problem(place, "order", "has bought other minutes before")
        else:
            loading.counts.created += is_new
            loading.counts.unchanged += not is_new
