"""Databases for all tests: what stands on the store is tested on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.store.migrations import upgrade
from tests.postgresql import TEMPLATE, Cluster, Restorable


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """One cluster for all tests, with a migrated database to copy."""
    cluster = Cluster()
    try:
        cluster.start()
        asyncio.run(upgrade(cluster.url(cluster.create(TEMPLATE))))
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="session")
def migrated_database(postgresql: Cluster) -> Iterator[Restorable]:
    restorable = Restorable(postgresql, postgresql.create(template=TEMPLATE))
    yield restorable
    restorable.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "axbridge.sqlite3"
    asyncio.run(upgrade(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of the newest version, one of each kind."""
    if request.param == "sqlite":
        path = tmp_path / "axbridge.sqlite3"
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        yield f"sqlite+aiosqlite:///{path}"
        return
    migrated: Restorable = request.getfixturevalue("migrated_database")
    migrated.restore()
    yield migrated.url


@pytest.fixture(autouse=True)
def _environment_as_it_was() -> Iterator[None]:
    """The command line leaves AXBRIDGE_CONFIG for processes that it starts: a later test's must not read it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
