"""What tenants are told of their money: a row in ``money_events``, and news for their webhooks, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables import Account
from engine.store.tables.orders import MoneyEvent, MoneyRules
from engine.store.webhook_store import Event, EventKind, event_id, tell


class NoticeKind(StrEnum):
    LOW_BALANCE = "low_balance"
    VELOCITY = "velocity"


_NEWS = {NoticeKind.LOW_BALANCE: EventKind.ACCOUNT_LOW, NoticeKind.VELOCITY: EventKind.ACCOUNT_VELOCITY}
"""What webhooks are told."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One that is to be published. ``event_id`` and ``kind`` are those of the webhooks' event."""

    id: int
    tenant_id: int
    event_id: str
    kind: EventKind
    at_ms: int
    content: dict[str, Any]


async def notice_low(connection: AsyncConnection, tenant_ids: Collection[int], now_ms: int) -> None:
    """Tells each of ``tenant_ids`` who has fallen below his threshold, once until he has been above it.

    Call it in the transaction that has moved the money, which has the accounts' locks: two engines then do not both
    find him above. What counts is what he may still spend, his overdraft included and what is to be paid out not.
    """
    # In the driver's own words: this is asked in each batch of the engine's charges, and mostly nobody wants it.
    wanted = "SELECT 1 FROM money_rules WHERE low_balance_micro IS NOT NULL LIMIT 1"
    if not tenant_ids or (await connection.exec_driver_sql(wanted)).first() is None:
        return
    left_micro = Account.balance_micro + Account.overdraft_limit_micro - Account.claimed_micro
    rows = await connection.execute(
        select(MoneyRules.tenant_id, MoneyRules.low_balance_micro, MoneyRules.low_since_ms, left_micro.label("left"))
        .join(Account, Account.tenant_id == MoneyRules.tenant_id)
        .where(MoneyRules.tenant_id.in_(tenant_ids), MoneyRules.low_balance_micro.is_not(None))
        .order_by(MoneyRules.tenant_id)
    )
    for tenant_id, threshold_micro, low_since_ms, left in rows.all():
        is_low = threshold_micro is not None and left < threshold_micro
        if is_low == (low_since_ms is not None):
            continue
        await connection.execute(
            update(MoneyRules).where(MoneyRules.tenant_id == tenant_id).values(low_since_ms=now_ms if is_low else None)
        )
        if is_low:
            content = {"left_micro": left, "threshold_micro": threshold_micro}
            last_id = await connection.scalar(select(MoneyEvent.id).order_by(MoneyEvent.id.desc()).limit(1))
            subject = f"{now_ms}-{last_id or 0}"  # he may fall below it twice within a millisecond
            await notice(connection, NoticeKind.LOW_BALANCE, tenant_id, subject, content, now_ms)


async def notice(
    connection: AsyncConnection, kind: NoticeKind, tenant_id: int, subject: str, content: dict[str, Any], now_ms: int
) -> None:
    """Tells a tenant, once of each ``subject``: IntegrityError the second time."""
    row = {"tenant_id": tenant_id, "kind": kind, "subject": subject, "content": content, "at_ms": now_ms}
    await connection.execute(insert(MoneyEvent), row)
    event = Event(_NEWS[kind], tenant_id, _subject_id(tenant_id, subject), now_ms, content)
    await tell(connection, [event], now_ms)


def _subject_id(tenant_id: int, subject: str) -> str:
    return f"{tenant_id}-{subject}"


async def unpublished_notices(connection: AsyncConnection, since_ms: int, limit: int) -> list[Notice]:
    """Oldest first, none from before ``since_ms``."""
    rows = await connection.execute(
        select(MoneyEvent.id, MoneyEvent.tenant_id, MoneyEvent.kind, MoneyEvent.subject, MoneyEvent.at_ms,
               MoneyEvent.content)
        .where(MoneyEvent.published_at_ms.is_(None), MoneyEvent.at_ms >= since_ms)
        .order_by(MoneyEvent.at_ms, MoneyEvent.id)
        .limit(limit)
    )  # fmt: skip
    found = []
    for id_, tenant_id, kind, subject, at_ms, content in rows:
        news = _NEWS[NoticeKind(kind)]
        found.append(Notice(id_, tenant_id, event_id(news, _subject_id(tenant_id, subject)), news, at_ms, content))
    return found


async def mark_published(connection: AsyncConnection, ids: Sequence[int], now_ms: int) -> None:
    await connection.execute(update(MoneyEvent).where(MoneyEvent.id.in_(ids)).values(published_at_ms=now_ms))


async def read_events(
    session: AsyncSession, scope: Scope, *conditions: ColumnElement[bool], wanted: PageWanted
) -> Sequence[MoneyEvent]:
    mine = within(scope, tenant=MoneyEvent.tenant_id, agent=None)
    return (await session.scalars(wanted.of(select(MoneyEvent).where(mine, *conditions)))).all()
