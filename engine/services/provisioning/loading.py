"""``axbridge load``: brings the database to what a provisioning file says; a second time it changes nothing.

Rows are known by their natural keys (code, login, username, number). Nothing is ever deleted: what a file does not name
stays as it is. The whole file is one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.services.credentials import hash_password, password_matches
from engine.services.provisioning import file as file_format
from engine.services.provisioning.file import Entry, Problem, ProvisioningError, UserEntry, read_provisioning_file
from engine.services.provisioning.lines import (
    load_bindings,
    load_carriers,
    load_lines,
    load_trunks,
    load_x_numbers,
)
from engine.services.provisioning.minutes import load_package_minutes
from engine.services.provisioning.people import (
    load_accounts,
    load_agents,
    load_sip_accounts,
    load_tenants,
    load_users,
)
from engine.services.provisioning.rates import load_rates
from engine.services.provisioning.rows import Counts, Loading, Summary
from engine.store.database import reading, writing_session
from engine.store.keyring import Keyring
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
) -> Summary:
    """Applies the file at ``path``. ``realm`` is the settings' ``sip.realm``, of which softphones' passwords are kept.

    ``keyring`` seals the hashes that trunks register with; without one they are stored in the open, as tests do.

    Raises ProvisioningError, which names each problem found; then nothing has changed.
    """
    sections = await asyncio.to_thread(read_provisioning_file, path)
    # Hashing takes a tenth of a second for each user; the writer's place is not held meanwhile.
    hashes = await _password_hashes(engine, [cast(UserEntry, entry) for _, entry in sections["users"]])
    async with writing_session(engine, now_ms) as session:
        loading = Loading(path, session, now_ms, realm, new_id, hashes, keyring)
        await _apply(loading, sections)
        return loading.summary


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


_SECTIONS: dict[str, Callable[[Loading, list[tuple[str, Any]]], Awaitable[None]]] = {
    "tenants": load_tenants,
    "accounts": load_accounts,
    "agents": load_agents,
    "users": load_users,
    "sip_accounts": load_sip_accounts,
    "carriers": load_carriers,
    "rates": load_rates,
    "trunks": load_trunks,
    "lines": load_lines,
    "package_minutes": load_package_minutes,
    "x_numbers": load_x_numbers,
    "bindings": load_bindings,
}


async def _apply(loading: Loading, sections: dict[str, list[tuple[str, Entry]]]) -> None:
    for section in file_format.SECTIONS:
        loading.counts = loading.summary.sections[section] = Counts()
        if not sections[section]:
            continue
        try:
            await _SECTIONS[section](loading, sections[section])
            await loading.session.flush()
        except IntegrityError as error:
            # Whatever was not foreseen; "UNIQUE constraint failed: agents.phone" names columns, never values.
            loading.problems.append(Problem(section, f"breaks a rule of the database: {error.orig}"))
            raise ProvisioningError(loading.path, loading.problems) from error
    if loading.problems:
        raise ProvisioningError(loading.path, loading.problems)
