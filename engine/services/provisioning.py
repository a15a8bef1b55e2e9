"""``axbridge load``: brings the database to what a provisioning file says; a second time it changes nothing.

Rows are known by their natural keys (code, login, username, number). Nothing is ever deleted: what a file does not name
stays as it is. The whole file is one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import uuid4

from msgspec import UNSET
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from engine.services import provisioning_file as file_format
from engine.services.accounts import OverdraftInUse, create_tenant, set_overdraft_limit
from engine.services.bindings import BindingRefused, create_binding
from engine.services.credentials import hash_password, password_matches, sip_ha1
from engine.services.numbers import XNumberInUse, refuse_bound
from engine.services.provisioning_file import (
    AccountEntry,
    AgentEntry,
    BindingEntry,
    CarrierEntry,
    Entry,
    LineEntry,
    Problem,
    ProvisioningError,
    RateEntry,
    SipAccountEntry,
    TenantEntry,
    TrunkEntry,
    UserEntry,
    XNumberEntry,
    checked_host,
    checked_number,
    checked_source_address,
    micro_from_yuan,
    read_provisioning_file,
)
from engine.store.database import reading, writing_session
from engine.store.ledger_store import KeyReused, recharge
from engine.store.scope import TenantScope
from engine.store.tables import (
    Agent,
    Binding,
    Carrier,
    Line,
    Rate,
    SipAccount,
    Table,
    Tenant,
    Trunk,
    User,
    XNumber,
)

KEYS_IN_STATEMENT_MAX = 500
HASHES_AT_ONCE_MAX = 2
"""argon2id takes 64 MiB and a core for each."""

_Row = TypeVar("_Row", bound=Table)


@dataclass(slots=True)
class Counts:
    created: int = 0
    changed: int = 0
    unchanged: int = 0


@dataclass(slots=True)
class Summary:
    """What a load did, by section of the file."""

    sections: dict[str, Counts] = field(default_factory=dict)

    @property
    def created(self) -> int:
        return sum(counts.created for counts in self.sections.values())

    @property
    def changed(self) -> int:
        return sum(counts.changed for counts in self.sections.values())

    @property
    def unchanged(self) -> int:
        return sum(counts.unchanged for counts in self.sections.values())


async def load(
    path: Path,
    engine: AsyncEngine,
    *,
    now_ms: int,
    realm: str = "axbridge",
    new_id: Callable[[], str] = lambda: uuid4().hex,
) -> Summary:
    """Applies the file at ``path``. ``realm`` is the settings' ``sip.realm``, of which softphones' passwords are kept.

    Raises ProvisioningError, which names each problem found; then nothing has changed.
    """
    sections = await asyncio.to_thread(read_provisioning_file, path)
    # Hashing takes a tenth of a second for each user; the writer's place is not held meanwhile.
    hashes = await _password_hashes(engine, [cast(UserEntry, entry) for _, entry in sections["users"]])
    async with writing_session(engine, now_ms) as session:
        loading = _Loading(path, session, now_ms, realm, new_id, hashes)
        return await loading.apply(sections)


async def _password_hashes(engine: AsyncEngine, users: list[UserEntry]) -> dict[str, str]:
    """For each login the hash to store: the one that is there if the password still fits it."""
    async with reading(engine) as connection:
        stored = {
            row.login: row.password_hash for row in await connection.execute(select(User.login, User.password_hash))
        }
    turn = asyncio.Semaphore(HASHES_AT_ONCE_MAX)

    async def hash_of(user: UserEntry) -> str:
        async with turn:
            there: str | None = stored.get(user.login)
            if there is not None and await asyncio.to_thread(password_matches, there, user.password):
                return there
            return await asyncio.to_thread(hash_password, user.password)

    return {
        user.login: password_hash
        for user, password_hash in zip(users, await asyncio.gather(*map(hash_of, users)), strict=True)
    }


class _Loading:
    """One file on its way into one transaction."""

    def __init__(
        self,
        path: Path,
        session: AsyncSession,
        now_ms: int,
        realm: str,
        new_id: Callable[[], str],
        password_hashes: dict[str, str],
    ) -> None:
        self.path = path
        self.session = session
        self.now_ms = now_ms
        self.realm = realm
        self.new_id = new_id
        self.password_hashes = password_hashes
        self.summary = Summary()
        self.counts = Counts()
        self.problems: list[Problem] = []

    async def apply(self, sections: dict[str, list[tuple[str, Entry]]]) -> Summary:
        appliers: dict[str, Callable[[list[tuple[str, Any]]], Awaitable[None]]] = {
            "tenants": self._tenants,
            "accounts": self._accounts,
            "agents": self._agents,
            "users": self._users,
            "sip_accounts": self._sip_accounts,
            "carriers": self._carriers,
            "trunks": self._trunks,
            "rates": self._rates,
            "lines": self._lines,
            "x_numbers": self._x_numbers,
            "bindings": self._bindings,
        }
        for section in file_format.SECTIONS:
            self.counts = self.summary.sections[section] = Counts()
            if not sections[section]:
                continue
            try:
                await appliers[section](sections[section])
                await self.session.flush()
            except IntegrityError as error:
                # Whatever was not foreseen; "UNIQUE constraint failed: agents.phone" names columns, never values.
                self.problems.append(Problem(section, f"breaks a rule of the database: {error.orig}"))
                raise ProvisioningError(self.path, self.problems) from error
        if self.problems:
            raise ProvisioningError(self.path, self.problems)
        return self.summary

    # What every section needs ---------------------------------------------------------------------------------------

    def _problem(self, place: str, key: str, reason: str) -> None:
        self.problems.append(Problem(f"{place}.{key}", reason))

    def _checked(self, place: str, key: str, check: Callable[[str], Any], text: Any) -> Any:
        """``check(text)``, or a problem and UNSET. UNSET stays UNSET."""
        if text is UNSET:
            return UNSET
        try:
            return check(text)
        except ValueError as error:
            self._problem(place, key, str(error))
            return UNSET

    def _amount(self, place: str, key: str, text: Any) -> Any:
        micro = self._checked(place, key, micro_from_yuan, text)
        if micro is not UNSET and micro < 0:
            self._problem(place, key, "is below zero")
            return UNSET
        return micro

    async def _rows(self, table: type[_Row], column: str, keys: Iterable[Any]) -> dict[Any, _Row]:
        """Rows of ``table`` by their natural key."""
        wanted = list(dict.fromkeys(keys))
        rows: dict[Any, _Row] = {}
        for start in range(0, len(wanted), KEYS_IN_STATEMENT_MAX):
            chunk = wanted[start : start + KEYS_IN_STATEMENT_MAX]
            for row in await self.session.scalars(select(table).where(getattr(table, column).in_(chunk))):
                rows[getattr(row, column)] = row
        return rows

    async def _agents_of(self, tenants: dict[str, Tenant]) -> dict[tuple[str, str], Agent]:
        """Agents by (tenant's code, agent's code)."""
        code_of = {tenant.id: tenant.code for tenant in tenants.values()}
        agents: dict[tuple[str, str], Agent] = {}
        ids = list(code_of)
        for start in range(0, len(ids), KEYS_IN_STATEMENT_MAX):
            chunk = ids[start : start + KEYS_IN_STATEMENT_MAX]
            for agent in await self.session.scalars(select(Agent).where(Agent.tenant_id.in_(chunk))):
                agents[code_of[agent.tenant_id], agent.code] = agent
        return agents

    def _referred(self, place: str, key: str, rows: dict[Any, _Row], code: Any, shown: str) -> _Row | None:
        row = rows.get(code)
        if row is None:
            self._problem(place, key, f"there is no {key} {shown!r}")
        return row

    def _twice(self, place: str, key: str, natural_key: Any, seen: dict[Any, str]) -> bool:
        first = seen.setdefault(natural_key, place)
        if first == place:
            return False
        self._problem(place, key, f"is the same as that of {first}")
        return True

    def _write(self, table: type[Table], row: Table | None, values: dict[str, Any]) -> None:
        """Creates or changes a row, and counts it; UNSET values stay as they are."""
        given = {name: value for name, value in values.items() if value is not UNSET}
        if row is None:
            self.session.add(table(**given))
            self.counts.created += 1
            return
        different = {name: value for name, value in given.items() if getattr(row, name) != value}
        for name, value in different.items():
            setattr(row, name, value)
        if different:
            self.counts.changed += 1
        else:
            self.counts.unchanged += 1

    # The sections, in the order of the file format --------------------------------------------------------------------

    async def _tenants(self, entries: list[tuple[str, TenantEntry]]) -> None:
        rows = await self._rows(Tenant, "code", (entry.code for _, entry in entries))
        seen: dict[Any, str] = {}
        for place, entry in entries:
            if self._twice(place, "code", entry.code, seen):
                continue
            if entry.code in rows:
                self._write(Tenant, rows[entry.code], {"name": entry.name, "status": entry.status})
                continue
            status = "active" if entry.status is UNSET else str(entry.status)
            await create_tenant(self.session, code=entry.code, name=entry.name, status=status, now_ms=self.now_ms)
            self.counts.created += 1

    async def _accounts(self, entries: list[tuple[str, AccountEntry]]) -> None:
        tenants = await self._rows(Tenant, "code", (entry.tenant for _, entry in entries))
        seen: dict[Any, str] = {}
        for place, entry in entries:
            tenant = self._referred(place, "tenant", tenants, entry.tenant, entry.tenant)
            limit_micro = self._amount(place, "overdraft_limit", entry.overdraft_limit)
            opening_micro = self._amount(place, "opening_balance", entry.opening_balance)
            if tenant is None or self._twice(place, "tenant", entry.tenant, seen):
                continue
            changed = False
            try:
                if limit_micro is not UNSET:
                    changed |= await set_overdraft_limit(self.session, tenant.id, limit_micro, self.now_ms)
                if opening_micro is not UNSET and opening_micro > 0:
                    key = f"opening:{tenant.code}"[:64]
                    changed |= await recharge(
                        self.session, tenant.id, opening_micro, key, self.now_ms, "opening balance"
                    )
            except OverdraftInUse:
                self._problem(place, "overdraft_limit", "cannot be that low: more of it is owed or held for calls")
            except KeyReused:
                self._problem(place, "opening_balance", "was applied before with another amount: recharge the account")
            if changed:
                self.counts.changed += 1
            else:
                self.counts.unchanged += 1

    async def _agents(self, entries: list[tuple[str, AgentEntry]]) -> None:
        tenants = await self._rows(Tenant, "code", (entry.tenant for _, entry in entries))
        agents = await self._agents_of(tenants)
        phones = [self._checked(place, "phone", _number_or_none, entry.phone) for place, entry in entries]
        owners = await self._rows(Agent, "phone", (phone for phone in phones if phone))
        seen: dict[Any, str] = {}
        seen_phones: dict[Any, str] = {}
        for (place, entry), phone in zip(entries, phones, strict=True):
            tenant = self._referred(place, "tenant", tenants, entry.tenant, entry.tenant)
            if tenant is None or self._twice(place, "code", (entry.tenant, entry.code), seen):
                continue
            agent = agents.get((entry.tenant, entry.code))
            if phone:
                if self._twice(place, "phone", phone, seen_phones):
                    continue
                if owners.get(phone) not in (None, agent):
                    self._problem(place, "phone", "is another agent's")
                    continue
            values = {
                "tenant_id": tenant.id,
                "code": entry.code,
                "name": entry.name,
                "phone": phone,
                "status": entry.status,
            }
            self._write(Agent, agent, values)

    async def _users(self, entries: list[tuple[str, UserEntry]]) -> None:
        tenants = await self._rows(Tenant, "code", (entry.tenant for _, entry in entries if entry.tenant))
        agents = await self._agents_of(tenants)
        rows = await self._rows(User, "login", (entry.login for _, entry in entries))
        seen: dict[Any, str] = {}
        for place, entry in entries:
            if self._twice(place, "login", entry.login, seen):
                continue
            tenant = agent = None
            if (entry.role != "platform_admin") != bool(entry.tenant):
                self._problem(place, "tenant", "goes with the roles tenant_admin and agent, and only with them")
                continue
            if (entry.role == "agent") != bool(entry.agent):
                self._problem(place, "agent", "goes with the role agent, and only with it")
                continue
            if entry.tenant:
                tenant = self._referred(place, "tenant", tenants, entry.tenant, entry.tenant)
                if tenant is None:
                    continue
            if entry.agent:
                agent = self._referred(place, "agent", agents, (entry.tenant, entry.agent), entry.agent)
                if agent is None:
                    continue
            values = {
                "login": entry.login,
                "password_hash": self.password_hashes[entry.login],
                "role": entry.role,
                "tenant_id": tenant.id if tenant else None,
                "agent_id": agent.id if agent else None,
                "status": entry.status,
            }
            self._write(User, rows.get(entry.login), values)

    async def _sip_accounts(self, entries: list[tuple[str, SipAccountEntry]]) -> None:
        tenants = await self._rows(Tenant, "code", (entry.tenant for _, entry in entries))
        agents = await self._agents_of(tenants)
        rows = await self._rows(SipAccount, "username", (entry.username for _, entry in entries))
        seen: dict[Any, str] = {}
        for place, entry in entries:
            agent = self._referred(place, "agent", agents, (entry.tenant, entry.agent), entry.agent)
            if agent is None or self._twice(place, "username", entry.username, seen):
                continue
            ha1_md5, ha1_sha256 = sip_ha1(entry.username, self.realm, entry.password)
            values = {
                "agent_id": agent.id,
                "username": entry.username,
                "realm": self.realm,
                "ha1_md5": ha1_md5,
                "ha1_sha256": ha1_sha256,
                "status": entry.status,
            }
            self._write(SipAccount, rows.get(entry.username), values)

    async def _carriers(self, entries: list[tuple[str, CarrierEntry]]) -> None:
        rows = await self._rows(Carrier, "code", (entry.code for _, entry in entries))
        seen: dict[Any, str] = {}
        for place, entry in entries:
            if not self._twice(place, "code", entry.code, seen):
                self._write(Carrier, rows.get(entry.code), {"code": entry.code, "name": entry.name})

    async def _trunks(self, entries: list[tuple[str, TrunkEntry]]) -> None:
        carriers = await self._rows(Carrier, "code", (entry.carrier for _, entry in entries))
        rows = await self._rows(Trunk, "code", (entry.code for _, entry in entries))
        seen: dict[Any, str] = {}
        for place, entry in entries:
            carrier = self._referred(place, "carrier", carriers, entry.carrier, entry.carrier)
            host = self._checked(place, "host", checked_host, entry.host)
            sources = [
                self._checked(place, f"source_addresses[{index}]", checked_source_address, source)
                for index, source in enumerate(entry.source_addresses)
            ]
            if carrier is None or self._twice(place, "code", entry.code, seen):
                continue
            values = {
                "carrier_id": carrier.id,
                "code": entry.code,
                "name": entry.name,
                "host": host,
                "port": entry.port,
                "source_addresses": sources,
                "number_format": entry.number_format,
                "calls_max": entry.calls_max,
                "status": entry.status,
            }
            if host is not UNSET and UNSET not in sources:
                self._write(Trunk, rows.get(entry.code), values)

    async def _rates(self, entries: list[tuple[str, RateEntry]]) -> None:
        rows = await self._rows(Rate, "code", (entry.code for _, entry in entries))
        seen: dict[Any, str] = {}
        for place, entry in entries:
            per_minute_micro = self._amount(place, "per_minute", entry.per_minute)
            if per_minute_micro is UNSET or self._twice(place, "code", entry.code, seen):
                continue
            values = {
                "code": entry.code,
                "name": entry.name,
                "per_minute_micro": per_minute_micro,
                "first_increment_seconds": entry.first_increment_seconds,
                "next_increment_seconds": entry.next_increment_seconds,
                "minimum_seconds": entry.minimum_seconds,
            }
            self._write(Rate, rows.get(entry.code), values)

    async def _lines(self, entries: list[tuple[str, LineEntry]]) -> None:
        carriers = await self._rows(Carrier, "code", (entry.carrier for _, entry in entries))
        trunks = await self._rows(Trunk, "code", (entry.trunk for _, entry in entries))
        rates = await self._rows(Rate, "code", (entry.rate for _, entry in entries))
        rows = await self._rows(Line, "code", (entry.code for _, entry in entries))
        seen: dict[Any, str] = {}
        for place, entry in entries:
            carrier = self._referred(place, "carrier", carriers, entry.carrier, entry.carrier)
            trunk = self._referred(place, "trunk", trunks, entry.trunk, entry.trunk)
            rate = self._referred(place, "rate", rates, entry.rate, entry.rate)
            if self._twice(place, "code", entry.code, seen) or carrier is None or trunk is None or rate is None:
                continue
            if trunk.carrier_id != carrier.id:
                self._problem(place, "trunk", f"is not a trunk of carrier {entry.carrier!r}")
                continue
            values = {
                "carrier_id": carrier.id,
                "trunk_id": trunk.id,
                "rate_id": rate.id,
                "code": entry.code,
                "name": entry.name,
                "recording": entry.recording,
                "status": entry.status,
            }
            self._write(Line, rows.get(entry.code), values)

    async def _x_numbers(self, entries: list[tuple[str, XNumberEntry]]) -> None:
        lines = await self._rows(Line, "code", (entry.line for _, entry in entries))
        tenants = await self._rows(Tenant, "code", (entry.tenant for _, entry in entries if entry.tenant))
        agents = await self._agents_of(tenants)
        numbers = [self._checked(place, "number", checked_number, entry.number) for place, entry in entries]
        rows = await self._rows(XNumber, "number", (number for number in numbers if number is not UNSET))
        seen: dict[Any, str] = {}
        for (place, entry), number in zip(entries, numbers, strict=True):
            line = self._referred(place, "line", lines, entry.line, entry.line)
            if number is UNSET or self._twice(place, "number", number, seen) or line is None:
                continue
            tenant_id: Any = UNSET
            agent_id: Any = UNSET
            if entry.tenant is not UNSET:
                tenant_id = agent_id = None
                if entry.tenant:
                    tenant = self._referred(place, "tenant", tenants, entry.tenant, entry.tenant)
                    if tenant is None:
                        continue
                    tenant_id = tenant.id
            row = rows.get(number)
            if entry.agent:
                agent = self._referred(place, "agent", agents, (entry.tenant, entry.agent), str(entry.agent))
                if agent is None:
                    continue
                agent_id = agent.id
            elif entry.agent is UNSET and row is not None and row.tenant_id == tenant_id:
                agent_id = UNSET
            if row is not None and tenant_id not in (UNSET, row.tenant_id):
                try:
                    await refuse_bound(self.session, row, self.now_ms)
                except XNumberInUse:
                    self._problem(place, "tenant", "cannot change: there are live bindings on the number")
                    continue
            values = {
                "number": number,
                "line_id": line.id,
                "tenant_id": tenant_id,
                "agent_id": agent_id,
                "unknown_caller_policy": entry.unknown_caller_policy,
                "status": entry.status,
            }
            self._write(XNumber, row, values)

    async def _bindings(self, entries: list[tuple[str, BindingEntry]]) -> None:
        tenants = await self._rows(Tenant, "code", (entry.tenant for _, entry in entries))
        agents = await self._agents_of(tenants)
        for place, entry in entries:
            tenant = self._referred(place, "tenant", tenants, entry.tenant, entry.tenant)
            if tenant is None:
                continue
            agent = None
            if entry.agent:
                agent = self._referred(place, "agent", agents, (entry.tenant, entry.agent), entry.agent)
                if agent is None:
                    continue
            there = await self._binding_there(entry, tenant, agent)
            if there is not None:
                values = {
                    "agent_id": agent.id if agent else None,
                    "direction": entry.direction,
                    "recording": entry.recording,
                }
                self._write(Binding, there, values)
                continue
            try:
                await create_binding(
                    self.session,
                    TenantScope(tenant.id),
                    binding_id=self.new_id(),
                    x_number=entry.x_number,
                    a_number=entry.a_number or None,
                    b_number=entry.b_number,
                    agent_id=agent.id if agent else None,
                    direction=entry.direction,
                    recording=entry.recording,
                    now_ms=self.now_ms,
                )
            except BindingRefused as refusal:
                self._problem(place, refusal.field, refusal.reason)
                continue
            self.counts.created += 1

    async def _binding_there(self, entry: BindingEntry, tenant: Tenant, agent: Agent | None) -> Binding | None:
        """The live binding of the same A, X and B, which is a binding's natural key."""
        try:
            a_number = checked_number(entry.a_number) if entry.a_number else agent.phone if agent else None
            x_number, b_number = checked_number(entry.x_number), checked_number(entry.b_number)
        except ValueError:
            return None  # create_binding will say which
        return cast(
            "Binding | None",
            await self.session.scalar(
                select(Binding)
                .join(XNumber, XNumber.id == Binding.x_number_id)
                .where(
                    Binding.tenant_id == tenant.id,
                    XNumber.number == x_number,
                    Binding.a_number == a_number,
                    Binding.b_number == b_number,
                    Binding.ended_at_ms.is_(None),
                    Binding.expires_at_ms.is_(None) | (Binding.expires_at_ms > self.now_ms),
                )
            ),
        )


def _number_or_none(text: str) -> str | None:
    return checked_number(text) if text else None
