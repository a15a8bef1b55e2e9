"""The whole system on PostgreSQL: API, engine, media, a call, its record and its money."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from engine.store.database import open_database, reading
from engine.store.tables import Account, Cdr, Recording
from tests.postgresql import Cluster
from tests.system.conftest import Started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


async def _books(database_url: str) -> tuple[list[Any], Any, int]:
    database = open_database(database_url)
    try:
        async with reading(database) as connection:
            cdrs = (await connection.execute(select(Cdr.state, Cdr.cause, Cdr.charge_micro))).all()
            account = (await connection.execute(select(Account.balance_micro, Account.leased_micro))).one()
            recordings = len((await connection.scalars(select(Recording.sha256))).all())
            return list(cdrs), account, recordings
    finally:
        await database.dispose()


def test_a_call_and_its_money_do_not_reach_postgresql(
    demo: Path, environment: dict[str, str], tmp_path: Path, starts: list[Started], postgresql: Cluster
) -> None:
    url = postgresql.url(postgresql.create())
    environment["AXBRIDGE_STORE__DATABASE_URL"] = url
    starts.append(Started(demo, environment, tmp_path))
    starts[0].wait_for("axbridge is up", 90.0)
    with httpx.Client(base_url=f"http://127.0.0.1:{environment['AXBRIDGE_API__PORT']}") as client:
        token = client.post("/api/login", json={"login": "boss", "password": "demo-tenant-password"}).json()["token"]
        answer = client.get("/api/tenant/cdrs", headers={"Authorization": f"Bearer {token}"}).raise_for_status()
        (shown,) = answer.json()["items"]
    starts[0].interrupt()
    cdrs, account, recordings = asyncio.run(_books(url))
    assert [tuple(cdr) for cdr in cdrs] == [("ended", "normal", shown["charge_micro"])]
    assert shown["charge_micro"] > 0
    assert tuple(account) == (100_000_000 - shown["charge_micro"], 0), "charged, and the lease given back"
    assert recordings == 1
    checked = subprocess.run(
        [sys.executable, "-m", "engine", "check-ledger"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout) == (0, b"balances, leases and CDRs are as the ledger says\n")
    assert not (tmp_path / "data" / "axbridge.sqlite3").exists()
