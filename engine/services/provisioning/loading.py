"""``axbridge load``: brings the database to what a provisioning file says; a second time it changes nothing.

Rows are known by their natural keys (code, login, username, number). Nothing is ever deleted: what a file does not name
stays as it is. The whole file is one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast
from uuid import uuid4

from msgspec import UNSET
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.services.access.credentials import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN, hash_password, password_matches
from engine.services.provisioning.entries import SECTIONS, Entry, UserEntry
from engine.services.provisioning.file import Problem, ProvisioningError, read_provisioning_file
from engine.services.provisioning.lines import (
    load_bindings,
    load_carriers,
    load_lines,
    load_trunks,
)
from engine.services.provisioning.minutes import load_package_minutes
from engine.services.provisioning.money import load_money_rules, load_packages, load_spend_caps
from engine.services.provisioning.numbers import load_number_pools, load_x_numbers
from engine.services.provisioning.organisation import (
    load_departments,
    load_heads,
    load_permissions,
    load_roles,
    load_usable_lines,
)
from engine.services.provisioning.people import (
    load_accounts,
    load_agents,
    load_sip_accounts,
    load_tenants,
    load_users,
)
from engine.services.provisioning.rates import load_rates
from engine.services.provisioning.rows import Counts, Loading, Summary
from engine.services.provisioning.secret_source import SecretSource
from engine.store.access.audit import Actor
from engine.store.access.keyring import Keyring
from engine.store.database import reading, writing_session
from engine.store.tables import User

HASHES_AT_ONCE_MAX = 2
"""argon2id takes 64 MiB and a core for each."""


async def load(
    path: Path,
    engine: AsyncEngine,
    *,
    now_ms: int,
    realm: str = "axbridge",
    new_id: Callable[[], str] = lambda: uuid4().hex,
    keyring: Keyring | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
    actor: Actor | None = None,
) -> Summary:
    """Applies the file at ``path``. ``realm`` is the settings' ``sip.realm``, of which softphones' passwords are kept.

    ``keyring`` seals the hashes that trunks register with, and carriers' secrets; without one the hashes are stored in
    the open, as tests do. ``environment`` is where secrets of ``env:NAME`` stand, and ``actor`` who is on record.

    Raises ProvisioningError, which names each problem found; then nothing has changed.
    """
    sections = await asyncio.to_thread(read_provisioning_file, path)
    # Hashing takes a tenth of a second for each user; the writer's place is not held meanwhile.
    secrets = SecretSource(path.parent, environment)
    users = [(place, cast(UserEntry, entry)) for place, entry in sections["users"]]
    hashes, problems = await _password_hashes(engine, users, secrets)
    async with writing_session(engine, now_ms, actor) as session:
        loading = Loading(path, session, now_ms, realm, new_id, hashes, secrets, keyring)
        loading.problems += problems
        await _apply(loading, sections)
        return loading.summary


async def _password_hashes(
    engine: AsyncEngine, users: list[tuple[str, UserEntry]], secrets: SecretSource
) -> tuple[dict[str, str], list[Problem]]:
    """For each login the hash to store: the one that is there if the password still fits it, or is an initial one."""
    async with reading(engine) as connection:
        stored = {
            row.login: row.password_hash for row in await connection.execute(select(User.login, User.password_hash))
        }
    turn = asyncio.Semaphore(HASHES_AT_ONCE_MAX)
    problems: list[Problem] = []

    async def hash_of(place: str, user: UserEntry) -> str:
        there: str | None = stored.get(user.login)
        try:
            password = _password(user, secrets)
        except ValueError as error:
            problems.append(Problem(f"{place}.password", str(error)))
            return ""
        if there is not None and (password is None or user.password is UNSET):
            return there
        if password is None:
            problems.append(Problem(f"{place}.password", "is missing, or an initial_password: the user is new"))
            return ""
        async with turn:
            if there is not None and await asyncio.to_thread(password_matches, there, password):
                return there
            return await asyncio.to_thread(hash_password, password)

    hashes = await asyncio.gather(*(hash_of(place, user) for place, user in users))
    return {user.login: each for (_, user), each in zip(users, hashes, strict=True)}, problems


def _password(user: UserEntry, secrets: SecretSource) -> str | None:
    """Raises ValueError."""
    if isinstance(user.password, str):
        password = secrets.read(user.password)
        if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
            raise ValueError(f"{user.password} is not {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters long")
        return password
    return user.initial_password if isinstance(user.initial_password, str) else None


_SECTIONS: dict[str, Callable[[Loading, list[tuple[str, Any]]], Awaitable[None]]] = {
    "tenants": load_tenants,
    "accounts": load_accounts,
    "money_rules": load_money_rules,
    "roles": load_roles,
    "departments": load_departments,
    "spend_caps": load_spend_caps,
    "agents": load_agents,
    "users": load_users,
    "sip_accounts": load_sip_accounts,
    "carriers": load_carriers,
    "rates": load_rates,
    "trunks": load_trunks,
    "lines": load_lines,
    "number_pools": load_number_pools,
    "permissions": load_permissions,
    "usable_lines": load_usable_lines,
    "packages": load_packages,
    "package_minutes": load_package_minutes,
    "x_numbers": load_x_numbers,
    "bindings": load_bindings,
}


_LATER: dict[str, tuple[str, Callable[[Loading, list[tuple[str, Any]]], Awaitable[None]]]] = {
    "agents": ("departments", load_heads),
}
"""What of an earlier section refers to the rows of a later one."""


async def _apply(loading: Loading, sections: dict[str, list[tuple[str, Entry]]]) -> None:
    for section in SECTIONS:
        loading.counts = loading.summary.sections[section] = Counts()
        earlier, finish = _LATER.get(section, (section, None))
        try:
            if sections[section]:
                await _SECTIONS[section](loading, sections[section])
                await loading.session.flush()
            if finish is not None and sections[earlier]:
                loading.counts = loading.summary.sections[earlier]
                await finish(loading, sections[earlier])
                await loading.session.flush()
        except IntegrityError as error:
            # Whatever was not foreseen; "UNIQUE constraint failed: agents.phone" names columns, never values.
            loading.problems.append(Problem(section, f"breaks a rule of the database: {error.orig}"))
            raise ProvisioningError(loading.path, loading.problems) from error
    if loading.problems:
        raise ProvisioningError(loading.path, loading.problems)
