"""Reconciliations as they were made, and the calls of a trunk that they compare."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, insert, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from engine.store.database import reading
from engine.store.records.cdr_store import AnyRow
from engine.store.sorting import PAGE_ROWS_MAX, PageWanted
from engine.store.tables import CarrierRecordFormat, Cdr, Reconciliation, ReconciliationDifference

_CALL = (
    Cdr.id, Cdr.direction, Cdr.a_number, Cdr.x_number, Cdr.b_number,
    Cdr.started_at_ms, Cdr.answered_at_ms, Cdr.ended_at_ms, Cdr.cost_micro,
)  # fmt: skip


async def answered_calls(
    database: AsyncEngine, *, trunk_id: int, line_id: int | None, from_ms: int, to_ms: int
) -> AsyncIterator[Sequence[AnyRow]]:
    """Pages of ended CDRs that were answered and began from ``from_ms`` to before ``to_ms``, in order of time."""
    after = (from_ms, "")
    wanted = [
        Cdr.trunk_id == trunk_id,
        Cdr.state == "ended",
        Cdr.answered_at_ms.is_not(None),
        Cdr.started_at_ms < to_ms,
    ]
    if line_id is not None:
        wanted.append(Cdr.line_id == line_id)
    while True:
        statement = select(*_CALL).where(*wanted, tuple_(Cdr.started_at_ms, Cdr.id) > after)
        async with reading(database) as connection:
            rows = (await connection.execute(statement.order_by(Cdr.started_at_ms, Cdr.id).limit(PAGE_ROWS_MAX))).all()
        if rows:
            yield rows
            after = (rows[-1].started_at_ms, rows[-1].id)
        if len(rows) < PAGE_ROWS_MAX:
            return


async def keep_reconciliation(
    connection: AsyncConnection, row: dict[str, Any], differences: Sequence[dict[str, Any]]
) -> bool:
    """Stores one with its differences (rows of the tables, without their reference to it); False if it was there."""
    new: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(Reconciliation).values(row)
    made = await connection.execute(new.on_conflict_do_nothing().returning(Reconciliation.id))
    if made.one_or_none() is None:
        return False
    rows = [difference | {"reconciliation_id": row["id"]} for difference in differences]
    if rows:
        await connection.execute(insert(ReconciliationDifference), rows)
    return True


async def read_reconciliation(session: AsyncSession, reconciliation_id: str) -> Reconciliation | None:
    return await session.get(Reconciliation, reconciliation_id)


async def read_reconciliations(
    session: AsyncSession, *conditions: ColumnElement[bool], wanted: PageWanted
) -> Sequence[Reconciliation]:
    return (await session.scalars(wanted.of(select(Reconciliation).where(*conditions)))).all()


async def read_differences(
    session: AsyncSession, reconciliation_id: str, *, kind: str | None, wanted: PageWanted
) -> Sequence[ReconciliationDifference]:
    """Their positions are in order of time."""
    row = ReconciliationDifference
    statement = select(row).where(row.reconciliation_id == reconciliation_id)
    if kind is not None:
        statement = statement.where(row.kind == kind)
    return (await session.scalars(wanted.of(statement))).all()


async def read_record_format(session: AsyncSession, carrier_id: int) -> dict[str, Any] | None:
    row = await session.get(CarrierRecordFormat, carrier_id)
    return None if row is None else row.content


async def write_record_format(session: AsyncSession, carrier_id: int, content: dict[str, Any]) -> None:
    row = await session.get(CarrierRecordFormat, carrier_id)
    if row is None:
        session.add(CarrierRecordFormat(carrier_id=carrier_id, content=content))
    else:
        row.content = content
