"""What a bought package holds beside its minutes: permissions to use lines, and numbers of them.

They come with the purchase's approval, go to the next period with a renewal and to another agent with a transfer, and
go back with a return, or as the package expires. All in the caller's ``writing_session``: those are one at a time on
both databases, so that two approvals never hand out one number twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.money.order import OrderKind
from engine.services.lines.number_allocation import By, allocate_of_line, assign, take_back
from engine.store.tables import MinutesBucket, XNumber
from engine.store.tables.numbers import LinePermission
from engine.store.tables.orders import Order, PackageLine, PackageVersion

ENDED_MAX = 100
"""Packages whose lines and numbers one run of the job takes back; the rest waits for the next."""
_BUYING = (OrderKind.PURCHASE, OrderKind.RENEWAL)


async def hand_out(
    session: AsyncSession, order: Order, bucket: MinutesBucket, terms: PackageVersion, now_ms: int
) -> None:
    """Lines and numbers of a package that was bought just now; with a renewal those that the buyer has go on.

    Raises TooFewNumbers where a line has not so many idle ones: then nothing of the order may be done.
    """
    lines = {*terms.line_ids, *(each["line_id"] for each in terms.numbers)}
    await _permit(session, bucket, lines, now_ms)
    kept: Counter[int] = Counter()
    for x_number in await _numbers_of(session, await _series(session, bucket)):
        x_number.bucket_id = bucket.id
        kept[x_number.line_id] += 1
    by = By.of(session, now_ms, f"order {order.id}")
    for each in terms.numbers:
        missing = each["count"] - kept[each["line_id"]]
        if missing <= 0:
            continue
        x_numbers = await allocate_of_line(session, bucket.tenant_id, each["line_id"], missing, by)
        for x_number in x_numbers:
            x_number.bucket_id = bucket.id
        if bucket.agent_id is not None:
            await assign(session, x_numbers, department_id=None, agent_id=bucket.agent_id, by=by)
    await session.flush()


async def hand_over(session: AsyncSession, order: Order, bucket: MinutesBucket, now_ms: int) -> None:
    """The package is another agent's now, or all agents': so are its numbers, whoever of the tenant's had them."""
    x_numbers = await _numbers_of(session, await _series(session, bucket))
    if x_numbers:
        by = By.of(session, now_ms, f"order {order.id}")
        await assign(session, x_numbers, department_id=None, agent_id=bucket.agent_id, by=by)


async def give_back(session: AsyncSession, bucket: MinutesBucket, now_ms: int, reason: str) -> int:
    """The package is over: its lines and numbers go back, live bindings on these end. How many numbers went.

    Where another period of the same purchase is still in force, or yet to come, its numbers stay for that.
    """
    series = await _series(session, bucket)
    heir = await session.scalar(
        select(MinutesBucket.id)
        .where(MinutesBucket.id.in_(series), MinutesBucket.id != bucket.id, MinutesBucket.expires_at_ms > now_ms)
        .order_by(MinutesBucket.expires_at_ms.desc())
        .limit(1)
    )
    x_numbers = await _numbers_of(session, [bucket.id])
    if heir is not None:
        for x_number in x_numbers:
            x_number.bucket_id = heir
        x_numbers = []
    elif x_numbers:
        await take_back(session, x_numbers, By.of(session, now_ms, reason), ends_bindings=True)
    await _forbid(session, bucket)
    await session.flush()
    return len(x_numbers)


async def end_expired_packages(session: AsyncSession, now_ms: int) -> int:
    """Takes back what expired packages hold; how many packages, ENDED_MAX at most."""
    holds = or_(
        MinutesBucket.id.in_(select(XNumber.bucket_id).where(XNumber.bucket_id.is_not(None))),
        MinutesBucket.id.in_(select(PackageLine.bucket_id)),
    )
    over = select(MinutesBucket).where(MinutesBucket.expires_at_ms <= now_ms, holds).order_by(MinutesBucket.id)
    buckets = (await session.scalars(over.limit(ENDED_MAX))).all()
    for bucket in buckets:
        await give_back(session, bucket, now_ms, "package expired")
    return len(buckets)


async def _series(session: AsyncSession, bucket: MinutesBucket) -> Sequence[int]:
    """The minutes of all periods of the purchase that a bucket comes of, itself among them."""
    order = await session.scalar(select(Order).where(Order.bucket_id == bucket.id, Order.kind.in_(_BUYING)))
    if order is None:
        return [bucket.id]
    first_id = order.first_order_id or order.id
    members = select(Order.bucket_id).where(
        (Order.first_order_id == first_id) | (Order.id == first_id),
        Order.kind.in_(_BUYING),
        Order.bucket_id.is_not(None),
    )
    return [each for each in await session.scalars(members) if each is not None]


async def _numbers_of(session: AsyncSession, bucket_ids: Sequence[int]) -> Sequence[XNumber]:
    statement = select(XNumber).where(XNumber.bucket_id.in_(bucket_ids)).order_by(XNumber.id)
    return (await session.scalars(statement)).all()


async def _permit(session: AsyncSession, bucket: MinutesBucket, lines: set[int], now_ms: int) -> None:
    for line_id in sorted(lines):
        session.add(PackageLine(bucket_id=bucket.id, line_id=line_id, tenant_id=bucket.tenant_id))
        if await _permission(session, bucket.tenant_id, line_id) is None:
            permission = LinePermission(tenant_id=bucket.tenant_id, line_id=line_id, granted_at_ms=now_ms)
            permission.by_package = True
            session.add(permission)
    await session.flush()


async def _forbid(session: AsyncSession, bucket: MinutesBucket) -> None:
    """What another package permits as well, or somebody has by hand, stays."""
    for line in (await session.scalars(select(PackageLine).where(PackageLine.bucket_id == bucket.id))).all():
        await session.delete(line)
        await session.flush()
        others = select(PackageLine.bucket_id).where(
            PackageLine.tenant_id == line.tenant_id, PackageLine.line_id == line.line_id
        )
        permission = await _permission(session, line.tenant_id, line.line_id)
        if permission is not None and permission.by_package and await session.scalar(others.limit(1)) is None:
            await session.delete(permission)


async def _permission(session: AsyncSession, tenant_id: int, line_id: int) -> LinePermission | None:
    permission: LinePermission | None = await session.scalar(
        select(LinePermission).where(LinePermission.tenant_id == tenant_id, LinePermission.line_id == line_id)
    )
    return permission
