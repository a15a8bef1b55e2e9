import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.services.records import cdr_export
from engine.services.records.cdr_export import ExportFormat, TooManyRows, UnknownZone, export_cdrs, harmless, zone_of
from engine.store.database import open_database, writing
from engine.store.records.cdr_store import CDR_COLUMNS, CdrFilter, write_cdrs
from engine.store.scope import AgentScope, Platform, Scope, TenantScope
from engine.store.sorting import PAGE_ROWS_MAX

A, X, B = "+8613800138001", "+861088880001", "+8613900139001"
AT_MS = 1_800_000_000_123  # 2027-01-15 08:00:00.123 UTC


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(database_url)
    yield engine
    await engine.dispose()


def cdr(cdr_id: str, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(CDR_COLUMNS)
    row |= {"id": cdr_id, "state": "ended", "started_at_ms": AT_MS, "tenant_id": 1, "agent_id": 1, "trunk_id": 7}
    row |= {"billed_seconds": 60, "package_seconds": 0, "charge_micro": 120_001, "cost_micro": 55}
    return row | {"a_number": A, "x_number": X, "b_number": B} | values


async def _export(database: AsyncEngine, scope: Scope, **options: Any) -> bytes:
    options = {"shape": ExportFormat.CSV, "zone": zone_of("Asia/Shanghai")} | options
    pieces = await export_cdrs(database, scope, options.pop("wanted", CdrFilter()), **options)
    return b"".join([piece async for piece in pieces])


async def _rows(database: AsyncEngine, scope: Scope = TenantScope(1), **options: Any) -> list[dict[str, str]]:  # noqa: B008 - frozen
    text = (await _export(database, scope, **options)).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def _write(database: AsyncEngine, *rows: dict[str, Any]) -> None:
    async with writing(database) as connection:
        await write_cdrs(connection, rows)


async def test_a_page_is_lost_or_doubled(database: AsyncEngine) -> None:
    count = 2 * PAGE_ROWS_MAX + 3
    await _write(database, *(cdr(f"c{n}", started_at_ms=AT_MS + n // 7) for n in range(count)))
    rows = await _rows(database)
    assert len(rows) == len({row["id"] for row in rows}) == count
    times = [row["started_at"] for row in rows]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("count", [0, PAGE_ROWS_MAX, 2 * PAGE_ROWS_MAX])
async def test_the_last_page_is_full(database: AsyncEngine, count: int) -> None:
    await _write(database, *(cdr(f"c{n}") for n in range(count)))
    assert len(await _rows(database, rows_max=2 * PAGE_ROWS_MAX)) == count


async def test_money_or_time_is_rounded(database: AsyncEngine) -> None:
    await _write(database, cdr("c", charge_micro=9_007_199_254_740_993, ended_at_ms=AT_MS + 1))
    (row,) = await _rows(database)
    assert row["charge_yuan"] == "9007199254.740993"
    assert row["started_at"] == "2027-01-15T16:00:00.123+08:00"
    assert row["ended_at"] == "2027-01-15T16:00:00.124+08:00"
    assert row["answered_at"] == ""
    (row,) = await _rows(database, zone=zone_of("UTC"))
    assert row["started_at"] == "2027-01-15T08:00:00.123+00:00"


async def test_an_audience_sees_more_than_in_the_listing(database: AsyncEngine) -> None:
    await _write(database, cdr("c1"), cdr("c2", agent_id=2), cdr("c3", tenant_id=2, agent_id=3))
    everybody = await _rows(database, Platform())
    assert {row["id"] for row in everybody} == {"c1", "c2", "c3"}
    assert everybody[0]["cost_yuan"] == "0.000055"
    tenants = await _rows(database, TenantScope(1))
    assert {row["id"] for row in tenants} == {"c1", "c2"}
    assert {"trunk_id", "cost_yuan", "tenant_id"} & set(tenants[0]) == set()
    assert tenants[0]["b_number"] == B
    (agents,) = await _rows(database, AgentScope(1, 1))
    assert agents["b_number"] == "139****9001"
    assert agents["a_number"] == A
    assert "charge_yuan" not in agents


async def test_a_cell_breaks_the_row_or_runs_in_a_spreadsheet(database: AsyncEngine) -> None:
    hostile = '=HYPERLINK("http://x",1)\r\n'
    await _write(database, cdr("c", a_number=hostile, b_number="甲,乙"))
    octets = await _export(database, TenantScope(1), bom=True)
    assert octets.startswith(b"\xef\xbb\xbfid,")
    (row,) = await _rows(database)
    assert row["a_number"] == "'" + hostile
    assert row["b_number"] == "甲,乙"


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1", "@A1", "\t=1", "\r=1", "+1|cmd", "＝1", "+٣"])
def test_a_formula_is_left_as_it_is(text: str) -> None:
    assert harmless(text) == "'" + text


@pytest.mark.parametrize("text", ["", A, "busy", "1-2", "a=b"])
def test_what_is_harmless_is_changed(text: str) -> None:
    assert harmless(text) == text


async def test_parquet_has_other_values_than_the_listing(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdr_export, "GROUP_ROWS", PAGE_ROWS_MAX)
    count = 2 * PAGE_ROWS_MAX + 1
    await _write(database, *(cdr(f"c{n}", started_at_ms=AT_MS + n, answered_at_ms=None) for n in range(count)))
    octets = await _export(database, Platform(), shape=ExportFormat.PARQUET)
    file = pyarrow.parquet.ParquetFile(io.BytesIO(octets))
    assert file.metadata.num_row_groups == 3
    table = file.read()
    assert table.num_rows == count
    assert table.schema.field("charge_yuan").type == pyarrow.decimal128(19, 6)
    row = table.slice(count - 1, 1).to_pylist()[0]
    assert row["id"] == "c0"
    assert row["charge_yuan"] == Decimal("0.120001")
    assert row["started_at"].isoformat() == "2027-01-15T16:00:00.123000+08:00"
    assert row["started_at"].utcoffset() == timedelta(hours=8)
    assert row["answered_at"] is None


async def test_parquet_of_no_calls_cannot_be_read(database: AsyncEngine) -> None:
    octets = await _export(database, TenantScope(1), shape=ExportFormat.PARQUET)
    assert pyarrow.parquet.read_table(io.BytesIO(octets)).num_rows == 0


async def test_an_export_is_cut_off_without_a_word(database: AsyncEngine) -> None:
    await _write(database, cdr("c1"), cdr("c2"))
    with pytest.raises(TooManyRows):
        await _export(database, TenantScope(1), rows_max=1)
    assert len(await _rows(database, rows_max=2)) == 2


@pytest.mark.parametrize("name", ["", "Asia", "../etc/passwd", "/etc/localtime", "Asia/Nowhere", "Mars"])
def test_a_zone_is_read_from_a_file_of_another_kind(name: str) -> None:
    with pytest.raises(UnknownZone):
        zone_of(name)
