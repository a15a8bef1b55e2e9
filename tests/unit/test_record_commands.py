"""The command line's export and reconciliation, on a database that has the example's tenants."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.cli import app
from engine.store.database import open_database, writing
from engine.store.records.cdr_store import CDR_COLUMNS, write_cdrs

CONF = Path(__file__).parents[2] / "conf"
AT_MS = 1_800_000_000_000  # 2027-01-15 16:00 in Shanghai
PERIOD = ["--from", "2027-01-15", "--to", "2027-01-16"]


async def _store(database_url: str) -> None:
    row: dict[str, Any] = dict.fromkeys(CDR_COLUMNS)
    row |= {"id": "c1", "state": "ended", "trunk_id": 1, "tenant_id": 1, "direction": "a_to_b"}
    row |= {"a_number": "+8613800138001", "x_number": "+861088880001", "b_number": "+8613900139001"}
    row |= {"started_at_ms": AT_MS, "answered_at_ms": AT_MS, "ended_at_ms": AT_MS + 30_000}
    row |= {"billed_seconds": 30, "package_seconds": 0, "charge_micro": 1, "cost_micro": 2}
    database = open_database(database_url)
    async with writing(database) as connection:
        await write_cdrs(connection, [row])
    await database.dispose()


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> list[str]:
    path = tmp_path / "axbridge.toml"
    path.write_text(f'data_folder = "{tmp_path}"\n[store]\ndatabase_url = "{database_url}"\n')
    loaded = CliRunner().invoke(app, ["load", str(CONF / "demo.toml"), "--config", str(path)])
    assert loaded.exit_code == 0, loaded.output
    asyncio.run(_store(database_url))
    return ["--config", str(path)]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def test_an_export_is_empty_or_for_everybody_to_read(tmp_path: Path, config: list[str]) -> None:
    output = tmp_path / "cdrs.csv"
    told = run("export-cdrs", *PERIOD, "--tenant", "demo", "-o", str(output), *config)
    assert told.exit_code == 0, told.output
    head, row = output.read_text().splitlines()
    assert row.startswith("c1,ended,")
    assert "cost_yuan" not in head
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert run("export-cdrs", *PERIOD, "-o", str(output), *config).exit_code == 0
    assert "cost_yuan" in output.read_text().splitlines()[0]


@pytest.mark.parametrize(
    "arguments",
    [["--tenant", "nobody"], ["--zone", "Mars"], ["--from", "yesterday"], ["-o", "/no/such/folder/x"]],
)
def test_a_mistake_ends_in_a_traceback(tmp_path: Path, config: list[str], arguments: list[str]) -> None:
    told = run("export-cdrs", *PERIOD, "-o", str(tmp_path / "x"), *arguments, *config)
    assert (told.exit_code, told.output.startswith("axbridge: ")) == (1, True), told.output


def test_a_file_is_reconciled_otherwise_than_it_says(tmp_path: Path, config: list[str]) -> None:
    file, record_format, output = tmp_path / "carrier.csv", tmp_path / "format.toml", tmp_path / "differences"
    file.write_text("from,to,at,seconds\n01088880001,13900139001,2027-01-15 16:00:01,90\n")
    record_format.write_text('caller = "from"\ncallee = "to"\nstart = "at"\nduration = "seconds"\n')
    asked = ["reconcile", str(file), "--trunk", "demo-trunk", *PERIOD, "--format", str(record_format), *config]
    told = run(*asked, "-o", str(output))
    assert told.exit_code == 0, told.output
    summary = json.loads(told.output)
    assert (summary["new"], summary["matched"], summary["differences"]["duration_differs"]) == (True, 1, 1)
    assert [json.loads(line)["cdr_id"] for line in output.read_text().splitlines()] == ["c1"]
    assert json.loads(run(*asked).output)["new"] is False
    record_format.write_text('caller = "nobody"\n')
    assert run(*asked).exit_code == 1
