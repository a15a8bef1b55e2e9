"""Package minutes in the database: bought once, leased to engines, used once by each call.

A bucket's seconds are left, leased or used, and together always what was bought. Leases are as those of credit
(``lease_store``): an engine's calls hold out of them, so that any number of engines shares a bucket to the second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from engine.store.change_feed import lock_feed, record_change
from engine.store.money.lease_store import LEASE_MS, LeaseAlive
from engine.store.tables import MinutesBucket, MinutesLease, MinutesUse, Table

SECONDS_MAX = 10**12
"""Of one bucket."""


class MinutesKeyReused(Exception):
    """The order has bought minutes before, and others than these."""


class MinutesLeaseUnknown(Exception):
    """Our fault: an engine gives back more than it has leased."""


@dataclass(frozen=True, slots=True)
class MinutesUsed:
    """What a call took of a bucket; the CDR says why."""

    cdr_id: str
    bucket_id: int
    seconds: int
    at_ms: int


async def buy_minutes(
    session: AsyncSession,
    tenant_id: int,
    cause_id: str,
    seconds: int,
    *,
    starts_at_ms: int,
    expires_at_ms: int,
    agent_id: int | None = None,
    line_ids: Sequence[int] = (),
) -> bool:
    """Adds a bucket, once for each ``cause_id``; False where the same was bought by it before.

    Engines are told. ValueError for minutes that are none; MinutesKeyReused where the cause bought something else.
    """
    if not 0 < seconds <= SECONDS_MAX or starts_at_ms >= expires_at_ms:
        raise ValueError("minutes are above 0 and within bounds, and end after they begin")
    bought = {
        "tenant_id": tenant_id,
        "agent_id": agent_id,
        "line_ids": list(line_ids),
        "seconds_bought": seconds,
        "starts_at_ms": starts_at_ms,
        "expires_at_ms": expires_at_ms,
    }
    earlier = await session.scalar(select(MinutesBucket).where(MinutesBucket.cause_id == cause_id))
    if earlier is not None:
        if any(getattr(earlier, name) != value for name, value in bought.items()):
            raise MinutesKeyReused(cause_id)
        return False
    session.add(MinutesBucket(cause_id=cause_id, seconds_left=seconds, **bought))
    await session.flush()
    return True


async def lease_minutes(
    connection: AsyncConnection, engine_id: str, bucket_id: int, want_seconds: int, now_ms: int = 0
) -> int:
    """Lets an engine hold up to ``want_seconds`` more, as ``renew_minutes`` goes on; what was granted, 0 for nothing.

    An expired bucket leases on: the calls that began while it was in force may use it to their end.
    """
    if want_seconds <= 0:
        raise ValueError("a lease is above 0")
    left = select(MinutesBucket.seconds_left).where(MinutesBucket.id == bucket_id).with_for_update()
    granted = min(want_seconds, await connection.scalar(left) or 0)
    if granted:
        await _move(connection, bucket_id, -granted)
        row = {"engine_id": engine_id, "bucket_id": bucket_id, "seconds": granted, "expires_at_ms": now_ms + LEASE_MS}
        new = _upsert(connection, MinutesLease).values(**row)
        more = {
            "seconds": MinutesLease.seconds + new.excluded.seconds,
            "expires_at_ms": new.excluded.expires_at_ms,
        }
        await connection.execute(new.on_conflict_do_update(index_elements=["engine_id", "bucket_id"], set_=more))
    return granted


async def minutes_leases(connection: AsyncConnection, engine_id: str) -> dict[int, int]:
    """What an engine has leased, seconds by bucket: after a restart it goes on with these."""
    rows = await connection.execute(
        select(MinutesLease.bucket_id, MinutesLease.seconds).where(
            MinutesLease.engine_id == engine_id, MinutesLease.seconds > 0
        )
    )
    return {row.bucket_id: row.seconds for row in rows}


async def renew_minutes(connection: AsyncConnection, engine_id: str, now_ms: int) -> set[int]:
    """Puts the end of an engine's leases off; the buckets whose leases it has. One that is missing was voided."""
    rows = await connection.scalars(
        update(MinutesLease)
        .where(MinutesLease.engine_id == engine_id)
        .values(expires_at_ms=now_ms + LEASE_MS)
        .returning(MinutesLease.bucket_id)
    )
    return set(rows)


async def void_minutes_leases(connection: AsyncConnection, engine_id: str, now_ms: int) -> dict[int, int]:
    """Frees what an engine that is lost for good has leased, seconds by bucket. Raises LeaseAlive while it renews.

    By an operator alone, as ``lease_store.void_leases``: what the lost engine's calls used and it could not settle is
    given away; should it come back, that is used beyond the lease, as far as the bucket has it.
    """
    await lock_feed(connection)
    theirs = select(MinutesLease.bucket_id).where(MinutesLease.engine_id == engine_id)
    locked = select(MinutesBucket.id).where(MinutesBucket.id.in_(theirs)).order_by(MinutesBucket.id)
    await connection.execute(locked.with_for_update())
    alive = select(MinutesLease.bucket_id).where(
        MinutesLease.engine_id == engine_id, MinutesLease.seconds > 0, MinutesLease.expires_at_ms > now_ms
    )
    if await connection.scalar(alive.limit(1)) is not None:
        raise LeaseAlive(engine_id)
    rows = await connection.execute(
        delete(MinutesLease)
        .where(MinutesLease.engine_id == engine_id)
        .returning(MinutesLease.bucket_id, MinutesLease.seconds)
    )
    freed = {row.bucket_id: row.seconds for row in rows if row.seconds}
    for bucket_id, seconds in sorted(freed.items()):
        await _move(connection, bucket_id, seconds)
        await record_change(connection, MinutesBucket.__tablename__, bucket_id, now_ms)
    return freed


async def want_minutes(
    connection: AsyncConnection, engine_id: str, bucket_id: int, short_seconds: int, now_ms: int
) -> bool:
    """Asks the other engines for what they can do without, by the change feed; False where none has any leased."""
    others = select(MinutesLease.engine_id).where(
        MinutesLease.bucket_id == bucket_id, MinutesLease.engine_id != engine_id, MinutesLease.seconds > 0
    )
    if await connection.scalar(others.limit(1)) is None:
        return False
    is_asked = select(MinutesBucket.id).where(
        MinutesBucket.id == bucket_id, MinutesBucket.wanted_seconds >= short_seconds
    )
    if await connection.scalar(is_asked) is None:
        await lock_feed(connection)
        await _set_wanted(connection, bucket_id, short_seconds)
        await record_change(connection, MinutesBucket.__tablename__, bucket_id, now_ms)
    return True


async def want_minutes_no_more(connection: AsyncConnection, bucket_id: int, now_ms: int) -> None:
    """Takes ``want_minutes`` back."""
    await lock_feed(connection)
    await _set_wanted(connection, bucket_id, 0)
    await record_change(connection, MinutesBucket.__tablename__, bucket_id, now_ms)


async def _set_wanted(connection: AsyncConnection, bucket_id: int, seconds: int) -> None:
    await connection.execute(update(MinutesBucket).where(MinutesBucket.id == bucket_id).values(wanted_seconds=seconds))


async def release_minutes(connection: AsyncConnection, engine_id: str, bucket_id: int, seconds: int) -> None:
    """Gives ``seconds`` of a lease back. Raises MinutesLeaseUnknown where the engine has not that much."""
    if seconds <= 0:
        raise ValueError("what is released is above 0")
    if await _shorten_lease(connection, engine_id, bucket_id, seconds) is None:
        raise MinutesLeaseUnknown(f"{engine_id} has not leased {seconds} s of bucket {bucket_id}")
    await _move(connection, bucket_id, seconds)


async def settle_minutes(connection: AsyncConnection, engine_id: str, uses: Sequence[MinutesUsed]) -> int:
    """Writes down what calls used, each CDR once however often it comes; the engine's lease falls by it.

    Returns the seconds that no lease covered, and then the bucket pays as far as it can: 0, or something is wrong.
    """
    if not uses:
        return 0
    new = _upsert(connection, MinutesUse).on_conflict_do_nothing()
    rows = [
        {"cdr_id": use.cdr_id, "bucket_id": use.bucket_id, "seconds": use.seconds, "created_at_ms": use.at_ms}
        for use in uses
    ]
    written = await connection.execute(new.returning(MinutesUse.bucket_id, MinutesUse.seconds), rows)
    used: defaultdict[int, int] = defaultdict(int)
    for bucket_id, seconds in written:
        used[bucket_id] += seconds
    leased = await minutes_leases(connection, engine_id)
    beyond = 0
    for bucket_id, seconds in sorted(used.items()):  # one order for all, or two engines could deadlock
        covered = min(seconds, leased.get(bucket_id, 0))
        if covered:
            await _shorten_lease(connection, engine_id, bucket_id, covered)
        if seconds > covered:
            left = await connection.scalar(
                select(MinutesBucket.seconds_left).where(MinutesBucket.id == bucket_id).with_for_update()
            )
            await _move(connection, bucket_id, -min(seconds - covered, left or 0))
            beyond += seconds - covered
    return beyond


async def uneven_buckets(connection: AsyncConnection) -> Sequence[Row[*tuple[Any, ...]]]:
    """(id, bought, left, leased, used) of the buckets in which these do not add up; none, or something is wrong."""
    leased = (
        select(func.coalesce(func.sum(MinutesLease.seconds), 0))
        .where(MinutesLease.bucket_id == MinutesBucket.id)
        .scalar_subquery()
    )
    used = (
        select(func.coalesce(func.sum(MinutesUse.seconds), 0))
        .where(MinutesUse.bucket_id == MinutesBucket.id)
        .scalar_subquery()
    )
    bought, left = MinutesBucket.seconds_bought, MinutesBucket.seconds_left
    statement = select(MinutesBucket.id, bought, left, leased, used).where(bought != left + leased + used)
    return (await connection.execute(statement)).all()


async def _move(connection: AsyncConnection, bucket_id: int, seconds: int) -> None:
    await connection.execute(
        update(MinutesBucket)
        .where(MinutesBucket.id == bucket_id)
        .values(seconds_left=MinutesBucket.seconds_left + seconds)
    )


async def _shorten_lease(connection: AsyncConnection, engine_id: str, bucket_id: int, seconds: int) -> int | None:
    """What is left of the lease; None where it was shorter, and then it is as it was."""
    left: int | None = await connection.scalar(
        update(MinutesLease)
        .where(
            MinutesLease.engine_id == engine_id, MinutesLease.bucket_id == bucket_id, MinutesLease.seconds >= seconds
        )
        .values(seconds=MinutesLease.seconds - seconds)
        .returning(MinutesLease.seconds)
    )
    return left


def _upsert(connection: AsyncConnection, table: type[Table]) -> Any:
    """An INSERT that knows ON CONFLICT: both databases have it, under one name each."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
