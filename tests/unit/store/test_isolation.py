from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import aliased

from engine.store.access.audit import Actor, ActorKind
from engine.store.database import reading_session, writing_session
from engine.store.isolation import Trespass, owned_tables
from engine.store.tables import Account, Agent, Binding, Carrier, Tenant, User, Webhook, XNumber
from engine.store.tables.identity import Role

TENANT_1 = Actor(ActorKind.USER, "somebody of tenant 1", user_id=1, tenant_id=1)


@pytest.fixture
async def two_tenants(database: AsyncEngine) -> AsyncEngine:
    async with writing_session(database, 1) as session:
        session.add_all(Tenant(code=f"t{n}", name=f"Tenant {n}", created_at_ms=1) for n in (1, 2))
        session.add(Carrier(code="c", name="Carrier"))
        await session.flush()
        session.add_all(Account(tenant_id=n) for n in (1, 2))
        session.add_all(Agent(tenant_id=n, code="a", name=f"Agent {n}") for n in (1, 2))
        for tenant_id in (1, 2):
            role = Role(tenant_id=tenant_id, audience="agent", name="own")
            role.permissions = []
            session.add(role)
    return database


@pytest.fixture
async def of_tenant_1(two_tenants: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with reading_session(two_tenants, 1) as session:
        yield session


async def test_a_query_without_its_tenant_sees_another(of_tenant_1: AsyncSession) -> None:
    other = aliased(Agent)
    for statement in (
        select(Agent.name),
        select(Agent).with_only_columns(Agent.name),
        select(other.name),
        select(Agent.name).where(Agent.id.in_(select(Agent.id))),
        select(Agent.name).join(Tenant, Tenant.id == Agent.tenant_id),
        select(Agent.name).where(Agent.tenant_id == 2).union_all(select(Agent.name)),
    ):
        assert (await of_tenant_1.scalars(statement)).all() == ["Agent 1"], str(statement)
    assert await of_tenant_1.scalar(select(func.count()).select_from(Agent)) == 1
    assert await of_tenant_1.scalar(select(func.count(Agent.id))) == 1
    assert await of_tenant_1.get(Agent, 2) is None
    assert await of_tenant_1.get(Account, 2) is None
    assert (await of_tenant_1.scalars(select(Tenant.name))).all() == ["Tenant 1"]
    assert len((await of_tenant_1.scalars(select(Carrier))).all()) == 1, "what is nobody's is not hidden"
    roles = (await of_tenant_1.scalars(select(Role))).all()
    assert {role.tenant_id for role in roles} == {None, 1}


async def test_the_platform_is_confined(two_tenants: AsyncEngine) -> None:
    async with reading_session(two_tenants) as session:
        assert len((await session.scalars(select(Agent))).all()) == 2
    async with writing_session(two_tenants, 1, Actor(ActorKind.USER, "platform")) as session:
        assert len((await session.scalars(select(Agent))).all()) == 2


async def test_a_tenants_session_writes_anothers_row(two_tenants: AsyncEngine) -> None:
    async with writing_session(two_tenants, 1, TENANT_1) as session:
        await session.execute(update(User).values(status="suspended"))
        await session.execute(update(Role).where(Role.name == "own").values(name="mine"))
        assert await session.get(Agent, 2) is None
    async with reading_session(two_tenants) as session:
        assert (await session.scalars(select(Role.tenant_id).where(Role.name == "mine"))).all() == [1]
    for tenant_id in (2, 3):
        with pytest.raises(Trespass):
            async with writing_session(two_tenants, 1, TENANT_1) as session:
                session.add(Agent(tenant_id=tenant_id, code="b", name="B"))
    with pytest.raises(Trespass):
        async with writing_session(two_tenants, 1, TENANT_1) as session:
            (await session.get_one(Agent, 1)).tenant_id = 2


def test_a_table_with_a_tenant_is_in_no_list() -> None:
    assert {Tenant, Account, Agent, User, XNumber, Binding, Webhook, Role} <= set(owned_tables())
