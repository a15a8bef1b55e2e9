"""The tests' own world: what it refuses, so that a test fails at once and not now and then."""

import asyncio

import pytest
from litestar.testing import TestClient
from sqlalchemy import select

from engine.store.database import reading
from engine.store.tables import Tenant

from .conftest import OfAnotherLoop, World


async def _count(world: World) -> int:
    async with reading(world.context.database) as connection:
        return len((await connection.execute(select(Tenant.id))).all())


async def test_a_connection_is_lent_to_another_loop(world: World) -> None:
    assert await _count(world) == 2
    with pytest.raises(OfAnotherLoop):
        await asyncio.to_thread(lambda: asyncio.run(_count(world)))
    assert await _count(world) == 2


async def test_an_application_elsewhere_has_the_test_s_connections(world: World) -> None:
    assert await _count(world) == 2
    token = await world.token("platform")

    def ask() -> int:
        with TestClient(world.elsewhere()) as client:
            return client.get("/api/platform/tenants", headers={"Authorization": f"Bearer {token}"}).status_code

    assert await asyncio.to_thread(ask) == 200
    assert await _count(world) == 2
