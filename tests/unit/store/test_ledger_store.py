import asyncio
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.store.database import reading, writing, writing_session
from engine.store.directory_reader import read_changes
from engine.store.money.lease_store import LeaseUnknown, lease, leases, release
from engine.store.money.ledger_check import differences, rebuild_balances
from engine.store.money.ledger_store import (
    CallCharge,
    KeyReused,
    Kind,
    PlatformAccount,
    Settlement,
    Unbalanced,
    UnknownTenant,
    correct,
    post,
    read_ledger,
    recharge,
    settle,
)
from engine.store.records.cdr_store import CDR_COLUMNS, write_cdrs
from engine.store.scope import AgentScope, Platform, Scope, TenantScope
from engine.store.sorting import PageWanted
from engine.store.tables import Account, CreditLease, LedgerEntry, LedgerTransaction, Tenant

NOW_MS = 1_800_000_000_000


@pytest.fixture
async def tenants(database: AsyncEngine) -> AsyncEngine:
    """Tenant 1 has 1,000 and may go 500 below, tenant 2 has 1,000."""
    async with writing_session(database, NOW_MS) as session:
        session.add_all(Tenant(code=code, name=code, created_at_ms=NOW_MS) for code in ("t1", "t2"))
        await session.flush()
        session.add(Account(tenant_id=1, balance_micro=1000, overdraft_limit_micro=500))
        session.add(Account(tenant_id=2, balance_micro=1000))
    return database


async def _account(database: AsyncEngine, tenant_id: int = 1) -> tuple[int, int]:
    """Balance and leased; and that the leases add up to the latter."""
    async with reading(database) as connection:
        row = (await connection.execute(select(Account).where(Account.tenant_id == tenant_id))).one()
        amounts = await connection.scalars(select(CreditLease.amount_micro).where(CreditLease.tenant_id == tenant_id))
        assert sum(amounts) == row.leased_micro
    return row.balance_micro, row.leased_micro


async def _recharge(database: AsyncEngine, amount_micro: int, key: str, tenant_id: int = 1) -> bool:
    async with writing_session(database, NOW_MS) as session:
        return await recharge(session, tenant_id, amount_micro, key, NOW_MS)


async def _lease(database: AsyncEngine, want_micro: int, engine_id: str = "e1", tenant_id: int = 1) -> int:
    async with writing(database) as connection:
        return await lease(connection, engine_id, tenant_id, want_micro)


async def _settle(database: AsyncEngine, *charges: CallCharge, engine_id: str = "e1") -> Settlement:
    async with writing(database) as connection:
        return await settle(connection, engine_id, charges)


async def test_a_recharge_is_sent_twice(tenants: AsyncEngine) -> None:
    assert await _recharge(tenants, 70, "k1")
    assert not await _recharge(tenants, 70, "k1")
    assert await _account(tenants) == (1070, 0)


async def test_fifty_recharges_at_once_lose_one(tenants: AsyncEngine) -> None:
    await asyncio.gather(*(_recharge(tenants, 10, f"k{number % 25}") for number in range(50)))
    assert await _account(tenants) == (1250, 0)


async def test_a_key_comes_again_with_another_amount(tenants: AsyncEngine) -> None:
    assert await _recharge(tenants, 70, "k1")
    with pytest.raises(KeyReused):
        await _recharge(tenants, 71, "k1")
    assert await _account(tenants) == (1070, 0)


async def test_two_tenants_choose_one_key(tenants: AsyncEngine) -> None:
    assert await _recharge(tenants, 70, "k1", tenant_id=1)
    assert await _recharge(tenants, 70, "k1", tenant_id=2)
    assert await _account(tenants, 2) == (1070, 0)


async def test_a_recharge_of_nobody_or_of_nothing(tenants: AsyncEngine) -> None:
    with pytest.raises(UnknownTenant):
        await _recharge(tenants, 70, "k1", tenant_id=9)
    for amount_micro in (0, -5, 10**18):
        with pytest.raises(ValueError, match="recharge"):
            await _recharge(tenants, amount_micro, "k1")


async def test_engines_do_not_hear_of_a_recharge(tenants: AsyncEngine) -> None:
    async with reading(tenants) as connection:
        since, _, _ = await read_changes(connection, 0)
    await _recharge(tenants, 70, "k1")
    async with reading(tenants) as connection:
        _, facts, _ = await read_changes(connection, since)
    assert [getattr(record, "balance_micro", None) for record in facts] == [1070]


async def test_engines_lease_more_than_there_is(tenants: AsyncEngine) -> None:
    granted = await asyncio.gather(*(_lease(tenants, 40, engine_id=f"e{number % 3}") for number in range(50)))
    assert sum(granted) == 1500
    assert sorted(set(granted)) == [0, 20, 40]
    assert await _account(tenants) == (1000, 1500)


async def test_a_lease_of_an_unknown_tenant(tenants: AsyncEngine) -> None:
    assert await _lease(tenants, 40, tenant_id=9) == 0


async def test_more_is_released_than_was_leased(tenants: AsyncEngine) -> None:
    assert await _lease(tenants, 40) == 40
    with pytest.raises(LeaseUnknown):
        async with writing(tenants) as connection:
            await release(connection, "e1", 1, 41)
    with pytest.raises(LeaseUnknown):
        async with writing(tenants) as connection:
            await release(connection, "e2", 1, 40)
    assert await _account(tenants) == (1000, 40)
    async with writing(tenants) as connection:
        await release(connection, "e1", 1, 40)
        assert await leases(connection, "e1") == {}
    assert await _account(tenants) == (1000, 0)


async def test_a_charge_is_posted_twice(tenants: AsyncEngine) -> None:
    await _lease(tenants, 400)
    await _lease(tenants, 300, tenant_id=2)
    charges = (CallCharge(1, "c1", 120, NOW_MS), CallCharge(1, "c2", 60, NOW_MS), CallCharge(2, "c3", 50, NOW_MS))
    assert await _settle(tenants, *charges) == Settlement(3, 0)
    assert await _settle(tenants, *charges, CallCharge(1, "c4", 20, NOW_MS)) == Settlement(1, 0)
    assert await _account(tenants, 1) == (800, 200)
    assert await _account(tenants, 2) == (950, 250)


async def test_a_charge_is_twice_in_one_batch(tenants: AsyncEngine) -> None:
    await _lease(tenants, 400)
    assert await _settle(tenants, *[CallCharge(1, "c1", 120, NOW_MS)] * 2) == Settlement(1, 0)
    assert await _account(tenants) == (880, 280)


async def test_a_charge_above_the_lease_blocks_those_after_it(tenants: AsyncEngine) -> None:
    await _lease(tenants, 100)
    assert await _settle(tenants, CallCharge(1, "c1", 120, NOW_MS)) == Settlement(1, 20)
    assert await _account(tenants) == (880, 0)
    assert await _settle(tenants, CallCharge(1, "c2", 30, NOW_MS), engine_id="new") == Settlement(1, 30)
    assert await _account(tenants) == (850, 0)


def _newest(below_id: int | None = None) -> PageWanted:
    after = None if below_id is None else (below_id,)
    return PageWanted(("id",), (LedgerEntry.transaction_id.expression,), True, after, 10)


async def test_a_free_call_leaves_an_entry(tenants: AsyncEngine) -> None:
    assert await _settle(tenants, CallCharge(1, "c1", 0, NOW_MS)) == Settlement(0, 0)
    async with reading(tenants) as connection:
        assert await read_ledger(connection, Platform(), 1, wanted=_newest()) == []


@pytest.mark.parametrize(
    ("scope", "seen"), [(Platform(), 2), (TenantScope(1), 2), (TenantScope(2), 0), (AgentScope(1, 1), 0)]
)
async def test_the_ledger_is_shown_to_others(tenants: AsyncEngine, scope: Scope, seen: int) -> None:
    await _recharge(tenants, 70, "k1")
    await _recharge(tenants, 80, "k2")
    async with reading(tenants) as connection:
        page = await read_ledger(connection, scope, 1, wanted=_newest())
        assert [row.amount_micro for row in page] == [80, 70][:seen]
        if page:
            below = await read_ledger(connection, scope, 1, wanted=_newest(page[0].id))
            assert [row.amount_micro for row in below] == [70]


@pytest.mark.parametrize("table", ["ledger_transactions", "ledger_entries"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
async def test_the_ledger_is_rewritten(tenants: AsyncEngine, table: str, statement: str) -> None:
    await _recharge(tenants, 70, "k1")
    if tenants.dialect.name == "sqlite" and statement.startswith("TRUNCATE"):
        return  # it has no such statement
    change = {"ledger_transactions": "note = 'x'", "ledger_entries": "amount_micro = 0"}[table]
    with pytest.raises(IntegrityError, match="append-only"):
        async with writing(tenants) as connection:
            await connection.exec_driver_sql(statement.format(table, change))
    assert await _account(tenants) == (1070, 0)


async def test_a_movement_has_one_side_alone(tenants: AsyncEngine) -> None:
    await _recharge(tenants, 70, "k1")
    await _lease(tenants, 100)
    await _settle(tenants, CallCharge(1, "c1", 40, NOW_MS), CallCharge(1, "c2", 5, NOW_MS))
    async with writing_session(tenants, NOW_MS) as session:
        assert await correct(session, 1, -7, "k2", NOW_MS)
    async with reading(tenants) as connection:
        rows = await connection.execute(
            select(LedgerTransaction.kind, LedgerEntry.account_id, LedgerEntry.amount_micro)
            .join(LedgerEntry, LedgerEntry.transaction_id == LedgerTransaction.id)
            .order_by(LedgerTransaction.id, LedgerEntry.account_id)
        )
        assert [tuple(row) for row in rows] == [
            ("recharge", PlatformAccount.PAYMENTS, -70),
            ("recharge", 1, 70),
            ("call_charge", PlatformAccount.REVENUE, 40),
            ("call_charge", 1, -40),
            ("call_charge", PlatformAccount.REVENUE, 5),
            ("call_charge", 1, -5),
            ("correction", PlatformAccount.CORRECTIONS, 7),
            ("correction", 1, -7),
        ]
    async with writing(tenants) as connection:
        for amounts in ({1: 5, 2: -4}, {1: 0}, {}):
            with pytest.raises(Unbalanced):
                await post(connection, Kind.CORRECTION, 1, "k3", amounts, NOW_MS)


async def test_a_balance_that_was_tampered_with_is_not_found(database: AsyncEngine) -> None:
    async with writing_session(database, NOW_MS) as session:
        session.add_all(Tenant(code=code, name=code, created_at_ms=NOW_MS) for code in ("t1", "t2"))
        await session.flush()
        session.add_all(Account(tenant_id=tenant_id) for tenant_id in (1, 2))
        await session.flush()
        for tenant_id in (1, 2):
            await recharge(session, tenant_id, 1000, "k1", NOW_MS)
    await _lease(database, 100)
    await _settle(database, CallCharge(1, "c1", 40, NOW_MS))
    assert await _differences(database) == []
    async with writing(database) as connection:
        await connection.exec_driver_sql("UPDATE accounts SET balance_micro = 961 WHERE tenant_id = 1")
        await connection.exec_driver_sql("UPDATE credit_leases SET amount_micro = 59")
        await connection.exec_driver_sql(
            "INSERT INTO ledger_transactions (tenant_id, kind, cause_id, created_at_ms, note)"
            " VALUES (2, 'recharge', 'x', 0, ''), (2, 'recharge', 'y', 0, '')"
        )
        await connection.exec_driver_sql("INSERT INTO ledger_entries VALUES (4, 2, 5), (4, 77, -4), (5, -2, 0)")
        row: dict[str, Any] = dict.fromkeys(CDR_COLUMNS)
        row |= {"id": "c2", "state": "ended", "started_at_ms": 1, "tenant_id": 1, "charge_micro": 9}
        row |= {"billed_seconds": 0, "package_seconds": 0}
        await write_cdrs(connection, [row])
    assert await _differences(database) == [
        "tenant 1: the balance is 961, its entries add up to 960",
        "tenant 2: the balance is 1000, its entries add up to 1005",
        "tenant 1: 60 is leased, the engines' leases add up to 59",
        "transaction 4: its 2 entries add up to 1",
        "transaction 5: its 1 entries add up to 0",
        "transaction 4: account 77 is nobody's",
        "CDR c2: it says 9, the ledger 0",
    ]
    async with writing(database) as connection:
        assert await rebuild_balances(connection, NOW_MS) == 2
        assert await rebuild_balances(connection, NOW_MS) == 0
    async with reading(database) as connection:
        assert (await connection.scalars(select(Account.balance_micro).order_by(Account.tenant_id))).all() == [
            960,
            1005,
        ]


async def _differences(database: AsyncEngine) -> list[str]:
    async with reading(database) as connection:
        return await differences(connection)
