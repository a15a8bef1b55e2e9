"""CDRs and recordings: written in batches behind the calls, read in pages.

Each call pays for its CDR's writing several times (started, ringing, answered, ended): the statement is compiled once
and handed to the driver: 7 µs a row in batches of 200, against 11 µs through SQLAlchemy's parameter processing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Row, Select, case, literal_column, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from engine.store.isolation import BEYOND
from engine.store.scope import Scope, within
from engine.store.sorting import PageWanted
from engine.store.tables import Cdr, Recording

AnyRow = Row[*tuple[Any, ...]]

STATES = ("started", "ringing", "answered", "ended")
"""In the order in which a call goes through them."""

CDR_COLUMNS = tuple(column.name for column in Cdr.__table__.columns)


def _rank(state: ColumnElement[str]) -> ColumnElement[int]:
    return case(
        *((state == literal_column(f"'{name}'"), literal_column(str(rank))) for rank, name in enumerate(STATES)),
        else_=literal_column("-1"),
    )


@lru_cache(maxsize=4)
def _upsert_cdr(dialect: Dialect) -> tuple[str, itemgetter[str]]:
    """The statement in the driver's own words, and what takes its parameters out of a row, in their order."""
    new: Any = (sqlite if dialect.name == "sqlite" else postgresql).insert(Cdr).values(dict.fromkeys(CDR_COLUMNS))
    statement = new.on_conflict_do_update(
        index_elements=["id"],
        set_={name: new.excluded[name] for name in CDR_COLUMNS if name != "id"},
        # "ended" is final, and nothing that comes late (a journal read again, a batch tried twice) goes back.
        where=(Cdr.state != literal_column("'ended'")) & (_rank(new.excluded["state"]) >= _rank(Cdr.state)),  # type: ignore[arg-type]  # a mapped attribute is a column element, but its stub is not
    )
    compiled: Any = statement.compile(dialect=dialect)
    return str(compiled), itemgetter(*compiled.positiontup)


async def write_cdrs(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts CDRs or brings them forward; a row has every column of ``tables.Cdr``.

    An earlier state never replaces a later one, and nothing replaces an ended CDR. KeyError where a column is missing.
    """
    if not rows:
        return
    statement, parameters_of = _upsert_cdr(connection.dialect)
    await connection.exec_driver_sql(statement, [parameters_of(row) for row in rows])


async def write_recordings(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts recordings, columns as in ``tables.Recording``; one whose CDR has one is left as it is."""
    if rows:
        insert: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(Recording)
        await connection.execute(insert.on_conflict_do_nothing(), [dict(row) for row in rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrFilter:
    """``None`` asks for all. Times are milliseconds, from inclusive to exclusive; ``number`` is canonical."""

    tenant_id: int | None = None
    agent_id: int | None = None
    state: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    number: str | None = None
    """A, X or B."""
    number_sides: tuple[str, ...] = ("a", "x", "b")
    """Which of them may be asked for: who sees B masked must not find it by trying numbers."""
    answered: bool | None = None
    cause: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        equal = {
            Cdr.tenant_id: self.tenant_id,
            Cdr.agent_id: self.agent_id,
            Cdr.state: self.state,
            Cdr.cause: self.cause,
        }
        conditions: list[ColumnElement[bool]] = [
            column == value for column, value in equal.items() if value is not None
        ]
        if self.from_ms is not None:
            conditions.append(Cdr.started_at_ms >= self.from_ms)
        if self.to_ms is not None:
            conditions.append(Cdr.started_at_ms < self.to_ms)
        if self.number is not None:
            sides = {"a": Cdr.a_number, "x": Cdr.x_number, "b": Cdr.b_number}
            conditions.append(or_(*(sides[side] == self.number for side in self.number_sides)))
        if self.answered is not None:
            answered = Cdr.answered_at_ms.is_not(None)
            conditions.append(answered if self.answered else ~answered)
        return conditions


def _select() -> Select[*tuple[Any, ...]]:
    return select(*(getattr(Cdr, name) for name in CDR_COLUMNS))


async def read_cdrs(
    connection: AsyncConnection | AsyncSession,
    scope: Scope,
    of: CdrFilter,
    wanted: PageWanted,
) -> Sequence[AnyRow]:
    """A page of the CDRs that ``of`` lets pass."""
    statement = _select().where(within(scope, tenant=Cdr.tenant_id, agent=Cdr.agent_id), *of.conditions())
    return (await connection.execute(wanted.of(statement))).all()


def newest_first(before: tuple[int, str] | None, limit: int) -> PageWanted:
    """CDRs by their beginning; ``before`` is (started_at_ms, id) of the last row of the page before."""
    return PageWanted.by(Cdr.started_at_ms, Cdr.id, descending=True, after=before, limit=limit)


async def read_cdr(connection: AsyncConnection | AsyncSession, scope: Scope, cdr_id: str) -> AnyRow | None:
    """One CDR, None where there is none in ``scope``."""
    statement = _select().where(Cdr.id == cdr_id, within(scope, tenant=Cdr.tenant_id, agent=Cdr.agent_id))
    return (await connection.execute(statement)).one_or_none()


async def read_recording(connection: AsyncConnection | AsyncSession, scope: Scope, cdr_id: str) -> AnyRow | None:
    """(cdr_id, path, place, duration_ms, size_octets, sha256, gaps_ms) of a CDR's recording, None outside ``scope``."""
    statement = (
        select(
            Recording.cdr_id,
            Recording.path,
            Recording.place,
            Recording.duration_ms,
            Recording.size_octets,
            Recording.sha256,
            Recording.gaps_ms,
        )
        .join(Cdr, Cdr.id == Recording.cdr_id)
        .where(Recording.cdr_id == cdr_id, within(scope, tenant=Cdr.tenant_id, agent=Cdr.agent_id))
        .execution_options(**{BEYOND: ("recordings",)})  # it is whose its CDR is, also while it is not filed yet
    )
    return (await connection.execute(statement)).one_or_none()
