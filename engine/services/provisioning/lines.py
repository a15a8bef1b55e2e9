"""Sections of the provisioning file: carriers, trunks, rates, lines, X numbers and bindings."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import select

from engine.domain.facts import TrunkRegistrationFacts
from engine.services.bindings import BindingRefused, create_binding
from engine.services.carriers import permit_carrier
from engine.services.credentials import sip_ha1
from engine.services.numbers import XNumberInUse, refuse_bound
from engine.services.provisioning.file import (
    BindingEntry,
    CarrierEntry,
    LineEntry,
    RegistrationEntry,
    TrunkEntry,
    XNumberEntry,
    checked_gateway_host,
    checked_number,
    checked_source_address,
)
from engine.services.provisioning.rows import Loading
from engine.services.secrets import seal_registration
from engine.store.scope import TenantScope
from engine.store.tables import Agent, Binding, Carrier, Line, Rate, Tenant, Trunk, XNumber
from engine.store.trunk_secrets import read_registration


async def load_carriers(loading: Loading, entries: list[tuple[str, CarrierEntry]]) -> None:
    rows = await loading.rows(Carrier, "code", (entry.code for _, entry in entries))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        if not loading.twice(place, "code", entry.code, seen):
            loading.write(Carrier, rows.get(entry.code), {"code": entry.code, "name": entry.name})


async def load_trunks(loading: Loading, entries: list[tuple[str, TrunkEntry]]) -> None:
    carriers = await loading.rows(Carrier, "code", (entry.carrier for _, entry in entries))
    buy_rates = await loading.rows(Rate, "code", (entry.buy_rate for _, entry in entries if entry.buy_rate))
    rows = await loading.rows(Trunk, "code", (entry.code for _, entry in entries))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        carrier = loading.referred(place, "carrier", carriers, entry.carrier, entry.carrier)
        host = loading.checked(place, "host", checked_gateway_host, entry.host)
        sources = [
            loading.checked(place, f"source_addresses[{index}]", checked_source_address, source)
            for index, source in enumerate(entry.source_addresses)
        ]
        gateways, gateway_hosts_are_good = _gateways(loading, place, entry)
        buy_rate_id: Any = UNSET if entry.buy_rate is UNSET else None
        if entry.buy_rate:
            buy_rate = loading.referred(place, "buy_rate", buy_rates, entry.buy_rate, entry.buy_rate)
            buy_rate_id = buy_rate.id if buy_rate is not None else UNSET
        if carrier is None or loading.twice(place, "code", entry.code, seen):
            continue
        values = {
            "carrier_id": carrier.id,
            "code": entry.code,
            "name": entry.name,
            "host": host,
            "transport": entry.transport,
            "port": entry.port,
            "source_addresses": sources,
            "number_format": entry.number_format,
            "calls_max": entry.calls_max,
            "calls_per_second_max": entry.calls_per_second_max,
            "gateways": gateways,
            "caller_display": entry.caller_display,
            "dial_strip_digits": entry.dial_strip_digits,
            "dial_prefix": entry.dial_prefix,
            "srtp": entry.srtp,
            "redirects_max": entry.redirects_max,
            "registration": _registration(loading, entry.registration, rows.get(entry.code), entry.code),
            "buy_rate_id": buy_rate_id,
            "status": entry.status,
        }
        if host is not UNSET and UNSET not in sources and gateway_hosts_are_good:
            loading.write(Trunk, rows.get(entry.code), values)


def _gateways(loading: Loading, place: str, entry: TrunkEntry) -> tuple[list[dict[str, Any]] | UnsetType, bool]:
    """The trunk's further gateways as they are stored, and whether their addresses are addresses."""
    if entry.gateways is UNSET:
        return UNSET, True
    hosts = [
        loading.checked(place, f"gateways[{index}].host", checked_gateway_host, gateway.host)
        for index, gateway in enumerate(entry.gateways)
    ]
    gateways = [
        {**msgspec.structs.asdict(gateway), "host": host} for gateway, host in zip(entry.gateways, hosts, strict=True)
    ]
    return gateways, UNSET not in hosts


def _registration(
    loading: Loading, entry: RegistrationEntry | UnsetType, row: Trunk | None, code: str
) -> dict[str, Any] | UnsetType:
    """As it is stored, UNSET where it is there already: what is sealed looks different each time."""
    if entry is UNSET or isinstance(entry, UnsetType):
        return UNSET
    ha1_md5, ha1_sha256 = sip_ha1(entry.username, entry.realm, entry.password)
    stored: dict[str, Any] = {
        "username": entry.username,
        "realm": entry.realm,
        "ha1_md5": ha1_md5,
        "ha1_sha256": ha1_sha256,
        "expires_seconds": entry.expires_seconds,
    }
    if loading.keyring is None:
        return stored
    there = row.registration if row is not None else None
    is_sealed = there is not None and "sealed_ha1" in there
    if is_sealed and read_registration(there, code, loading.keyring) == TrunkRegistrationFacts(**stored):
        return UNSET
    return seal_registration(loading.keyring, code, stored)


async def load_lines(loading: Loading, entries: list[tuple[str, LineEntry]]) -> None:
    carriers = await loading.rows(Carrier, "code", (entry.carrier for _, entry in entries))
    trunks = await loading.rows(Trunk, "code", (entry.trunk for _, entry in entries))
    rates = await loading.rows(Rate, "code", (entry.rate for _, entry in entries))
    rows = await loading.rows(Line, "code", (entry.code for _, entry in entries))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        carrier = loading.referred(place, "carrier", carriers, entry.carrier, entry.carrier)
        trunk = loading.referred(place, "trunk", trunks, entry.trunk, entry.trunk)
        rate = loading.referred(place, "rate", rates, entry.rate, entry.rate)
        if loading.twice(place, "code", entry.code, seen) or carrier is None or trunk is None or rate is None:
            continue
        if trunk.carrier_id != carrier.id:
            loading.problem(place, "trunk", f"is not a trunk of carrier {entry.carrier!r}")
            continue
        values = {
            "carrier_id": carrier.id,
            "trunk_id": trunk.id,
            "rate_id": rate.id,
            "code": entry.code,
            "name": entry.name,
            "recording": entry.recording,
            "calls_max": entry.calls_max,
            "calls_per_second_max": entry.calls_per_second_max,
            "status": entry.status,
        }
        loading.write(Line, rows.get(entry.code), values)


async def load_x_numbers(loading: Loading, entries: list[tuple[str, XNumberEntry]]) -> None:
    lines = await loading.rows(Line, "code", (entry.line for _, entry in entries))
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries if entry.tenant))
    agents = await loading.agents_of(tenants)
    numbers = [loading.checked(place, "number", checked_number, entry.number) for place, entry in entries]
    rows = await loading.rows(XNumber, "number", (number for number in numbers if number is not UNSET))
    seen: dict[Any, str] = {}
    users: set[tuple[int, int]] = set()
    for (place, entry), number in zip(entries, numbers, strict=True):
        line = loading.referred(place, "line", lines, entry.line, entry.line)
        if number is UNSET or loading.twice(place, "number", number, seen) or line is None:
            continue
        tenant_id: Any = UNSET
        agent_id: Any = UNSET
        if entry.tenant is not UNSET:
            tenant_id = agent_id = None
            if entry.tenant:
                tenant = loading.referred(place, "tenant", tenants, entry.tenant, entry.tenant)
                if tenant is None:
                    continue
                tenant_id = tenant.id
                users.add((tenant.id, line.carrier_id))
        row = rows.get(number)
        if row is not None and tenant_id and row.status in ("quarantined", "retired"):
            loading.problem(place, "tenant", f"cannot have a number that is {row.status}")
            continue
        if entry.agent:
            agent = loading.referred(place, "agent", agents, (entry.tenant, entry.agent), str(entry.agent))
            if agent is None:
                continue
            agent_id = agent.id
        elif entry.agent is UNSET and row is not None and row.tenant_id == tenant_id:
            agent_id = UNSET
        if row is not None and tenant_id not in (UNSET, row.tenant_id):
            try:
                await refuse_bound(loading.session, row, loading.now_ms)
            except XNumberInUse:
                loading.problem(place, "tenant", "cannot change: there are live bindings on the number")
                continue
        values = {
            "number": number,
            "line_id": line.id,
            "tenant_id": tenant_id,
            "agent_id": agent_id,
            "unknown_caller_policy": entry.unknown_caller_policy,
            "calls_max": entry.calls_max,
            "calls_per_second_max": entry.calls_per_second_max,
            "status": entry.status,
        }
        loading.write(XNumber, row, values)
    # Whom the operator's file gives numbers of a carrier's may use it.
    for tenant_id, carrier_id in sorted(users):
        await permit_carrier(loading.session, tenant_id, carrier_id, loading.now_ms)


async def load_bindings(loading: Loading, entries: list[tuple[str, BindingEntry]]) -> None:
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries))
    agents = await loading.agents_of(tenants)
    for place, entry in entries:
        tenant = loading.referred(place, "tenant", tenants, entry.tenant, entry.tenant)
        if tenant is None:
            continue
        agent = None
        if entry.agent:
            agent = loading.referred(place, "agent", agents, (entry.tenant, entry.agent), entry.agent)
            if agent is None:
                continue
        there = await _binding_there(loading, entry, tenant, agent)
        if there is not None:
            values = {
                "agent_id": agent.id if agent else None,
                "direction": entry.direction,
                "recording": entry.recording,
            }
            loading.write(Binding, there, values)
            continue
        try:
            await create_binding(
                loading.session,
                TenantScope(tenant.id),
                binding_id=loading.new_id(),
                x_number=entry.x_number,
                a_number=entry.a_number or None,
                b_number=entry.b_number,
                agent_id=agent.id if agent else None,
                direction=entry.direction,
                recording=entry.recording,
                now_ms=loading.now_ms,
            )
        except BindingRefused as refusal:
            loading.problem(place, refusal.field, refusal.reason)
            continue
        loading.counts.created += 1


async def _binding_there(loading: Loading, entry: BindingEntry, tenant: Tenant, agent: Agent | None) -> Binding | None:
    """The live binding of the same A, X and B, which is a binding's natural key."""
    try:
        a_number = checked_number(entry.a_number) if entry.a_number else agent.phone if agent else None
        x_number, b_number = checked_number(entry.x_number), checked_number(entry.b_number)
    except ValueError:
        return None  # create_binding will say which
    return cast(
        "Binding | None",
        await loading.session.scalar(
            select(Binding)
            .join(XNumber, XNumber.id == Binding.x_number_id)
            .where(
                Binding.tenant_id == tenant.id,
                XNumber.number == x_number,
                Binding.a_number == a_number,
                Binding.b_number == b_number,
                Binding.ended_at_ms.is_(None),
                Binding.expires_at_ms.is_(None) | (Binding.expires_at_ms > loading.now_ms),
            )
        ),
    )
