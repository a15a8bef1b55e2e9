"""Sections of the provisioning file: tenants and their money, agents, users and softphones."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from engine.services.access.credentials import sip_ha1
from engine.services.money.accounts import OverdraftInUse, create_tenant
from engine.services.money.funds import change_overdraft
from engine.services.provisioning.entries import AccountEntry, AgentEntry, SipAccountEntry, TenantEntry, UserEntry
from engine.services.provisioning.file import checked_number
from engine.services.provisioning.rows import Loading
from engine.store.money.ledger_store import KeyReused, recharge
from engine.store.tables import Agent, SipAccount, Tenant, User


async def load_tenants(loading: Loading, entries: list[tuple[str, TenantEntry]]) -> None:
    rows = await loading.rows(Tenant, "code", (entry.code for _, entry in entries))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        if loading.twice(place, "code", entry.code, seen):
            continue
        if entry.code in rows:
            limits = {"calls_max": entry.calls_max, "calls_per_second_max": entry.calls_per_second_max}
            loading.write(Tenant, rows[entry.code], {"name": entry.name, "status": entry.status, **limits})
            continue
        status = "active" if entry.status is UNSET else str(entry.status)
        tenant = await create_tenant(
            loading.session, code=entry.code, name=entry.name, status=status, now_ms=loading.now_ms
        )
        tenant.calls_max = 0 if entry.calls_max is UNSET else int(entry.calls_max)
        tenant.calls_per_second_max = 0 if entry.calls_per_second_max is UNSET else int(entry.calls_per_second_max)
        loading.counts.created += 1


async def load_accounts(loading: Loading, entries: list[tuple[str, AccountEntry]]) -> None:
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        tenant = loading.referred(place, "tenant", tenants, entry.tenant, entry.tenant)
        limit_micro = loading.amount(place, "overdraft_limit", entry.overdraft_limit)
        opening_micro = loading.amount(place, "opening_balance", entry.opening_balance)
        if tenant is None or loading.twice(place, "tenant", entry.tenant, seen):
            continue
        changed = False
        try:
            if limit_micro is not UNSET:
                reason, by = "as the provisioning file says", "axbridge load"
                changed |= await change_overdraft(loading.session, tenant.id, limit_micro, reason, by, loading.now_ms)
            if opening_micro is not UNSET and opening_micro > 0:
                key = f"opening:{tenant.code}"[:64]
                changed |= await recharge(
                    loading.session, tenant.id, opening_micro, key, loading.now_ms, "opening balance"
                )
        except OverdraftInUse:
            loading.problem(place, "overdraft_limit", "cannot be that low: more of it is owed")
        except KeyReused:
            loading.problem(place, "opening_balance", "was applied before with another amount: recharge the account")
        if changed:
            loading.counts.changed += 1
        else:
            loading.counts.unchanged += 1


async def load_agents(loading: Loading, entries: list[tuple[str, AgentEntry]]) -> None:
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries))
    agents = await loading.agents_of(tenants)
    phones = [loading.checked(place, "phone", _number_or_none, entry.phone) for place, entry in entries]
    owners = {(agent.tenant_id, agent.phone): agent for agent in agents.values() if agent.phone}
    seen: dict[Any, str] = {}
    seen_phones: dict[Any, str] = {}
    for (place, entry), phone in zip(entries, phones, strict=True):
        tenant = loading.referred(place, "tenant", tenants, entry.tenant, entry.tenant)
        if tenant is None or loading.twice(place, "code", (entry.tenant, entry.code), seen):
            continue
        agent = agents.get((entry.tenant, entry.code))
        if phone:
            if loading.twice(place, "phone", (entry.tenant, phone), seen_phones):
                continue
            if owners.get((tenant.id, phone)) not in (None, agent):
                loading.problem(place, "phone", "is another agent's")
                continue
        values = {
            "tenant_id": tenant.id,
            "code": entry.code,
            "name": entry.name,
            "phone": phone,
            "status": entry.status,
            "department_id": await department_of(loading, place, tenant, entry.department),
        }
        loading.write(Agent, agent, values)


async def department_of(loading: Loading, place: str, tenant: Tenant, path: Any) -> Any:
    """None for the empty path; UNSET where none is given, or there is no such department."""
    if path is UNSET or not path:
        return UNSET if path is UNSET else None
    department = await loading.department(place, "department", tenant, path)
    return UNSET if department is None else department.id


async def load_users(loading: Loading, entries: list[tuple[str, UserEntry]]) -> None:
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries if entry.tenant))
    agents = await loading.agents_of(tenants)
    rows = await loading.rows(User, "login", (entry.login for _, entry in entries))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        if loading.twice(place, "login", entry.login, seen):
            continue
        tenant = agent = None
        if (entry.role != "platform_admin") != bool(entry.tenant):
            loading.problem(place, "tenant", "goes with every role but platform_admin, and only with them")
            continue
        if (entry.role in ("agent", "department_head")) != bool(entry.agent):
            loading.problem(place, "agent", "goes with the roles agent and department_head, and only with them")
            continue
        if entry.tenant:
            tenant = loading.referred(place, "tenant", tenants, entry.tenant, entry.tenant)
            if tenant is None:
                continue
        if entry.agent:
            agent = loading.referred(place, "agent", agents, (entry.tenant, entry.agent), entry.agent)
            if agent is None:
                continue
        values = {
            "login": entry.login,
            "password_hash": loading.password_hashes[entry.login],
            "role": entry.role,
            "role_id": await _role_id(loading, place, entry, tenant),
            "tenant_id": tenant.id if tenant else None,
            "agent_id": agent.id if agent else None,
            "status": entry.status,
        }
        loading.write(User, rows.get(entry.login), values)


async def _role_id(loading: Loading, place: str, entry: UserEntry, tenant: Tenant | None) -> Any:
    """None for the built-in role; UNSET where none is named, or there is none of the name."""
    if entry.role_name is UNSET or not entry.role_name:
        return UNSET if entry.role_name is UNSET else None
    role = await loading.role(None if tenant is None else tenant.id, entry.role, str(entry.role_name))
    if role is None:
        loading.problem(place, "role_name", f"there is no role {entry.role_name!r} of {entry.role}")
        return UNSET
    return role.id


async def load_sip_accounts(loading: Loading, entries: list[tuple[str, SipAccountEntry]]) -> None:
    tenants = await loading.rows(Tenant, "code", (entry.tenant for _, entry in entries))
    agents = await loading.agents_of(tenants)
    rows = await loading.rows(SipAccount, "username", (entry.username for _, entry in entries))
    seen: dict[Any, str] = {}
    for place, entry in entries:
        agent = loading.referred(place, "agent", agents, (entry.tenant, entry.agent), entry.agent)
        if agent is None or loading.twice(place, "username", entry.username, seen):
            continue
        password = loading.secret(place, "password", entry.password)
        if password is UNSET:
            continue
        ha1_md5, ha1_sha256 = sip_ha1(entry.username, loading.realm, password)
        values = {
            "agent_id": agent.id,
            "username": entry.username,
            "realm": loading.realm,
            "ha1_md5": ha1_md5,
            "ha1_sha256": ha1_sha256,
            "status": entry.status,
        }
        loading.write(SipAccount, rows.get(entry.username), values)


def _number_or_none(text: str) -> str | None:
    return checked_number(text) if text else None
