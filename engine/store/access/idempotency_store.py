"""Idempotency keys: who sends a request again under its key gets the first one's answer, and nothing happens twice.

A key is claimed before the request is carried out. What the request then writes marks the claim in its own
transaction (``mark``): so after any crash it is known whether it was done, and a claim that was taken from a request
which had stopped answering can write nothing any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from engine.store.database import writing
from engine.store.tables import IdempotencyKey

KEPT_MS = 24 * 3600 * 1000
CLAIMED_MS = 60_000
"""How long a request may take that has written nothing yet; then its key can be claimed by the next."""
ANSWER_OCTETS_MAX = 1024 * 1024
PRUNED_ROWS_MAX = 1_000
_ROUNDS_MAX = 5


class ClaimLost(Exception):
    """The request took longer than CLAIMED_MS before it wrote, and another has its key: it must write nothing."""


@dataclass(frozen=True, slots=True)
class Claim:
    owner: str
    key: str
    claim_id: str


@dataclass(frozen=True, slots=True)
class Known:
    """What became of the request that had the key before. Without a ``status`` it runs, or its answer was lost."""

    request_sha256: str
    has_written: bool
    is_running: bool
    status: int | None
    content_type: str
    answer: bytes


_KEYS = IdempotencyKey.__table__


async def claim(database: AsyncEngine, wanted: Claim, request_sha256: str, now_ms: int) -> Known | None:
    """Claims the key; None where it is ours now, or else what is known of the request that has it."""
    row = {
        "owner": wanted.owner,
        "key": wanted.key,
        "claim_id": wanted.claim_id,
        "request_sha256": request_sha256,
        "has_written": False,
        "content_type": "",
        "answer": b"",
        "claimed_until_ms": now_ms + CLAIMED_MS,
        "expires_at_ms": now_ms + KEPT_MS,
    }
    for _ in range(_ROUNDS_MAX):
        try:
            async with writing(database) as connection:
                await connection.execute(insert(IdempotencyKey), [row])
        except IntegrityError:
            known = await _known(database, wanted, now_ms)
            if known is not None:
                return known
        else:
            return None
    raise ClaimLost  # it came and went between our looks, five times over


async def _known(database: AsyncEngine, wanted: Claim, now_ms: int) -> Known | None:
    """What has the key. None, and gone, where its time is over."""
    async with writing(database) as connection:
        mine = (_KEYS.c.owner == wanted.owner) & (_KEYS.c.key == wanted.key)
        row = (await connection.execute(select(_KEYS).where(mine).with_for_update())).one_or_none()
        if row is None:
            return None
        is_running = row.status is None and row.claimed_until_ms > now_ms
        is_over = row.status is None and not row.has_written and not is_running
        if is_over or row.expires_at_ms <= now_ms:
            await connection.execute(delete(IdempotencyKey).where(mine))
            return None
        return Known(row.request_sha256, row.has_written, is_running, row.status, row.content_type, row.answer)


async def mark(session: AsyncSession, claimed: Claim) -> None:
    """Writes in the request's own transaction that it has written. Raises ClaimLost, which undoes it."""
    statement = update(IdempotencyKey).where(_claimed(claimed)).values(has_written=True)
    if (await (await session.connection()).execute(statement)).rowcount != 1:
        raise ClaimLost


async def keep(database: AsyncEngine, claimed: Claim, status: int, content_type: str, answer: bytes) -> None:
    """Keeps the answer for those who ask again; too long a one is not."""
    if len(answer) > ANSWER_OCTETS_MAX:
        return
    async with writing(database) as connection:
        await connection.execute(
            update(IdempotencyKey)
            .where(_claimed(claimed))
            .values(status=status, content_type=content_type[:100], answer=answer)
        )


async def release(database: AsyncEngine, claimed: Claim) -> bool:
    """Gives the key back where nothing was written under it; whether that is so."""
    async with writing(database) as connection:
        unwritten = IdempotencyKey.has_written.is_(False)
        result = await connection.execute(delete(IdempotencyKey).where(_claimed(claimed), unwritten))
        return result.rowcount == 1


def _claimed(claimed: Claim) -> ColumnElement[bool]:
    return (
        (IdempotencyKey.owner == claimed.owner)
        & (IdempotencyKey.key == claimed.key)
        & (IdempotencyKey.claim_id == claimed.claim_id)
    )


async def prune_keys(database: AsyncEngine, now_ms: int) -> int:
    """Forgets up to PRUNED_ROWS_MAX keys whose time is over; how many."""
    async with writing(database) as connection:
        over = (
            select(IdempotencyKey.owner, IdempotencyKey.key)
            .where(IdempotencyKey.expires_at_ms <= now_ms)
            .limit(PRUNED_ROWS_MAX)
        )
        rows = (await connection.execute(over)).all()
        for row in rows:
            at = (IdempotencyKey.owner == row.owner) & (IdempotencyKey.key == row.key)
            await connection.execute(delete(IdempotencyKey).where(at, IdempotencyKey.expires_at_ms <= now_ms))
        return len(rows)
