"""Reads the facts that an engine holds in memory: all of them at its start, then what the change feed names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.domain.facts import (
    AccountFacts,
    AgentCapFacts,
    AgentFacts,
    BindingFacts,
    CarrierPermissionFacts,
    DepartmentFacts,
    Facts,
    GatewayFacts,
    LineFacts,
    LinePermissionFacts,
    MoneyRulesFacts,
    RateFacts,
    SipAccountFacts,
    TenantFacts,
    TrunkFacts,
    UsableLinesFacts,
    VelocityAlarmFacts,
    XNumberFacts,
)
from engine.domain.money.package_minutes import MinutesBucket as MinutesBucketFacts
from engine.store.access.keyring import Keyring
from engine.store.access.trunk_secrets import read_registration
from engine.store.change_feed import FED_ENTITIES
from engine.store.money.rate_store import facts_of
from engine.store.tables import (
    Account,
    Agent,
    Binding,
    Change,
    Department,
    Line,
    MinutesBucket,
    Rate,
    SipAccount,
    Table,
    Tenant,
    Trunk,
    XNumber,
)
from engine.store.tables.numbers import CarrierPermission, LinePermission, UsableLines
from engine.store.tables.orders import AgentSpendCap, MoneyRules
from engine.store.tables.velocity import VelocityAlarm

CHANGES_READ_MAX = 10_000
"""Changes taken in one reading; the rest comes with the next."""
IDS_IN_STATEMENT_MAX = 500
"""Databases bound the variables of one statement (SQLite: 32,766, https://sqlite.org/limits.html)."""


class ChangesPruned(Exception):
    """Changes that the reader has not seen are gone: it must read everything anew."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A table and the record that its rows become; the record's fields are names of the table's columns."""

    table: type[Table]
    record: type[Any]
    key: str = "id"
    over: str = ""
    """A column that is set once the row is of no more interest: engines then take it for gone."""

    @property
    def select(self) -> Select[Any]:
        return select(*(getattr(self.table, field.name) for field in fields(self.record)))

    def read(self, row: Row[Any], keyring: Keyring | None) -> Facts:
        if self.record is TrunkFacts:
            return _trunk(row, keyring)
        if self.record is RateFacts:
            return facts_of(row._asdict())
        # JSON gives lists; records are hashable.
        return self.record(*(tuple(value) if isinstance(value, list) else value for value in row))  # type: ignore[no-any-return]  # one of Facts, by _SOURCES


def _trunk(row: Row[Any], keyring: Keyring | None) -> TrunkFacts:
    values = dict(row._mapping)
    values["source_addresses"] = tuple(values["source_addresses"])
    values["gateways"] = tuple(GatewayFacts(**gateway) for gateway in values["gateways"])
    values["registration"] = read_registration(values["registration"], row.code, keyring)
    return TrunkFacts(**values)


_SOURCES = (
    _Source(Tenant, TenantFacts),
    _Source(Account, AccountFacts, key="tenant_id"),
    _Source(MoneyRules, MoneyRulesFacts, key="tenant_id"),
    _Source(Department, DepartmentFacts),
    _Source(Agent, AgentFacts),
    _Source(AgentSpendCap, AgentCapFacts, key="agent_id"),
    _Source(VelocityAlarm, VelocityAlarmFacts, over="acknowledged_at_ms"),
    _Source(SipAccount, SipAccountFacts),
    _Source(Rate, RateFacts),
    _Source(Trunk, TrunkFacts),
    _Source(Line, LineFacts),
    _Source(CarrierPermission, CarrierPermissionFacts),
    _Source(LinePermission, LinePermissionFacts),
    _Source(UsableLines, UsableLinesFacts),
    _Source(XNumber, XNumberFacts),
    _Source(MinutesBucket, MinutesBucketFacts),
    _Source(Binding, BindingFacts, over="ended_at_ms"),
)
_SOURCE_OF = {source.table.__tablename__: source for source in _SOURCES}
assert _SOURCE_OF.keys() == FED_ENTITIES, "what is fed and what is read are the same tables"


async def read_all(connection: AsyncConnection, keyring: Keyring | None = None) -> tuple[int, list[Facts]]:
    """The id of the newest change and every fact, those of what is over left out; ``keyring`` unseals secrets.

    Give it a connection of ``database.reading``: all must be of one state of the database.
    """
    newest = await connection.scalar(select(func.max(Change.id))) or 0
    facts: list[Facts] = []
    for source in _SOURCES:
        statement = source.select
        if source.over:
            statement = statement.where(getattr(source.table, source.over).is_(None))
        facts.extend(source.read(row, keyring) for row in await connection.execute(statement))
    return newest, facts


async def read_changes(
    connection: AsyncConnection, since: int, keyring: Keyring | None = None
) -> tuple[int, list[Facts], list[tuple[str, str]]]:
    """What changed after change ``since``: the id to ask from next, facts as they are now, and what is gone.

    What is gone is (table's name, id); what is over, such as an ended binding, is gone. At most CHANGES_READ_MAX
    changes are taken: ask again until the id stays. Raises ChangesPruned where changes after ``since`` are no longer
    there.
    """
    changes = (
        await connection.execute(
            select(Change.id, Change.entity, Change.entity_id)
            .where(Change.id > since)
            .order_by(Change.id)
            .limit(CHANGES_READ_MAX)
        )
    ).all()
    if not changes:
        return since, [], []
    # Ids have holes where transactions were undone (PostgreSQL gives none out again). The oldest go first, so while
    # one that we have seen is there, all that we have not seen are there.
    if (
        changes[0].id > since + 1
        and await connection.scalar(select(Change.id).where(Change.id <= since).limit(1)) is None
    ):
        raise ChangesPruned(f"the changes between {since} and {changes[0].id} are gone")
    ids: dict[str, dict[int | str, None]] = {}  # a dict keeps the order and names each once
    for change in changes:
        key = change.entity_id if change.entity == Binding.__tablename__ else int(change.entity_id)
        ids.setdefault(change.entity, {})[key] = None
    facts: list[Facts] = []
    removed: list[tuple[str, str]] = []
    # In the order of read_all, in which what is referred to comes first. An entity that a newer version feeds is left.
    for entity, source in _SOURCE_OF.items():
        wanted = ids.get(entity, {})
        found = await _read_ids(connection, source, list(wanted), keyring)
        for entity_id in wanted:
            record = found.get(entity_id)
            if record is None or (source.over and getattr(record, source.over) is not None):
                removed.append((entity, str(entity_id)))
            else:
                facts.append(record)
    return changes[-1].id, facts, removed


async def _read_ids(
    connection: AsyncConnection, source: _Source, ids: Sequence[int | str], keyring: Keyring | None
) -> dict[int | str, Facts]:
    key = getattr(source.table, source.key)
    found: dict[int | str, Facts] = {}
    for start in range(0, len(ids), IDS_IN_STATEMENT_MAX):
        statement = source.select.where(key.in_(ids[start : start + IDS_IN_STATEMENT_MAX]))
        for row in await connection.execute(statement):
            record = source.read(row, keyring)
            found[getattr(record, source.key)] = record
    return found
