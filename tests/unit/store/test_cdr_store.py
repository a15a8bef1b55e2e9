from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import reading, writing
from engine.store.records.cdr_store import (
    CDR_COLUMNS,
    STATES,
    CdrFilter,
    _upsert_cdr,
    newest_first,
    read_cdr,
    read_cdrs,
    read_recording,
    write_cdrs,
    write_recordings,
)
from engine.store.scope import AgentScope, Platform, Scope, TenantScope
from engine.store.sorting import PAGE_ROWS_MAX
from engine.store.tables import Recording

PLATFORM = Platform()
A, X, B = "+8613800138001", "+861088880001", "+8613900139001"


def cdr(cdr_id: str, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(CDR_COLUMNS)
    row |= {"id": cdr_id, "state": "started", "started_at_ms": 1000, "tenant_id": 1, "agent_id": 1}
    return (
        row
        | {"billed_seconds": 0, "package_seconds": 0, "charge_micro": 0, "a_number": A, "x_number": X, "b_number": B}
        | values
    )


async def _write(database: AsyncEngine, *rows: dict[str, Any]) -> None:
    async with writing(database) as connection:
        await write_cdrs(connection, rows)


async def _ids(
    database: AsyncEngine,
    scope: Scope = PLATFORM,
    before: tuple[int, str] | None = None,
    limit: int = 100,
    **wanted: Any,
) -> list[str]:
    async with reading(database) as connection:
        rows = await read_cdrs(connection, scope, CdrFilter(**wanted), newest_first(before, limit))
    return [row.id for row in rows]


async def _state(database: AsyncEngine, cdr_id: str) -> tuple[str, int]:
    async with reading(database) as connection:
        row = await read_cdr(connection, Platform(), cdr_id)
    assert row is not None
    return row.state, row.charge_micro


async def test_no_cdrs_are_written(database: AsyncEngine) -> None:
    await _write(database)
    async with writing(database) as connection:
        await write_recordings(connection, [])
    assert await _ids(database) == []


async def test_a_column_is_lost(database: AsyncEngine) -> None:
    numeric = ("_id", "_ms", "_micro", "_seconds", "_status", "_cause", "_version")
    row: dict[str, Any] = {
        name: index if name.endswith(numeric) else name[:8] for index, name in enumerate(CDR_COLUMNS)
    }
    row |= {"id": "c", "state": "ended", "binding_id": "b", "cause": "busy"}
    await _write(database, row)
    async with reading(database) as connection:
        written = await read_cdr(connection, Platform(), "c")
    assert written is not None
    assert written._asdict() == row


@pytest.mark.parametrize("first", STATES)
@pytest.mark.parametrize("second", STATES)
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_late_write_goes_back(database: AsyncEngine, first: str, second: str, at_once: bool) -> None:
    rows = [cdr("c", state=first, charge_micro=1), cdr("c", state=second, charge_micro=2)]
    for batch in [rows] if at_once else [[row] for row in rows]:
        await _write(database, *batch)
    goes_on = first != "ended" and STATES.index(second) >= STATES.index(first)
    assert await _state(database, "c") == ((second, 2) if goes_on else (first, 1))


async def test_the_other_database_takes_no_such_statement() -> None:
    statement, parameters_of = _upsert_cdr(postgresql.dialect(paramstyle="numeric_dollar"))  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy
    assert "ON CONFLICT (id) DO UPDATE" in statement
    assert parameters_of(cdr("c"))[:2] == ("c", "started")


async def test_filters_find_the_wrong_cdrs(database: AsyncEngine) -> None:
    await _write(
        database,
        cdr("c1", started_at_ms=1000, state="ended", answered_at_ms=1500, cause="normal"),
        cdr("c2", started_at_ms=2000, state="ended", cause="busy", a_number="+8613800138009"),
        cdr("c3", started_at_ms=3000, tenant_id=2, agent_id=5, b_number=X, x_number=None),
        cdr("c4", started_at_ms=4000, tenant_id=None, agent_id=None, a_number=None, b_number=A),
    )
    for wanted, ids in (
        ({}, ["c4", "c3", "c2", "c1"]),
        ({"tenant_id": 1}, ["c2", "c1"]),
        ({"agent_id": 5}, ["c3"]),
        ({"state": "ended"}, ["c2", "c1"]),
        ({"from_ms": 2000}, ["c4", "c3", "c2"]),
        ({"to_ms": 2000}, ["c1"]),
        ({"number": A}, ["c4", "c3", "c1"]),
        ({"number": X}, ["c4", "c3", "c2", "c1"]),
        ({"number": A, "number_sides": ("a", "x")}, ["c3", "c1"]),
        ({"number": "+1"}, []),
        ({"answered": True}, ["c1"]),
        ({"answered": False}, ["c4", "c3", "c2"]),
        ({"cause": "busy", "tenant_id": 1}, ["c2"]),
        ({"cause": "busy", "tenant_id": 2}, []),
    ):
        assert await _ids(database, **wanted) == ids, wanted


@pytest.mark.parametrize(
    ("scope", "ids"),
    [
        (Platform(), ["c4", "c3", "c2", "c1"]),
        (TenantScope(1), ["c2", "c1"]),
        (TenantScope(9), []),
        (AgentScope(1, 2), ["c2"]),
        (AgentScope(2, 1), []),
        (AgentScope(2, 2), ["c3"]),
    ],
)
async def test_others_cdrs_are_shown(database: AsyncEngine, scope: Scope, ids: list[str]) -> None:
    await _write(
        database,
        cdr("c1", started_at_ms=1),
        cdr("c2", started_at_ms=2, agent_id=2),
        cdr("c3", started_at_ms=3, tenant_id=2, agent_id=2),
        cdr("c4", started_at_ms=4, tenant_id=None, agent_id=None),
    )
    recordings = [
        {"cdr_id": cdr_id, "path": "p", "duration_ms": 1, "size_octets": 2, "sha256": "s", "gaps_ms": [["a", 1, 2]]}
        for cdr_id in ("c1", "c2", "c3", "c4")
    ]
    async with writing(database) as connection:
        await write_recordings(connection, recordings)
    assert await _ids(database, scope) == ids
    for cdr_id in ("c1", "c2", "c3", "c4"):
        async with reading(database) as connection:
            row = await read_cdr(connection, scope, cdr_id)
            recording = await read_recording(connection, scope, cdr_id)
        assert (row is not None) == (recording is not None) == (cdr_id in ids)


async def test_a_page_repeats_or_skips_calls_of_one_moment(database: AsyncEngine) -> None:
    await _write(database, *(cdr(f"c{number}", started_at_ms=number // 3) for number in range(10)))
    seen: list[str] = []
    before = None
    while page := await _ids(database, before=before, limit=2, tenant_id=1):
        seen += page
        before = (int(page[-1][1:]) // 3, page[-1])
    assert seen == [f"c{number}" for number in reversed(range(10))]


async def test_a_page_is_unbounded(database: AsyncEngine) -> None:
    await _write(database, *(cdr(f"c{number}") for number in range(PAGE_ROWS_MAX + 1)))
    assert len(await _ids(database, limit=10**9)) == PAGE_ROWS_MAX


async def test_a_recording_is_written_twice(database: AsyncEngine) -> None:
    row = {"cdr_id": "c", "path": "p", "duration_ms": 1, "size_octets": 2, "sha256": "s", "gaps_ms": []}
    async with writing(database) as connection:
        await write_recordings(connection, [row])
        await write_recordings(connection, [row | {"path": "q"}])
        assert await connection.scalar(select(func.count(Recording.cdr_id))) == 1
        assert await connection.scalar(select(Recording.path)) == "p"
