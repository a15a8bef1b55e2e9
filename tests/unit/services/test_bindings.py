import asyncio
from itertools import count
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.services.lines.bindings import (
    BindingConflict,
    BindingNotFound,
    BindingRefused,
    create_binding,
    end_expired,
    set_expiry,
    unbind,
)
from engine.services.lines.carriers import permit
from engine.services.lines.number_allocation import allocate_to_agent, allocate_to_tenant
from engine.services.lines.numbers import XNumberInUse, XNumberNotFound
from engine.store.database import reading, reading_session, writing_session
from engine.store.directory_reader import read_changes
from engine.store.scope import AgentScope, Platform, Scope, TenantScope
from engine.store.tables import Agent, Binding, BindingParty, Carrier, Line, Rate, Tenant, Trunk, XNumber

NOW_MS = 1_800_000_000_000
TENANT = TenantScope(1)
X1, X2, X3 = "+861088880001", "+861088880002", "+861088880003"
A1, A2 = "+8613800138001", "+8613800138002"
B1, B2 = "+8613900139001", "+8613900139002"

_ids = count(1)


@pytest.fixture
async def stock(database: AsyncEngine) -> AsyncEngine:
    """Tenant 1 has agent 1 (A1), agent 3 without a phone, X1 (agent 1's) and X2; tenant 2 has agent 2 (A2) and X3."""
    async with writing_session(database, NOW_MS) as session:
        session.add_all(Tenant(code=code, name=code, created_at_ms=NOW_MS) for code in ("t1", "t2"))
        session.add_all([Carrier(code="c", name="c"), Rate(code="r", name="r", per_minute_micro=1)])
        await session.flush()
        session.add(Trunk(carrier_id=1, code="k", name="k", host="127.0.0.1", source_addresses=[]))
        session.add(Agent(tenant_id=1, code="1", name="1", phone=A1))
        session.add(Agent(tenant_id=2, code="1", name="1", phone=A2))
        session.add(Agent(tenant_id=1, code="3", name="3"))
        await session.flush()
        session.add(Line(carrier_id=1, trunk_id=1, rate_id=1, code="l", name="l"))
        await session.flush()
        session.add(XNumber(number=X1, line_id=1, tenant_id=1, agent_id=1))
        session.add(XNumber(number=X2, line_id=1, tenant_id=1))
        session.add(XNumber(number=X3, line_id=1, tenant_id=2))
    return database


async def _bind(database: AsyncEngine, scope: Any = TENANT, *, now_ms: int = NOW_MS, **values: Any) -> Binding:
    request: dict[str, Any] = {"x_number": X1, "a_number": A1, "b_number": B1, **values}
    async with writing_session(database, now_ms) as session:
        return await create_binding(session, scope, binding_id=f"b{next(_ids)}", now_ms=now_ms, **request)


async def _unbind(database: AsyncEngine, binding_id: str, scope: Scope = TENANT, now_ms: int = NOW_MS) -> None:
    async with writing_session(database, now_ms) as session:
        await unbind(session, scope, binding_id, now_ms)


async def _live(database: AsyncEngine) -> list[str]:
    async with reading_session(database) as session:
        bindings = (await session.scalars(select(Binding.id).where(Binding.ended_at_ms.is_(None)))).all()
        parties = (await session.scalars(select(BindingParty.binding_id))).all()
    assert sorted(parties) == sorted([*bindings, *bindings])
    return sorted(bindings)


async def test_fifty_bind_one_a_and_x_at_once(stock: AsyncEngine) -> None:
    results = await asyncio.gather(
        *(_bind(stock, b_number=f"+86139001390{number:02}") for number in range(50)), return_exceptions=True
    )
    winners = [result for result in results if isinstance(result, Binding)]
    conflicts = [result.side for result in results if isinstance(result, BindingConflict)]
    assert (len(winners), conflicts) == (1, ["a"] * 49)
    assert await _live(stock) == [winners[0].id]


async def test_one_b_is_bound_twice_on_one_x(stock: AsyncEngine) -> None:
    await _bind(stock)
    with pytest.raises(BindingConflict) as caught:
        await _bind(stock, a_number="13800138009")
    assert caught.value.side == "b"
    assert B1 not in str(caught.value)


async def test_a_refused_binding_leaves_something_behind(stock: AsyncEngine) -> None:
    first = await _bind(stock)
    async with reading(stock) as connection:
        since, _, _ = await read_changes(connection, 0)
    async with writing_session(stock, NOW_MS) as session:
        with pytest.raises(BindingConflict):
            await create_binding(
                session, TENANT, binding_id="refused", x_number=X1, a_number=A1, b_number=B2, now_ms=NOW_MS
            )
    assert await _live(stock) == [first.id]
    async with reading(stock) as connection:
        assert await read_changes(connection, since) == (since, [], [])


async def test_a_customer_is_bound_as_agent_on_the_same_x(stock: AsyncEngine) -> None:
    await _bind(stock)
    with pytest.raises(BindingConflict):
        await _bind(stock, a_number=B1, b_number=A1)
    with pytest.raises(BindingConflict):
        await _bind(stock, a_number=B1, b_number=B2)
    await _bind(stock, a_number=B1, b_number=A1, x_number=X2)


async def test_numbers_are_written_in_many_ways(stock: AsyncEngine) -> None:
    binding = await _bind(stock, x_number="010-8888 0001", a_number="13800138001", b_number="008613900139001")
    assert (binding.x_number_id, binding.a_number, binding.b_number) == (1, A1, B1)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"b_number": "hello"}, "b_number"),
        ({"a_number": ""}, "a_number"),
        ({"x_number": "1"}, "x_number"),
        ({"b_number": A1}, "b_number"),
        ({"b_number": X1}, "b_number"),
        ({"a_number": X1}, "a_number"),
        ({"x_number": X3}, "x_number"),
        ({"x_number": "+861088880009"}, "x_number"),
        ({"agent_id": 2}, "agent_id"),
        ({"agent_id": 99}, "agent_id"),
        ({"agent_id": 3, "a_number": None}, "a_number"),
        ({"a_number": None}, "a_number"),
        ({"expires_at_ms": NOW_MS}, "expires_at_ms"),
    ],
)
async def test_a_binding_that_cannot_be(stock: AsyncEngine, values: dict[str, Any], field: str) -> None:
    with pytest.raises(BindingRefused) as caught:
        await _bind(stock, **values)
    assert caught.value.field == field
    assert await _live(stock) == []


async def test_another_tenants_number_is_told_from_nobodys(stock: AsyncEngine) -> None:
    reasons = set()
    for number in (X3, "+861088880009"):
        with pytest.raises(BindingRefused) as caught:
            await _bind(stock, x_number=number)
        reasons.add(str(caught.value))
    assert len(reasons) == 1


async def test_an_agent_binds_what_is_not_his(stock: AsyncEngine) -> None:
    me = AgentScope(1, 1)
    for values, field in (({"x_number": X2}, "x_number"), ({"a_number": "13800138009"}, "a_number")):
        with pytest.raises(BindingRefused) as caught:
            await _bind(stock, me, **values)
        assert caught.value.field == field
    binding = await _bind(stock, me, a_number=None, agent_id=3)
    assert (binding.a_number, binding.agent_id) == (A1, 1)


async def test_an_agent_who_left_binds(stock: AsyncEngine) -> None:
    async with writing_session(stock, NOW_MS) as session:
        (await session.get_one(Agent, 1)).status = "left"
    with pytest.raises(BindingRefused, match="no active agent"):
        await _bind(stock, AgentScope(1, 1))


async def test_an_expired_binding_keeps_its_place(stock: AsyncEngine) -> None:
    first = await _bind(stock, expires_at_ms=NOW_MS + 1000)
    with pytest.raises(BindingConflict):
        await _bind(stock, b_number=B2, now_ms=NOW_MS + 999)
    second = await _bind(stock, b_number=B2, now_ms=NOW_MS + 1000)
    assert await _live(stock) == [second.id]
    async with reading_session(stock) as session:
        assert (await session.get_one(Binding, first.id)).ended_at_ms == NOW_MS + 1000
    async with reading(stock) as connection:
        _, _, removed = await read_changes(connection, 0)
    assert removed == [("bindings", first.id)]


async def test_an_ended_binding_keeps_its_place(stock: AsyncEngine) -> None:
    first = await _bind(stock)
    await _unbind(stock, first.id)
    second = await _bind(stock)
    assert await _live(stock) == [second.id]


@pytest.mark.parametrize("scope", [TenantScope(2), AgentScope(1, 3), AgentScope(2, 1)])
async def test_a_binding_is_ended_by_someone_else(stock: AsyncEngine, scope: Scope) -> None:
    binding = await _bind(stock, agent_id=1)
    with pytest.raises(BindingNotFound):
        await _unbind(stock, binding.id, scope)
    async with writing_session(stock, NOW_MS) as session:
        with pytest.raises(BindingNotFound):
            await set_expiry(session, scope, binding.id, None, NOW_MS)
    assert await _live(stock) == [binding.id]
    await _unbind(stock, binding.id, AgentScope(1, 1))


async def test_a_binding_is_ended_twice(stock: AsyncEngine) -> None:
    binding = await _bind(stock)
    await _unbind(stock, binding.id, Platform())
    with pytest.raises(BindingNotFound):
        await _unbind(stock, binding.id, Platform())


async def test_an_extended_binding_loses_its_place_at_the_old_time(stock: AsyncEngine) -> None:
    binding = await _bind(stock, expires_at_ms=NOW_MS + 1000)
    async with writing_session(stock, NOW_MS) as session:
        await set_expiry(session, TenantScope(1), binding.id, NOW_MS + 5000, NOW_MS)
    with pytest.raises(BindingConflict):
        await _bind(stock, b_number=B2, now_ms=NOW_MS + 4999)
    async with writing_session(stock, NOW_MS) as session:
        with pytest.raises(BindingNotFound):
            await set_expiry(session, TenantScope(1), binding.id, None, NOW_MS + 5000)


async def test_expired_bindings_pile_up(stock: AsyncEngine) -> None:
    await _bind(stock, expires_at_ms=NOW_MS + 1000)
    kept = await _bind(stock, x_number=X2, expires_at_ms=NOW_MS + 3000)
    async with writing_session(stock, NOW_MS + 2000) as session:
        assert await end_expired(session, NOW_MS + 2000) == 1
        assert await end_expired(session, NOW_MS + 2000) == 0
    assert await _live(stock) == [kept.id]


async def test_a_bound_number_goes_to_another_tenant(stock: AsyncEngine) -> None:
    binding = await _bind(stock)
    async with writing_session(stock, NOW_MS) as session:
        with pytest.raises(XNumberInUse):
            await allocate_to_tenant(session, Platform(), 1, 2, NOW_MS)
    await _unbind(stock, binding.id)
    async with writing_session(stock, NOW_MS) as session:
        await permit(session, 2, Carrier, 1, NOW_MS)
        x_number = await allocate_to_tenant(session, Platform(), 1, 2, NOW_MS)
        assert (x_number.tenant_id, x_number.agent_id) == (2, None)


async def test_a_tenant_allocates_what_is_not_its_own(stock: AsyncEngine) -> None:
    async with writing_session(stock, NOW_MS) as session:
        with pytest.raises(XNumberNotFound):
            await allocate_to_agent(session, TenantScope(1), 3, 1, NOW_MS)
        with pytest.raises(Exception, match="agent_id"):
            await allocate_to_agent(session, TenantScope(1), 1, 2, NOW_MS)
        assert (await allocate_to_agent(session, TenantScope(1), 2, 3, NOW_MS)).agent_id == 3
