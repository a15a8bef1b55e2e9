import asyncio

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.services.money.accounts import OverdraftInUse, set_overdraft_limit
from engine.store.database import reading, writing, writing_session
from engine.store.money.claim_store import BalanceTooLow, ClaimState, advance, advance_all, refund, transfer
from engine.store.money.lease_store import lease, release
from engine.store.money.ledger_check import differences
from engine.store.money.ledger_store import CallCharge, KeyReused, UnknownTenant, recharge, settle
from engine.store.tables import Account, Tenant

NOW_MS = 1_800_000_000_000
PENDING, DONE, DROPPED = ClaimState.PENDING, ClaimState.DONE, ClaimState.DROPPED


@pytest.fixture
async def tenants(database: AsyncEngine) -> AsyncEngine:
    """Tenants 1 and 2 have 1,000 and may go 500 below; an engine has leased 300 of each."""
    async with writing_session(database, NOW_MS) as session:
        session.add_all(Tenant(code=code, name=code, created_at_ms=NOW_MS) for code in ("t1", "t2"))
        await session.flush()
        session.add_all(Account(tenant_id=tenant_id, overdraft_limit_micro=500) for tenant_id in (1, 2))
        await session.flush()
        for tenant_id in (1, 2):
            await recharge(session, tenant_id, 1000, "opening", NOW_MS)
            assert await lease(await session.connection(), "e", tenant_id, 300) == 300
    return database


async def _account(database: AsyncEngine, tenant_id: int = 1) -> tuple[int, int, int, int]:
    async with reading(database) as connection:
        assert await differences(connection) == []
        row = (await connection.execute(select(Account).where(Account.tenant_id == tenant_id))).one()
    assert row.balance_micro + row.overdraft_limit_micro >= row.leased_micro
    return row.balance_micro, row.overdraft_limit_micro, row.leased_micro, row.claimed_micro


async def _refund(database: AsyncEngine, amount_micro: int, key: str = "k", tenant_id: int = 1) -> ClaimState:
    async with writing(database) as connection:
        return await refund(connection, tenant_id, amount_micro, key, NOW_MS)


async def _transfer(database: AsyncEngine, payer_id: int, payee_id: int, amount_micro: int, key: str) -> ClaimState:
    async with writing(database) as connection:
        return await transfer(connection, payer_id, payee_id, amount_micro, key, NOW_MS)


async def _lease_all(database: AsyncEngine) -> int:
    async with writing(database) as connection:
        return await lease(connection, "e", 1, 10_000)


async def _give_back(database: AsyncEngine, amount_micro: int) -> None:
    async with writing(database) as connection:
        await release(connection, "e", 1, amount_micro)
        await advance(connection, 1, NOW_MS)


async def test_a_refund_takes_what_calls_hold(tenants: AsyncEngine) -> None:
    assert await _lease_all(tenants) == 1200
    assert await _refund(tenants, 800) is PENDING
    await _give_back(tenants, 799)
    assert await _account(tenants) == (1000, 500, 701, 800)
    assert await _lease_all(tenants) == 0, "what comes back is not leased again"
    assert await _refund(tenants, 800) is PENDING
    await _give_back(tenants, 1)
    assert await _account(tenants) == (200, 500, 700, 0)
    assert await _refund(tenants, 800) is DONE
    with pytest.raises(KeyReused):
        await _refund(tenants, 801)


async def test_an_overdraft_is_paid_out(tenants: AsyncEngine) -> None:
    for amount_micro in (1001, 1400):
        with pytest.raises(BalanceTooLow):
            await _refund(tenants, amount_micro)
    assert await _refund(tenants, 1000) is DONE
    assert await _account(tenants) == (0, 500, 300, 0)
    with pytest.raises(BalanceTooLow):
        await _refund(tenants, 1, "k2")


async def test_money_leaves_that_calls_have_cost_meanwhile(tenants: AsyncEngine) -> None:
    await _lease_all(tenants)
    assert await _refund(tenants, 1000) is PENDING
    async with writing(tenants) as connection:
        await settle(connection, "e", [CallCharge(1, "c", 1, NOW_MS)])
    await _give_back(tenants, 1499)
    assert await _refund(tenants, 1000) is DROPPED
    assert await _account(tenants) == (999, 500, 0, 0)


async def test_a_transfer_has_one_side_or_comes_twice(tenants: AsyncEngine) -> None:
    assert await _transfer(tenants, 1, 2, 400, "k") is DONE
    assert await _transfer(tenants, 1, 2, 400, "k") is DONE
    assert [(await _account(tenants, tenant_id))[0] for tenant_id in (1, 2)] == [600, 1400]
    with pytest.raises(KeyReused):
        await _transfer(tenants, 1, 2, 401, "k")
    with pytest.raises(UnknownTenant):
        await _transfer(tenants, 1, 9, 1, "k2")
    with pytest.raises(ValueError, match="two sides"):
        await _transfer(tenants, 1, 1, 1, "k2")


async def test_transfers_both_ways_lock_each_other_out(tenants: AsyncEngine) -> None:
    async with asyncio.timeout(20):
        await asyncio.gather(*(_transfer(tenants, 1 + n % 2, 2 - n % 2, 10, f"k{n}") for n in range(40)))
    assert (await _account(tenants, 1), await _account(tenants, 2)) == ((1000, 500, 300, 0),) * 2


async def test_a_recharge_does_not_help_what_waits(tenants: AsyncEngine) -> None:
    await _lease_all(tenants)
    assert await _refund(tenants, 800) is PENDING
    async with writing_session(tenants, NOW_MS) as session:
        await recharge(session, 1, 800, "k", NOW_MS)
    async with writing(tenants) as connection:
        await advance_all(connection, NOW_MS)
    assert await _account(tenants) == (1000, 500, 1500, 0)


async def test_a_lowered_overdraft_is_replaced_or_comes_too_early(tenants: AsyncEngine) -> None:
    await _lease_all(tenants)

    async def set_limit(limit_micro: int) -> bool:
        async with writing_session(tenants, NOW_MS) as session:
            return await set_overdraft_limit(session, 1, limit_micro, NOW_MS)

    assert await set_limit(100)
    assert not await set_limit(100)
    assert await _account(tenants) == (1000, 500, 1500, 400)
    assert await set_limit(200)
    assert await _account(tenants) == (1000, 500, 1500, 300)
    await _give_back(tenants, 300)
    assert await _account(tenants) == (1000, 200, 1200, 0)
    assert await set_limit(0)
    assert await set_limit(250), "a higher one is in force at once"
    assert await _account(tenants) == (1000, 250, 1200, 0)
    async with writing(tenants) as connection:
        await settle(connection, "e", [CallCharge(1, "c", 1150, NOW_MS)])
    with pytest.raises(OverdraftInUse):
        await set_limit(149)
