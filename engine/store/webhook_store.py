"""Webhooks and their outbox: news of a fact is written in the fact's own transaction, and delivered later.

A delivery is there once for each (webhook, kind, subject), whatever is written twice. While a webhook is paused or
suspended nothing is written for it; a replay finds what it has missed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from engine.domain.cdr import CdrState
from engine.store.isolation import BEYOND
from engine.store.records.cdr_store import AnyRow
from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables import Cdr, Recording, Webhook, WebhookDelivery

GIVE_UP_MS = 24 * 3600 * 1000
"""After the fact, or its replay: then the delivery is dead."""
SUSPENDED_AFTER_MS = 24 * 3600 * 1000
"""A webhook that takes nothing at all for so long is suspended, so no more than that time's events ever wait for it."""
LEASE_MS = 120_000
"""Longer than a batch can take: ``deliverer``."""
WEBHOOKS_PER_TENANT_MAX = 10
REPLAYED_MAX = 10_000
"""Events of one replay."""
KEPT_MS = 30 * 24 * 3600 * 1000
"""Deliveries that are over are kept for so long, to be looked at and replayed."""
PRUNED_ROWS_MAX = 5_000


class EventKind(StrEnum):
    """What a webhook can be told. ``test`` is sent when asked for, subscribed or not."""

    CDR_ENDED = "cdr.ended"
    RECORDING_READY = "recording.ready"
    ACCOUNT_LOW = "account.low"
    ACCOUNT_VELOCITY = "account.velocity"
    TEST = "test"


OF_RECORDS = frozenset({EventKind.CDR_ENDED, EventKind.RECORDING_READY})
"""These are read from their records when they are sent, so they can be replayed for any period."""


class WebhookStatus(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"  # by its tenant
    SUSPENDED = "suspended"  # it took nothing for SUSPENDED_AFTER_MS
    DELETED = "deleted"  # gone for everybody; its rows go in housekeeping


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class TooManyEvents(Exception):
    """A replay of more than REPLAYED_MAX events."""


@dataclass(frozen=True, slots=True)
class Event:
    """A fact that a tenant may want to hear of; ``payload`` where no record holds it, JSON values only."""

    kind: EventKind
    tenant_id: int
    subject_id: str
    occurred_at_ms: int
    payload: dict[str, Any] | None = None


def event_id(kind: str, subject_id: str) -> str:
    """The same however often it is delivered or replayed: by it the receiver knows what he has."""
    return f"{kind}:{subject_id}"


async def _nobody_listens(connection: AsyncConnection) -> bool:
    # In the driver's own words: this is asked in each batch of the engine's records.
    return (await connection.exec_driver_sql("SELECT 1 FROM webhooks LIMIT 1")).first() is None


# Built once: this is on the way of each batch of the engine's records.
_LISTENERS = select(Webhook.id, Webhook.tenant_id, Webhook.kinds).where(
    Webhook.tenant_id.in_(bindparam("tenants", expanding=True)), Webhook.status == WebhookStatus.ACTIVE
)
_READY = (
    select(Cdr.id, Cdr.tenant_id)
    .join(Recording, Recording.cdr_id == Cdr.id)
    .where(Cdr.id.in_(bindparam("ids", expanding=True)))
)


@lru_cache(maxsize=2)
def _new_delivery(dialect_name: str) -> Any:
    return (sqlite if dialect_name == "sqlite" else postgresql).insert(WebhookDelivery).on_conflict_do_nothing()


async def tell(connection: AsyncConnection, events: Sequence[Event], now_ms: int) -> None:
    """Writes ``events`` for those webhooks that want them, in the caller's transaction, once each."""
    if not events or await _nobody_listens(connection):
        return
    await _tell(connection, events, now_ms)


async def _tell(connection: AsyncConnection, events: Sequence[Event], now_ms: int) -> None:
    found = await connection.execute(_LISTENERS, {"tenants": list({event.tenant_id for event in events})})
    wanted: dict[tuple[int, str], list[int]] = {}
    for webhook_id, tenant_id, kinds in found:
        for kind in kinds:
            wanted.setdefault((tenant_id, kind), []).append(webhook_id)
    rows = [
        _delivery(webhook_id, event, now_ms)
        for event in events
        for webhook_id in wanted.get((event.tenant_id, event.kind), ())
    ]
    if rows:
        await connection.execute(_new_delivery(connection.dialect.name), rows)


async def tell_of_records(
    connection: AsyncConnection,
    cdrs: Sequence[Mapping[str, Any]],
    recorded_ids: Collection[str],
    now_ms: int,
) -> None:
    """``tell`` of CDRs (rows of ``tables.Cdr``, of which those that have ended count) and of recordings, by CDR id.

    Call it after both are written, and at the end of the transaction.
    """
    ended = [row for row in cdrs if row["state"] == CdrState.ENDED]
    if not (ended or recorded_ids) or await _nobody_listens(connection):
        return
    events = [
        Event(EventKind.CDR_ENDED, row["tenant_id"], row["id"], row["ended_at_ms"] or now_ms)
        for row in ended
        if row["tenant_id"] is not None
    ]
    # A recording may come into the database before its CDR or after it: with whichever comes second it is ready.
    ids = {row["id"] for row in ended} | set(recorded_ids)
    for cdr_id, tenant_id in await connection.execute(_READY, {"ids": list(ids)}):
        if tenant_id is not None:
            events.append(Event(EventKind.RECORDING_READY, tenant_id, cdr_id, now_ms))
    if events:
        await _tell(connection, events, now_ms)


def _delivery(webhook_id: int, event: Event, now_ms: int) -> dict[str, Any]:
    return {
        "webhook_id": webhook_id,
        "kind": event.kind,
        "subject_id": event.subject_id,
        "occurred_at_ms": event.occurred_at_ms,
        "payload": event.payload,
        "state": DeliveryState.PENDING,
        "attempts": 0,
        "next_attempt_at_ms": now_ms,
        "give_up_at_ms": now_ms + GIVE_UP_MS,
    }


_AGAIN = ("state", "attempts", "next_attempt_at_ms", "give_up_at_ms")


async def deliver_anew(session: AsyncSession, webhook_id: int, events: Sequence[Event], now_ms: int) -> None:
    """Writes events for one webhook whatever it subscribes to, or makes them pending again; up to REPLAYED_MAX."""
    new: Any = (sqlite if session.get_bind().dialect.name == "sqlite" else postgresql).insert(WebhookDelivery)
    statement = new.on_conflict_do_update(
        index_elements=["webhook_id", "kind", "subject_id"], set_={name: new.excluded[name] for name in _AGAIN}
    )
    if events:
        await session.execute(statement, [_delivery(webhook_id, event, now_ms) for event in events])


async def replay_period(
    session: AsyncSession, webhook: Webhook, kinds: Collection[EventKind], from_ms: int, to_ms: int, now_ms: int
) -> int:
    """Delivers again what happened from ``from_ms`` to before ``to_ms`` (calls: which began then); how many events.

    CDRs and recordings come from their tables, so that what was never written for the webhook comes too; of other
    kinds there is what was written. Raises TooManyEvents.
    """
    began = (Cdr.tenant_id == webhook.tenant_id, Cdr.started_at_ms >= from_ms, Cdr.started_at_ms < to_ms)
    newest_first = (Cdr.started_at_ms.desc(), Cdr.id.desc())
    events: list[Event] = []
    if EventKind.CDR_ENDED in kinds:
        ended = select(Cdr.id, Cdr.ended_at_ms).where(*began, Cdr.state == CdrState.ENDED).order_by(*newest_first)
        for cdr_id, at_ms in await session.execute(ended.limit(REPLAYED_MAX + 1)):
            events.append(Event(EventKind.CDR_ENDED, webhook.tenant_id, cdr_id, at_ms or now_ms))
    if EventKind.RECORDING_READY in kinds:
        ready = select(Cdr.id, Cdr.ended_at_ms).join(Recording, Recording.cdr_id == Cdr.id).where(*began)
        ready = ready.order_by(*newest_first).limit(REPLAYED_MAX + 1)
        # It is whose its CDR is, also while it is not filed yet.
        for cdr_id, at_ms in await session.execute(ready.execution_options(**{BEYOND: ("recordings",)})):
            events.append(Event(EventKind.RECORDING_READY, webhook.tenant_id, cdr_id, at_ms or now_ms))
    others = [kind for kind in kinds if kind not in OF_RECORDS]
    if others:
        written = select(WebhookDelivery).where(
            WebhookDelivery.webhook_id == webhook.id,
            WebhookDelivery.kind.in_(others),
            WebhookDelivery.occurred_at_ms >= from_ms,
            WebhookDelivery.occurred_at_ms < to_ms,
        )
        for row in await session.scalars(written.limit(REPLAYED_MAX + 1)):
            events.append(
                Event(EventKind(row.kind), webhook.tenant_id, row.subject_id, row.occurred_at_ms, row.payload)
            )
    if len(events) > REPLAYED_MAX:
        raise TooManyEvents
    await deliver_anew(session, webhook.id, sorted(events, key=lambda event: event.occurred_at_ms), now_ms)
    return len(events)


def _owned(scope: Scope) -> Any:
    return within(scope, tenant=Webhook.tenant_id, agent=None) & (Webhook.status != WebhookStatus.DELETED)


async def read_webhooks(session: AsyncSession, scope: Scope) -> Sequence[Webhook]:
    """A tenant has WEBHOOKS_PER_TENANT_MAX at most."""
    return (await session.scalars(select(Webhook).where(_owned(scope)).order_by(Webhook.id))).all()


async def read_webhook(session: AsyncSession, scope: Scope, webhook_id: int) -> Webhook | None:
    """None where there is none in ``scope``."""
    row: Webhook | None = await session.scalar(select(Webhook).where(_owned(scope), Webhook.id == webhook_id))
    return row


async def read_deliveries(
    session: AsyncSession, scope: Scope, webhook_id: int, *conditions: ColumnElement[bool], wanted: PageWanted
) -> Sequence[WebhookDelivery]:
    return (await session.scalars(wanted.of(_deliveries(scope, webhook_id).where(*conditions)))).all()


async def read_delivery(
    session: AsyncSession, scope: Scope, webhook_id: int, delivery_id: int
) -> WebhookDelivery | None:
    """None where there is none in ``scope``."""
    statement = _deliveries(scope, webhook_id).where(WebhookDelivery.id == delivery_id)
    row: WebhookDelivery | None = await session.scalar(statement)
    return row


def _deliveries(scope: Scope, webhook_id: int) -> Select[WebhookDelivery]:
    joined = select(WebhookDelivery).join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
    return joined.where(_owned(scope), Webhook.id == webhook_id)


async def due_webhooks(connection: AsyncConnection, now_ms: int, limit: int) -> list[int]:
    """Webhooks that something is due for and nobody delivers to, those first that have waited longest."""
    due = (
        select(WebhookDelivery.id)
        .where(
            WebhookDelivery.webhook_id == Webhook.id,
            WebhookDelivery.state == DeliveryState.PENDING,
            WebhookDelivery.next_attempt_at_ms <= now_ms,
        )
        .exists()
    )
    statement = select(Webhook.id).where(Webhook.status == WebhookStatus.ACTIVE, Webhook.leased_until_ms <= now_ms, due)
    return list((await connection.scalars(statement.order_by(Webhook.leased_until_ms, Webhook.id).limit(limit))).all())


async def lease(
    connection: AsyncConnection, webhook_id: int, *, taken_until_ms: int | None, now_ms: int
) -> AnyRow | None:
    """Makes the webhook this process' own for LEASE_MS: (id, tenant_id, url, sealed_secret, leased_until_ms).

    ``taken_until_ms`` is the lease it has, or None. None where another has it, or it is no longer active.
    """
    mine = Webhook.leased_until_ms <= now_ms
    if taken_until_ms is not None:
        mine = or_(mine, Webhook.leased_until_ms == taken_until_ms)
    statement = (
        update(Webhook)
        .where(Webhook.id == webhook_id, Webhook.status == WebhookStatus.ACTIVE, mine)
        .values(leased_until_ms=now_ms + LEASE_MS)
        .returning(Webhook.id, Webhook.tenant_id, Webhook.url, Webhook.sealed_secret, Webhook.leased_until_ms)
    )
    return (await connection.execute(statement)).one_or_none()


async def due_deliveries(connection: AsyncConnection, webhook_id: int, now_ms: int, limit: int) -> Sequence[AnyRow]:
    """(id, kind, subject_id, occurred_at_ms, payload, attempts, give_up_at_ms), the longest due first."""
    row = WebhookDelivery
    statement = select(
        row.id, row.kind, row.subject_id, row.occurred_at_ms, row.payload, row.attempts, row.give_up_at_ms
    ).where(
        row.webhook_id == webhook_id,
        row.state == DeliveryState.PENDING,
        row.next_attempt_at_ms <= now_ms,
    )
    return (await connection.execute(statement.order_by(row.next_attempt_at_ms, row.id).limit(limit))).all()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one attempt. ``error`` None: it was taken. ``next_attempt_at_ms`` None with an error: given up."""

    delivery_id: int
    status: int | None
    error: str | None
    next_attempt_at_ms: int | None


async def record_outcomes(
    connection: AsyncConnection, webhook_id: int, outcomes: Sequence[Outcome], *, pause_until_ms: int, now_ms: int
) -> bool:
    """Writes a batch's outcomes and gives the webhook back, to be served again from ``pause_until_ms`` on.

    True if it was suspended by them: it has taken nothing for SUSPENDED_AFTER_MS.
    """
    for outcome in outcomes:
        values: dict[str, Any] = {"last_status": outcome.status, "last_error": outcome.error}
        values["attempts"] = WebhookDelivery.attempts + 1
        if outcome.error is None:
            values |= {"state": DeliveryState.DELIVERED, "delivered_at_ms": now_ms}
        elif outcome.next_attempt_at_ms is None:
            values["state"] = DeliveryState.DEAD
        else:
            values["next_attempt_at_ms"] = outcome.next_attempt_at_ms
        await connection.execute(
            update(WebhookDelivery).where(WebhookDelivery.id == outcome.delivery_id).values(values)
        )
    health: dict[str, Any] = {"leased_until_ms": pause_until_ms}
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(errors) < len(outcomes):
        health |= {"failing_since_ms": None, "last_error": None}
    elif errors:
        health |= {"failing_since_ms": func.coalesce(Webhook.failing_since_ms, now_ms), "last_error": errors[-1]}
    await connection.execute(update(Webhook).where(Webhook.id == webhook_id).values(health))
    suspended = await connection.execute(
        update(Webhook)
        .where(
            Webhook.id == webhook_id,
            Webhook.status == WebhookStatus.ACTIVE,
            Webhook.failing_since_ms <= now_ms - SUSPENDED_AFTER_MS,
        )
        .values(status=WebhookStatus.SUSPENDED)
    )
    return suspended.rowcount == 1


async def prune_deliveries(connection: AsyncConnection, now_ms: int) -> int:
    """Deletes up to PRUNED_ROWS_MAX deliveries that are over and older than KEPT_MS, or whose webhook is deleted."""
    gone = select(Webhook.id).where(Webhook.status == WebhookStatus.DELETED)
    old = (WebhookDelivery.occurred_at_ms < now_ms - KEPT_MS) & (WebhookDelivery.state != DeliveryState.PENDING)
    count = 0
    for condition in (WebhookDelivery.webhook_id.in_(gone), old):
        some = select(WebhookDelivery.id).where(condition).limit(PRUNED_ROWS_MAX - count)
        count += (await connection.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(some)))).rowcount
    if count < PRUNED_ROWS_MAX:
        await connection.execute(
            delete(Webhook).where(
                Webhook.status == WebhookStatus.DELETED,
                ~select(WebhookDelivery.id).where(WebhookDelivery.webhook_id == Webhook.id).exists(),
                Webhook.leased_until_ms <= now_ms,
            )
        )
    return count
