from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import open_database
from engine.store.migrations import upgrade


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'axbridge.sqlite3'}"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    await upgrade(database_url)
    engine = open_database(database_url)
    yield engine
    await engine.dispose()
