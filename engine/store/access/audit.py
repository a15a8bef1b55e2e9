"""The audit log: each change that a person or a key makes through a session leaves an entry, in its transaction.

What is to be nobody's to read stands there as a mark: secrets and hashes as ``SECRET``, numbers as ``138****1234``. A
column whose name does not tell says so itself: ``mapped_column(..., info={"secret": True})``, or ``"number"``; one
that every use changes says ``"audited": False``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Any

from sqlalchemy import ColumnElement, delete, event, func, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session, UOWTransaction

from engine.domain.lines.number import mask
from engine.store.change_feed import FactSession
from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables import Table, Tenant
from engine.store.tables.identity import AuditEntry, AuditPruning

SECRET = "***"  # noqa: S105 - stands in a secret's place
TEXT_LENGTH_MAX = 1000
"""Of one value; the rest of a longer one is cut off."""
PRUNED_ROWS_MAX = 5_000
"""Entries that one pruning deletes at most: it must not hold the writer's place for long."""
DAY_MS = 24 * 3600 * 1000
ITEMS_MAX = 100
"""Of a list or an object in a value."""

_SECRETS = ("password", "secret", "hash", "ha1", "token", "credential", "sealed", "cipher", "private")
_KEYS = ("pool_key", "poolkey", "api_key", "apikey", "access_key", "accesskey", "app_key", "appkey")
_NUMBERS = ("phone", "number")
_NOT_NUMBERS = frozenset({"number_format", "number_policy"})

_MACHINES = frozenset(
    {
        "audit_entries",
        "audit_prunings",
        "changes",
        "binding_parties",  # its binding says the same
        "cdrs",
        "credit_leases",
        "ledger_entries",  # append-only itself
        "ledger_transactions",
        "api_key_budgets",
        "login_failures",
        "minutes_leases",
        "minutes_uses",
        "number_moves",  # a history itself, of what its number's entry says
        "order_events",  # likewise
        "recordings",
        "recovery_codes",
        "velocity_days",
        "velocity_windows",
        "user_sessions",  # logins are entries of their own
        "webhook_deliveries",
    }
)
"""What machines keep for themselves, or what is a log already. Every other table is audited."""


class ActorKind(StrEnum):
    USER = "user"
    API_KEY = "api_key"
    JUMP = "jump"  # somebody of the platform, who acts for a tenant
    SYSTEM = "system"  # a machine of ours, or a command of the operator's, such as ``axbridge load``


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is at work. ``address`` is as it shall be kept: ``kept_address``."""

    kind: ActorKind
    name: str
    user_id: int | None = None
    api_key_id: int | None = None
    session_id: str | None = None
    tenant_id: int | None = None
    address: str = ""
    request_id: str = ""


def machine(name: str) -> Actor:
    """What works by itself, or by a command of the operator's: ``number keeping``, ``axbridge load``."""
    return Actor(ActorKind.SYSTEM, name)


def kept_address(address: str, *, masked: bool) -> str:
    """An address as the log keeps it: whole, or the network that it is of (/24, /48)."""
    if not masked:
        return address[:64]
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    return str(ip_network((found, 24 if found.version == 4 else 48), strict=False))


def audit(
    session: AsyncSession,
    action: str,
    entity: str,
    entity_id: int | str,
    *,
    tenant_id: int | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """An entry for what no row of the session shows: a login, or a statement. Nothing where nobody is at work."""
    actor: Actor | None = session.info.get("actor")
    if actor is not None:
        values = _entry(actor, session.info["now_ms"], action, entity, str(entity_id), tenant_id, before, after)
        session.add(AuditEntry(**values))


async def audit_statement(
    connection: AsyncConnection,
    actor: Actor,
    now_ms: int,
    action: str,
    entity: str,
    entity_id: str,
    *,
    tenant_id: int | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """An entry for what a bare statement did, which no session sees; in the statement's transaction."""
    values = _entry(actor, now_ms, action, entity, entity_id, tenant_id, None, after)
    await connection.execute(insert(AuditEntry).values(**values))


async def prune_audit(connection: AsyncConnection, days: int, now_ms: int) -> int:
    """Deletes up to PRUNED_ROWS_MAX entries older than ``days`` (0: none, ever); how many.

    By whole days (UTC). The database lets no entry go that is younger than what ``audit_prunings`` says, where a row is
    written first, and stays: so no part of the log is missing without a word. The log itself says so too.
    """
    if days == 0:
        return 0
    until_ms = (now_ms // DAY_MS - days) * DAY_MS
    old = select(AuditEntry.id).where(AuditEntry.at_ms < until_ms)
    count = await connection.scalar(select(func.count()).select_from(old.subquery())) or 0
    if count == 0:
        return 0
    said = select(func.max(AuditPruning.until_ms))
    if (await connection.scalar(said) or 0) < until_ms:
        await connection.execute(insert(AuditPruning).values(until_ms=until_ms, at_ms=now_ms, entries=count, days=days))
        after = {"until_ms": until_ms, "entries": count, "days": days}
        await audit_statement(connection, machine("housekeeping"), now_ms, "prune", "audit_entries", "", after=after)
    oldest = old.order_by(AuditEntry.id).limit(PRUNED_ROWS_MAX)
    return (await connection.execute(delete(AuditEntry).where(AuditEntry.id.in_(oldest)))).rowcount


async def read_audit(
    session: AsyncSession, scope: Scope, *conditions: ColumnElement[bool], wanted: PageWanted
) -> Sequence[AuditEntry]:
    """A page of the entries of rows in ``scope``."""
    mine = within(scope, tenant=AuditEntry.tenant_id, agent=None)
    return (await session.scalars(wanted.of(select(AuditEntry).where(mine, *conditions)))).all()


@event.listens_for(FactSession, "after_flush")
def _audit_flushed(session: Session, _context: UOWTransaction) -> None:
    actor: Actor | None = session.info.get("actor")
    if actor is None:
        return
    entries = []
    for row in (*session.new, *session.dirty, *session.deleted):
        if row.__tablename__ in _MACHINES:
            continue
        if row in session.new:
            entries += _entries(actor, session.info["now_ms"], "create", row, None, _values(row))
        elif row in session.deleted:
            entries += _entries(actor, session.info["now_ms"], "delete", row, _values(row), None)
        else:
            before, after = _changes(row)
            if after:
                entries += _entries(actor, session.info["now_ms"], "update", row, before, after)
    if entries:
        session.connection().execute(insert(AuditEntry), entries)


def _entries(
    actor: Actor, now_ms: int, action: str, row: Table, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """One entry; two where a row goes from one tenant to another: neither is told whose it was, or is now."""
    entity_id = ",".join(str(part) for part in inspect(row).mapper.primary_key_from_instance(row))
    owner = row.id if isinstance(row, Tenant) else getattr(row, "tenant_id", None)
    entity = row.__tablename__
    shown = (_shown(row, before), _shown(row, after))
    giver = (before or {}).get("tenant_id")
    if action != "update" or "tenant_id" not in (after or {}) or giver is None:
        return [_entry(actor, now_ms, action, entity, entity_id, owner, *shown)]
    entries = [_entry(actor, now_ms, action, entity, entity_id, giver, shown[0], None)]
    if owner is not None:
        entries.append(_entry(actor, now_ms, action, entity, entity_id, owner, None, shown[1]))
    return entries


def _entry(
    actor: Actor,
    now_ms: int,
    action: str,
    entity: str,
    entity_id: str,
    tenant_id: int | None,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "at_ms": now_ms,
        "actor_kind": actor.kind.value,
        "actor": actor.name[:200],
        "user_id": actor.user_id,
        "api_key_id": actor.api_key_id,
        "session_id": actor.session_id,
        "address": actor.address,
        "request_id": actor.request_id,
        "tenant_id": tenant_id,
        "action": action[:32],
        "entity": entity[:64],
        "entity_id": entity_id[:200],
        "before": before,
        "after": after,
    }


def _values(row: Table) -> dict[str, Any]:
    return {key: value for key, value in row.__dict__.items() if key in inspect(row).mapper.column_attrs}


def _changes(row: Table) -> tuple[dict[str, Any], dict[str, Any]]:
    before, after = {}, {}
    state = inspect(row)
    for column in state.mapper.column_attrs:
        history = state.attrs[column.key].history
        if history.has_changes() and column.columns[0].info.get("audited", True):
            before[column.key] = history.deleted[0] if history.deleted else None
            after[column.key] = history.added[0] if history.added else None
    return before, after


def _shown(row: Table, values: dict[str, Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    columns = row.__table__.columns
    shown = {}
    for key, value in values.items():
        info = columns[key].info if key in columns else {}
        if info.get("secret") and value is not None:
            shown[key] = SECRET
        else:
            shown[key] = masked(key, value, number=bool(info.get("number")))
    return shown


def masked(key: str, value: Any, *, number: bool = False) -> Any:
    """``value`` of a column or member ``key`` as the log may keep it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if any(part in key.lower() for part in (*_SECRETS, *_KEYS)):
        return SECRET
    if isinstance(value, dict):
        return {name[:100]: masked(name, item) for name, item in list(value.items())[:ITEMS_MAX]}
    number = number or (key not in _NOT_NUMBERS and key.rstrip("s").endswith(_NUMBERS))
    if isinstance(value, list | tuple):
        return [masked(key, item, number=number) for item in value[:ITEMS_MAX]]
    if not isinstance(value, str):
        return SECRET  # octets, or an expression that the database works out
    return mask(value) if number else value[:TEXT_LENGTH_MAX]
