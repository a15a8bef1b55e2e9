"""Failed logins, counted for all API processes and through their restarts.

Whoever is not logged in makes the database write by failing, but no faster than passwords are verified: each failure
has cost an argon2id of 64 MiB first (``admin_api.session.login.Turnstile``), and what is old is pruned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

from sqlalchemy import case, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.tables.limits import LoginFailure

QUIET_MS = 30 * 60 * 1000
"""Without a failure for so long, the earlier ones do not count."""
KNOWN_MS = 180 * 24 * 3600 * 1000
"""So long somebody is known where he has logged in."""
PRUNED_ROWS_MAX = 5_000


def subject_of(*parts: str) -> str:
    """What the failures are counted of, ("at", address) for instance, as it is stored."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()


async def read_failures(connection: AsyncConnection, subjects: Collection[str]) -> dict[str, tuple[int, int]]:
    """(failures, the last one's time) of each subject that there is."""
    rows = await connection.execute(select(LoginFailure).where(LoginFailure.subject.in_(subjects)))
    return {row.subject: (row.failures, row.last_ms) for row in rows}


async def note_failure(connection: AsyncConnection, subjects: Collection[str], now_ms: int) -> None:
    """One failure more of each subject, atomically: processes do not overwrite each other's."""
    grown = case((LoginFailure.last_ms <= now_ms - QUIET_MS, 1), else_=LoginFailure.failures + 1)
    # In one order, so that two who fail at once do not wait for each other.
    for subject in sorted(subjects):
        await _put(connection, {"subject": subject, "failures": 1, "last_ms": now_ms}, grown)


async def note_success(connection: AsyncConnection, forgotten: Collection[str], known: str, now_ms: int) -> None:
    """His failures do not count any more, and he is known where he is."""
    await connection.execute(delete(LoginFailure).where(LoginFailure.subject.in_(forgotten)))
    await _put(connection, {"subject": known, "failures": 0, "last_ms": now_ms}, 0)


async def prune_failures(connection: AsyncConnection, now_ms: int) -> int:
    """Deletes up to PRUNED_ROWS_MAX that do not count any more; how many."""
    is_old = ((LoginFailure.failures > 0) & (LoginFailure.last_ms < now_ms - QUIET_MS)) | (
        LoginFailure.last_ms < now_ms - KNOWN_MS
    )
    old = select(LoginFailure.subject).where(is_old).order_by(LoginFailure.last_ms).limit(PRUNED_ROWS_MAX)
    return (await connection.execute(delete(LoginFailure).where(LoginFailure.subject.in_(old)))).rowcount


async def _put(connection: AsyncConnection, row: dict[str, Any], failures: Any) -> None:
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(LoginFailure).values(**row)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["subject"], set_={"failures": failures, "last_ms": row["last_ms"]}
        )
    )
