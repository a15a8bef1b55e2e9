"""A carrier's file against ours, through the database."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.lines.number import NumberFormat
from engine.services.records import carrier_records
from engine.services.records.carrier_records import FormatWrong, RecordFormat, read_records
from engine.services.records.reconciliation import Reconciled, ReconciliationRefused, reconcile
from engine.store.database import open_database, reading, writing, writing_session
from engine.store.records.cdr_store import CDR_COLUMNS, write_cdrs
from engine.store.records.reconciliation_store import write_record_format
from engine.store.sorting import PAGE_ROWS_MAX
from engine.store.tables import Carrier, Rate, Reconciliation, ReconciliationDifference, Trunk

FORMAT = RecordFormat(caller="主叫", callee="被叫", start="开始", duration="时长", charge="费用", encoding="gb18030")
BEGIN_MS = 1_800_000_000_000
ZONE = ZoneInfo("Asia/Shanghai")
HEAD = "主叫,被叫,开始,时长,费用\r\n"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(database_url)
    async with writing_session(engine, 0) as session:
        session.add_all([Carrier(code="c", name="C"), Rate(code="r", name="R", per_minute_micro=1)])
        await session.flush()
        for code in ("k1", "k2"):
            trunk = Trunk(carrier_id=1, code=code, name="T", host="h", source_addresses=[])
            trunk.number_format = "plain_86"
            session.add(trunk)
        await session.flush()
        await write_record_format(session, 1, msgspec.to_builtins(FORMAT))
    yield engine
    await engine.dispose()


def cdr(number: int, **values: Any) -> dict[str, Any]:
    at_ms = BEGIN_MS + number * 60_000
    row: dict[str, Any] = dict.fromkeys(CDR_COLUMNS)
    row |= {"id": f"c{number:04}", "state": "ended", "trunk_id": 1, "line_id": 1, "direction": "a_to_b"}
    row |= {"a_number": "+8613800138001", "x_number": "+861088880001", "b_number": f"+86139{number:08}"}
    row |= {"started_at_ms": at_ms - 9_000, "answered_at_ms": at_ms, "ended_at_ms": at_ms + 30_000}
    return row | {"billed_seconds": 30, "package_seconds": 0, "charge_micro": 9, "cost_micro": 60_000} | values


def line(number: int, seconds: int = 30, charge: str = "0.06", *, late: float = 95.0) -> str:
    """Their clock is 95 s ahead; numbers are theirs."""
    at = datetime.fromtimestamp((BEGIN_MS + number * 60_000) / 1000, ZONE) + timedelta(seconds=late)
    return f"861088880001,0139{number:08},{at:%Y-%m-%d %H:%M:%S},{seconds},{charge}\r\n"


async def _store(database: AsyncEngine, *rows: dict[str, Any]) -> None:
    async with writing(database) as connection:
        await write_cdrs(connection, rows)


async def _reconcile(database: AsyncEngine, text: str, **values: Any) -> Reconciled:
    options: dict[str, Any] = {"trunk_id": 1, "line_id": None, "record_format": None, "now_ms": 5}
    options |= {"from_ms": BEGIN_MS, "to_ms": BEGIN_MS + 86_400_000}
    return await reconcile(database, content=text.encode("gb18030"), **(options | values))


async def _told(database: AsyncEngine, made: Reconciled) -> tuple[Any, list[tuple[str, str | None]]]:
    async with reading(database) as connection:
        row = (await connection.execute(select(Reconciliation.__table__).where(Reconciliation.id == made.id))).one()
        found = await connection.execute(
            select(ReconciliationDifference.kind, ReconciliationDifference.cdr_id)
            .where(ReconciliationDifference.reconciliation_id == made.id)
            .order_by(ReconciliationDifference.position)
        )
        return row, [(difference.kind, difference.cdr_id) for difference in found]


async def test_differences_are_missed_or_made_up(database: AsyncEngine) -> None:
    await _store(
        database,
        *(cdr(n) for n in range(1, 8)),
        cdr(8, trunk_id=2),
        cdr(9, answered_at_ms=None),
        cdr(10, direction="b_to_a", a_number="+8613900000010", b_number="+8613800138001"),
    )
    text = HEAD + line(10) + line(3, 45) + line(1) + line(2) + line(5) + line(5) + line(4, charge="0.07") + line(99)
    text += line(6) + line(9, seconds=0) + "86108888,x,y,z,0\r\n\r\n"
    row, told = await _told(database, await _reconcile(database, text))
    assert row.clock_offset_ms == 95_000
    assert told == [
        ("unreadable", None),
        ("duration_differs", "c0003"),
        ("charge_differs", "c0004"),
        ("doubled", None),
        ("missing_at_theirs", "c0007"),
        ("missing_at_ours", None),
    ]
    assert row.summary["matched"] == 7
    assert row.summary["unanswered_in_file"] == 1
    assert set(row.summary["differences"].values()) == {1}
    assert len(row.summary["differences"]) == 6


async def test_the_same_again_changes_something(database: AsyncEngine) -> None:
    await _store(database, *(cdr(n) for n in range(4)))
    text = HEAD + "".join(map(line, range(5)))
    first = await _reconcile(database, text)
    again = await _reconcile(database, text, now_ms=99)
    assert (first.is_new, again.is_new, again.id) == (True, False, first.id)
    row, told = await _told(database, first)
    assert (row.created_at_ms, told) == (5, [("missing_at_ours", None)])
    await _store(database, cdr(4))  # it was late
    later = await _reconcile(database, text)
    assert later.is_new
    assert (await _told(database, later))[1] == []
    async with reading(database) as connection:
        assert await connection.scalar(select(func.count(Reconciliation.id))) == 2


async def test_more_calls_than_a_page_are_lost(database: AsyncEngine) -> None:
    count = PAGE_ROWS_MAX + 2
    await _store(database, *(cdr(n) for n in range(count)))
    text = HEAD + "".join(map(line, range(count)))
    row, told = await _told(database, await _reconcile(database, text))
    assert (row.summary["matched"], told) == (count, [])


async def test_the_leg_of_the_other_side_is_compared(database: AsyncEngine) -> None:
    await _store(database, *(cdr(n, a_number=f"+86139{n:08}") for n in range(4)))
    fields = msgspec.structs.asdict(FORMAT) | {"leg": "inbound", "caller": "被叫", "callee": "主叫"}
    made = await _reconcile(database, HEAD + "".join(map(line, range(4))), record_format=RecordFormat(**fields))
    assert (await _told(database, made))[1] == []


@pytest.mark.parametrize(
    ("values", "field"),
    [({"trunk_id": 9}, "trunk_id"), ({"line_id": 9}, "line_id"), ({"to_ms": BEGIN_MS}, "to_ms")],
)
async def test_what_is_not_there_is_reconciled(database: AsyncEngine, values: dict[str, Any], field: str) -> None:
    with pytest.raises(ReconciliationRefused) as refusal:
        await _reconcile(database, HEAD, **values)
    assert refusal.value.field == field


def _read(text: str | bytes, **values: Any) -> carrier_records.CarrierRecords:
    fields = {"caller": "a", "callee": "b", "start": "s", "duration": "d", "charge": "c"} | values
    octets = text.encode() if isinstance(text, str) else text
    return read_records(octets, RecordFormat(**fields), NumberFormat.E164)


@pytest.mark.parametrize(
    ("row", "values", "expected"),
    [
        ("13800138001,010-8888 0001,2027-01-15 16:00:00,65,0.12", {}, (BEGIN_MS, 65, 120_000)),
        ("'13800138001,\t01088880001,2027-01-15 16:00:00,1:05,", {}, (BEGIN_MS, 65, None)),
        ("+8613800138001,01088880001,1800000000.5,00:01:05,12", {"time_format": "epoch_seconds", "charge_unit": "fen"},
         (BEGIN_MS + 500, 65, 120_000)),
        ("008613800138001,01088880001,1800000000000,64.2,-0.000001", {"time_format": "epoch_ms"}, (BEGIN_MS, 65, -1)),
        ("13800138001,01088880001,15/01/27 08:00,2,0", {"time_format": "%d/%m/%y %H:%M", "zone": "UTC",
         "duration_unit": "minutes"}, (BEGIN_MS, 120, 0)),
        ("13800138001,01088880001,2027-01-15T10:00:00+0200,1,0", {"time_format": "%Y-%m-%dT%H:%M:%S%z"},
         (BEGIN_MS, 1, 0)),
    ],
)  # fmt: skip
def test_a_carriers_way_of_writing_is_not_understood(row: str, values: dict[str, Any], expected: object) -> None:
    (call,) = _read(f"\ufeffa,b,s,d,c\n{row}\n", **values).calls
    assert (call.caller, call.callee, call.line) == ("+8613800138001", "+861088880001", 2)
    assert (call.at_ms, call.seconds, call.charge_micro) == expected


@pytest.mark.parametrize(
    "row",
    [
        "x,01088880001,2027-01-15 16:00:00,1,0", "13800138001,01088880001,2027-13-15 16:00:00,1,0",
        "13800138001,01088880001,2027-01-15 16:00:00,-1,0", "13800138001,01088880001,2027-01-15 16:00:00,1e9,0",
        "13800138001,01088880001,2027-01-15 16:00:00,1,0.0000001", "13800138001,01088880001,2027-01-15 16:00:00,1,NaN",
        "13800138001,01088880001", "13800138001,01088880001,1900-01-15 16:00:00,1,0",
        f"13800138001,{'1' * 2000},2027-01-15 16:00:00,1,0", "13800138001,01088880001,2027-01-15 16:00:00,１,0",
    ],
)  # fmt: skip
def test_one_bad_row_stops_the_others_or_shows_a_number(row: str) -> None:
    found = _read(f"a,b,s,d,c\n{row}\n13800138001,01088880001,2027-01-15 16:00:00,1,0\n")
    assert len(found.calls) == 1
    (unreadable,) = found.unreadable
    assert unreadable.line == 2
    assert "13800138001" not in unreadable.reason


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"\xff\xfe", {}), ("a,b,s,d\n", {}), ("a,a,b,s,d,c\n", {}), ("", {}), ('a,b,s,d,c\n"x', {}),
        ("a,b,s,d,c\n", {"zone": "Mars"}), ("1,2,3,4,5\n", {"header": False}), ("a,b,s,d,c\n" + "x\n" * 1002, {}),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_read(text: str | bytes, values: dict[str, Any]) -> None:
    with pytest.raises(FormatWrong):
        _read(text, **values)


def test_columns_cannot_be_told_by_place() -> None:
    values = {"header": False, "caller": "2", "callee": "1", "start": "3", "duration": "4", "charge": None}
    (call,) = _read("01088880001,13800138001,2027-01-15 16:00:00,1\n", **values).calls
    assert (call.caller, call.callee) == ("+8613800138001", "+861088880001")


def test_a_file_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_records, "ROWS_MAX", 1)
    row = "13800138001,01088880001,2027-01-15 16:00:00,1,0\n"
    assert len(_read(f"a,b,s,d,c\n{row}").calls) == 1
    with pytest.raises(FormatWrong):
        _read(f"a,b,s,d,c\n{row}{row}")
    monkeypatch.setattr(carrier_records, "FILE_OCTETS_MAX", 5)
    with pytest.raises(FormatWrong):
        _read("a,b,s,d,c\n")
