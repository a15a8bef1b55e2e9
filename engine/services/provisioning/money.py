"""Sections of the provisioning file: packages, and what tenants and agents may spend."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import UNSET
from sqlalchemy import select

from engine.domain.money.package import PeriodUnit
from engine.domain.refusal import Refusal
from engine.services.money.money_rules import change_rules, read_rules
from engine.services.provisioning.entries import MoneyRulesEntry, PackageEntry, SpendCapEntry
from engine.services.provisioning.rows import Loading
from engine.services.sales.packages import Terms, change_terms, create_package
from engine.store.scope import TenantScope
from engine.store.tables import Line, Tenant
from engine.store.tables.orders import AgentSpendCap, Package, PackageVersion


def checked_zone(text: str) -> str:
    """Raises ValueError."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("is no time zone, as Asia/Shanghai is") from error
    return text


async def load_money_rules(loading: Loading, entries: list[tuple[str, MoneyRulesEntry]]) -> None:
    """``""`` takes a cap or a threshold away."""
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        tenant = loading.referred(place, "tenant", tenants, entry.tenant, entry.tenant)
        values = {
            "day_cap_micro": None if entry.day_cap == "" else loading.amount(place, "day_cap", entry.day_cap),
            "low_balance_micro": (
                None if entry.low_balance == "" else loading.amount(place, "low_balance", entry.low_balance)
            ),
        }
        zone = loading.checked(place, "zone", checked_zone, entry.zone)
        if tenant is None or loading.twice(place, "tenant", entry.tenant, seen):
            continue
        row = await read_rules(loading.session, TenantScope(tenant.id), tenant.id)
        is_new = row not in loading.session
        given = {name: value for name, value in values.items() if value is not UNSET and value != getattr(row, name)}
        is_moved = zone not in (UNSET, row.zone)
        if given or is_moved or is_new:
            row = await change_rules(loading.session, TenantScope(tenant.id), tenant.id, given, loading.now_ms)
            if is_moved:
                row.zone = zone
        loading.counts.created += is_new
        loading.counts.changed += not is_new and (bool(given) or is_moved)
        loading.counts.unchanged += not is_new and not given and not is_moved


async def load_spend_caps(loading: Loading, entries: list[tuple[str, SpendCapEntry]]) -> None:
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries))
    agents = await loading.agents_of(tenants)
    rows = await loading.rows(AgentSpendCap, "agent_id", (agent.id for agent in agents.values()))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        agent = loading.referred(place, "agent", agents, (entry.tenant, entry.agent), entry.agent)
        cap_micro = loading.amount(place, "day_cap", entry.day_cap)
        if agent is None or cap_micro is UNSET or loading.twice(place, "agent", (entry.tenant, entry.agent), seen):
            continue
        values = {"agent_id": agent.id, "tenant_id": agent.tenant_id, "day_cap_micro": cap_micro}
        loading.write(AgentSpendCap, rows.get(agent.id), values)


async def load_packages(loading: Loading, entries: list[tuple[str, PackageEntry]]) -> None:
    """Other terms are a new version: who has bought keeps what he bought."""
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries if entry.tenant))
    lines = await loading.rows(Line, "code", (code for _, entry in entries for code in (*entry.lines, *entry.numbers)))
    rows = await loading.rows(Package, "code", (entry.code for _, entry in entries))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        tenant_id = await loading.owner(place, tenants, entry.tenant)
        price_micro = loading.amount(place, "price", entry.price)
        on_lines = [loading.referred(place, "lines", lines, code, code) for code in entry.lines]
        numbered = {code: loading.referred(place, "numbers", lines, code, code) for code in entry.numbers}
        if tenant_id is UNSET or price_micro is UNSET or None in on_lines or None in numbered.values():
            continue
        if loading.twice(place, "code", entry.code, seen):
            continue
        row = rows.get(entry.code)
        if row is not None and row.tenant_id != tenant_id:
            loading.problem(place, "tenant", "cannot change: make another package")
            continue
        terms = Terms(
            minutes=entry.minutes,
            price_micro=price_micro,
            period_unit=PeriodUnit(entry.period_unit),
            period_count=entry.period_count,
            zone=entry.zone,
            line_ids=[line.id for line in on_lines if line is not None],
            numbers=[
                {"line_id": line.id, "count": entry.numbers[code]}
                for code, line in numbered.items()
                if line is not None
            ],
        )
        try:
            await _write_package(loading, entry, row, terms, tenant_id)
        except Refusal as refusal:
            field = {"price_micro": "price", "line_ids": "lines"}.get(refusal.field, refusal.field)
            loading.problem(place, field, refusal.reason)


async def _write_package(
    loading: Loading, entry: PackageEntry, row: Package | None, terms: Terms, tenant_id: int | None
) -> None:
    values = {"name": entry.name, "on_sale": entry.on_sale, "renewals_approved": entry.renewals_approved}
    if row is None:
        row, _ = await create_package(
            loading.session, code=entry.code, name=entry.name, terms=terms, tenant_id=tenant_id, now_ms=loading.now_ms
        )
        for name, value in values.items():
            if value is not UNSET:
                setattr(row, name, value)
        loading.counts.created += 1
        return
    there = await loading.session.scalar(
        select(PackageVersion).where(PackageVersion.package_id == row.id, PackageVersion.version == row.version)
    )
    wanted = asdict(terms)
    is_same = there is not None and all(getattr(there, name) == value for name, value in wanted.items())
    if not is_same:
        await change_terms(loading.session, row, terms, loading.now_ms)
    before = loading.counts.changed
    loading.write(Package, row, values)
    if not is_same and loading.counts.changed == before:
        loading.counts.changed += 1
        loading.counts.unchanged -= 1
