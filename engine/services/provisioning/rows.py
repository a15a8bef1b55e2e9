"""What every section of a provisioning file needs: its problems, its counts, and rows by their natural keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from msgspec import UNSET
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.services.provisioning.file import Problem, micro_from_yuan
from engine.services.provisioning.secret_source import SecretSource
from engine.store.access.keyring import Keyring
from engine.store.tables import Agent, Department, Role, Table, Tenant

KEYS_IN_STATEMENT_MAX = 500

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


class Loading:
    """One file on its way into one transaction."""

    def __init__(
        self,
        path: Path,
        session: AsyncSession,
        now_ms: int,
        realm: str,
        new_id: Callable[[], str],
        password_hashes: dict[str, str],
        secrets: SecretSource,
        keyring: Keyring | None = None,
    ) -> None:
        self.secrets = secrets
        self.keyring = keyring
        self.path = path
        self.session = session
        self.now_ms = now_ms
        self.realm = realm
        self.new_id = new_id
        self.password_hashes = password_hashes
        self.summary = Summary()
        self.counts = Counts()
        self.problems: list[Problem] = []

    def problem(self, place: str, key: str, reason: str) -> None:
        self.problems.append(Problem(f"{place}.{key}", reason))

    def checked(self, place: str, key: str, check: Callable[[str], Any], text: Any) -> Any:
        """``check(text)``, or a problem and UNSET. UNSET stays UNSET."""
        if text is UNSET:
            return UNSET
        try:
            return check(text)
        except ValueError as error:
            self.problem(place, key, str(error))
            return UNSET

    def secret(self, place: str, key: str, text: str) -> Any:
        """What ``env:…`` or ``file:…`` leads to, or ``text`` itself; a problem and UNSET where it leads nowhere."""
        if not text.startswith(("env:", "file:")):
            return text
        return self.checked(place, key, self.secrets.read, text)

    def amount(self, place: str, key: str, text: Any) -> Any:
        micro = self.checked(place, key, micro_from_yuan, text)
        if micro is not UNSET and micro < 0:
            self.problem(place, key, "is below zero")
            return UNSET
        return micro

    async def rows(self, table: type[_Row], column: str, keys: Iterable[Any]) -> dict[Any, _Row]:
        """Rows of ``table`` by their natural key."""
        wanted = list(dict.fromkeys(keys))
        rows: dict[Any, _Row] = {}
        for start in range(0, len(wanted), KEYS_IN_STATEMENT_MAX):
            chunk = wanted[start : start + KEYS_IN_STATEMENT_MAX]
            for row in await self.session.scalars(select(table).where(getattr(table, column).in_(chunk))):
                rows[getattr(row, column)] = row
        return rows

    async def agents_of(self, tenants: dict[str, Tenant]) -> dict[tuple[str, str], Agent]:
        """Agents by (tenant's code, agent's code)."""
        code_of = {tenant.id: tenant.code for tenant in tenants.values()}
        agents: dict[tuple[str, str], Agent] = {}
        ids = list(code_of)
        for start in range(0, len(ids), KEYS_IN_STATEMENT_MAX):
            chunk = ids[start : start + KEYS_IN_STATEMENT_MAX]
            for agent in await self.session.scalars(select(Agent).where(Agent.tenant_id.in_(chunk))):
                agents[code_of[agent.tenant_id], agent.code] = agent
        return agents

    async def departments_of(self, tenant: Tenant) -> dict[tuple[str, ...], int]:
        """The ids of a tenant's departments by their names from the top down."""
        rows = (await self.session.scalars(select(Department).where(Department.tenant_id == tenant.id))).all()
        name_of = {str(row.id): row.name for row in rows}
        return {tuple(name_of[part] for part in row.path.strip("/").split("/")): row.id for row in rows}

    async def department(self, place: str, key: str, tenant: Tenant, path: str) -> Department | None:
        """The department of that path, or a problem and None."""
        names = tuple(part.strip() for part in path.split("/"))
        department_id = (await self.departments_of(tenant)).get(names)
        if department_id is None:
            self.problem(place, key, f"there is no department {path!r}")
            return None
        return await self.session.get_one(Department, department_id)

    async def role(self, tenant_id: int | None, audience: str, name: str) -> Role | None:
        own = Role.tenant_id.is_not_distinct_from(tenant_id) & (Role.audience == audience) & (Role.name == name)
        role: Role | None = await self.session.scalar(select(Role).where(own))
        return role

    async def owner(self, place: str, tenants: dict[Any, Tenant], code: str) -> Any:
        """The id of the tenant, None where none is named; UNSET, and a problem, where there is none of the code."""
        if not code:
            return None
        tenant = self.referred(place, "tenant", tenants, code, code)
        return UNSET if tenant is None else tenant.id

    def referred(self, place: str, key: str, rows: dict[Any, _Row], code: Any, shown: str) -> _Row | None:
        row = rows.get(code)
        if row is None:
            self.problem(place, key, f"there is no {key} {shown!r}")
        return row

    def twice(self, place: str, key: str, natural_key: Any, seen: dict[Any, str]) -> bool:
        first = seen.setdefault(natural_key, place)
        if first == place:
            return False
        self.problem(place, key, f"is the same as that of {first}")
        return True

    def write(self, table: type[Table], row: Table | None, values: dict[str, Any]) -> None:
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
