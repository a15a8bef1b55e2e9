"""Sections of the provisioning file: carriers, trunks, rates, lines, X numbers and bindings."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import select

from engine.carriers.schemas import SCHEMAS, ConfigInvalid, check_config, secret_fields
from engine.domain.facts import TrunkRegistrationFacts
from engine.services.access.credentials import sip_ha1
from engine.services.lines.bindings import BindingRefused, create_binding
from engine.services.lines.secrets import seal_registration
from engine.services.provisioning.entries import (
    BindingEntry,
    CarrierEntry,
    LineEntry,
    RegistrationEntry,
    TrunkEntry,
)
from engine.services.provisioning.file import checked_gateway_host, checked_number, checked_source_address
from engine.services.provisioning.rows import Loading
from engine.store.access.keyring import Keyring, Unsealable
from engine.store.access.trunk_secrets import carrier_place, read_registration
from engine.store.scope import TenantScope
from engine.store.tables import Agent, Binding, Carrier, Line, Rate, Tenant, Trunk, XNumber


async def load_carriers(loading: Loading, entries: list[tuple[str, CarrierEntry]]) -> None:
    rows = await loading.rows(Carrier, "code", (entry.code for _, entry in entries))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        if loading.twice(place, "code", entry.code, seen):
            continue
        row = rows.get(entry.code)
        values = {"code": entry.code, "name": entry.name, "kind": entry.kind}
        loading.write(Carrier, row, values | _settings(loading, place, entry, row))


def _settings(loading: Loading, place: str, entry: CarrierEntry, row: Carrier | None) -> dict[str, Any]:
    """``config`` and ``sealed_secrets`` as they are stored; secrets that are there already stay as they are sealed."""
    kind = row.kind if row is not None and entry.kind is UNSET else "sip_trunk" if entry.kind is UNSET else entry.kind
    if kind not in SCHEMAS:
        loading.problem(place, "kind", f"is none of {', '.join(SCHEMAS)}")
        return {}
    if isinstance(entry.settings, UnsetType):
        if row is not None and kind != row.kind:
            loading.problem(place, "settings", "are needed with another kind")
        return {}
    names = secret_fields(str(kind)) & entry.settings.keys()
    given: dict[str, Any] = dict(entry.settings)
    for name in names:
        # Never the secret itself: a file is copied, mailed and kept under version control.
        given[name] = loading.checked(place, f"settings.{name}", loading.secrets.read, str(given[name]))
    if UNSET in given.values():
        return {}
    try:
        check_config(str(kind), given)
    except ConfigInvalid as error:
        loading.problem(place, error.field.replace("config", "settings", 1), error.reason)
        return {}
    config = {name: value for name, value in given.items() if name not in names}
    if not names:
        return {"config": config, "sealed_secrets": {}}
    if loading.keyring is None:
        loading.problem(place, "settings", "holds secrets, and there is no key to seal them with")
        return {}
    sealed = {name: _sealed(loading.keyring, row, entry.code, name, given[name]) for name in sorted(names)}
    return {"config": config, "sealed_secrets": sealed}


def _sealed(keyring: Keyring, row: Carrier | None, code: str, name: str, secret: str) -> str:
    """What is sealed looks different each time: what is there stays if it says the same."""
    place = carrier_place(code, name)
    there = None if row is None else (row.sealed_secrets or {}).get(name)
    try:
        if there is not None and keyring.unseal(there, place) == secret:
            return str(there)
    except Unsealable:
        pass  # with a key that is gone: it is sealed anew
    return keyring.seal(secret, place)


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
            "registration": _registration(loading, place, entry.registration, rows.get(entry.code), entry.code),
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
    loading: Loading, place: str, entry: RegistrationEntry | UnsetType, row: Trunk | None, code: str
) -> dict[str, Any] | UnsetType:
    """As it is stored, UNSET where it is there already: what is sealed looks different each time."""
    if entry is UNSET or isinstance(entry, UnsetType):
        return UNSET
    password = loading.secret(place, "registration.password", entry.password)
    if not isinstance(password, str):
        return UNSET
    ha1_md5, ha1_sha256 = sip_ha1(entry.username, entry.realm, password)
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
            "is_custom": entry.is_custom,
            "replacement": UNSET if entry.replacement is UNSET else msgspec.structs.asdict(entry.replacement),
            "recording": entry.recording,
            "calls_max": entry.calls_max,
            "calls_per_second_max": entry.calls_per_second_max,
            "status": entry.status,
        }
        loading.write(Line, rows.get(entry.code), values)


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
