import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import open_database, reading, reading_session, writing, writing_session
from engine.store.tables import Agent, Tenant

NOW_MS = 1_800_000_000_000


async def test_an_error_shows_a_number(database: AsyncEngine) -> None:
    with pytest.raises(IntegrityError) as caught:
        async with writing(database) as connection:
            await connection.execute(sa.insert(Agent).values(tenant_id=99, code="a", name="a", phone="+8613800138000"))
    assert "13800138000" not in str(caught.value)


async def test_writers_that_read_first_are_refused(database: AsyncEngine) -> None:
    # A DEFERRED transaction would fail with "database is locked" at its first write, without waiting.
    async def rename(number: int) -> None:
        async with writing_session(database, NOW_MS) as session:
            rows = (await session.scalars(sa.select(Tenant))).all()
            await asyncio.sleep(0)
            session.add(Tenant(code=f"t{number}", name=f"{len(rows)} before", created_at_ms=NOW_MS))

    await asyncio.gather(*(rename(number) for number in range(20)))
    async with reading(database) as connection:
        names = (await connection.scalars(sa.select(Tenant.name).order_by(Tenant.id))).all()
    assert names == [f"{number} before" for number in range(20)]


async def test_a_reader_waits_for_the_writer(database: AsyncEngine) -> None:
    async with writing(database) as connection:
        await connection.execute(sa.insert(Tenant).values(code="t", name="t", status="active", created_at_ms=1))
        async with reading_session(database) as session:
            assert (await session.scalars(sa.select(Tenant))).all() == []


async def test_a_read_sees_two_states(database: AsyncEngine) -> None:
    async with reading(database) as connection:
        assert await connection.scalar(sa.select(sa.func.count(Tenant.id))) == 0
        async with writing_session(database, NOW_MS) as session:
            session.add(Tenant(code="t", name="t", created_at_ms=1))
        assert await connection.scalar(sa.select(sa.func.count(Tenant.id))) == 0


async def test_the_folder_of_the_database_is_open_to_all(tmp_path: Path) -> None:
    engine = open_database(f"sqlite+aiosqlite:///{tmp_path}/new/deep/axbridge.sqlite3")
    await engine.dispose()
    assert (tmp_path / "new" / "deep").stat().st_mode & 0o777 == 0o700
