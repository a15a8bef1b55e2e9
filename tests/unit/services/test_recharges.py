"""Recharges: late, doubled, forged in amount, told ten times at once; credited once."""

import asyncio

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.refusal import NotNow
from engine.payments.notice import Payment
from engine.services.money.recharges import (
    BY_HAND,
    PaymentDisputed,
    close_recharge,
    confirm_by_hand,
    create_recharge,
    take_payment,
)
from engine.store.database import reading, writing_session
from engine.store.money.ledger_check import differences
from engine.store.tables import Account, Tenant
from engine.store.tables.orders import Recharge

NOW_MS = 1_800_000_000_000
PAID = Payment("hmac", "ref-k", "trade", 5_000)


async def _create(database: AsyncEngine, key: str = "k", provider: str = "hmac", amount_micro: int = 5_000) -> int:
    async with writing_session(database, NOW_MS) as session:
        values = {"reference": f"ref-{key}", "provider": provider, "by": "w"}
        row = await create_recharge(session, 1, key=key, amount_micro=amount_micro, now_ms=NOW_MS, **values)
        return row.id


async def _pay(database: AsyncEngine, payment: Payment = PAID) -> bool:
    async with writing_session(database, NOW_MS) as session:
        return await take_payment(session, payment, NOW_MS)


async def _balance(database: AsyncEngine) -> int:
    async with reading(database) as connection:
        assert await differences(connection) == []
        return await connection.scalar(select(Account.balance_micro)) or 0


@pytest.fixture
async def tenant(database: AsyncEngine) -> AsyncEngine:
    async with writing_session(database, NOW_MS) as session:
        session.add(Tenant(code="t", name="T", created_at_ms=NOW_MS))
        await session.flush()
        session.add(Account(tenant_id=1))
    return database


async def test_a_notice_comes_ten_times_at_once(tenant: AsyncEngine) -> None:
    assert len(set(await asyncio.gather(*(_create(tenant) for _ in range(5))))) == 1
    assert sorted(await asyncio.gather(*(_pay(tenant) for _ in range(10)))) == [False] * 9 + [True]
    assert await _balance(tenant) == 5_000


async def test_a_notice_says_another_amount_or_pays_twice(tenant: AsyncEngine) -> None:
    await _create(tenant)
    with pytest.raises(PaymentDisputed):
        await _pay(tenant, Payment("hmac", "ref-k", "trade", 5_001))
    for stranger in (Payment("hmac", "ref-x", "trade", 5_000), Payment("alipay", "ref-k", "trade", 5_000)):
        with pytest.raises(PaymentDisputed):
            await _pay(tenant, stranger)
    assert await _balance(tenant) == 0
    await _pay(tenant)
    with pytest.raises(PaymentDisputed):
        await _pay(tenant, Payment("hmac", "ref-k", "another trade", 5_000))
    assert await _balance(tenant) == 5_000


async def test_a_late_payment_is_lost(tenant: AsyncEngine) -> None:
    row_id = await _create(tenant)
    async with writing_session(tenant, NOW_MS) as session:
        await close_recharge(session, await session.get_one(Recharge, row_id))
    assert await _pay(tenant)
    assert await _balance(tenant) == 5_000


async def test_two_confirm_by_hand_or_what_a_provider_is_to_say(tenant: AsyncEngine) -> None:
    by_hand, by_provider = await _create(tenant, "h", BY_HAND), await _create(tenant)

    async def confirm(row_id: int) -> None:
        async with writing_session(tenant, NOW_MS) as session:
            await confirm_by_hand(session, await session.get_one(Recharge, row_id), "boss", NOW_MS)

    outcomes = await asyncio.gather(*(confirm(by_hand) for _ in range(5)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", *["NotNow"] * 4]
    with pytest.raises(NotNow):
        await confirm(by_provider)
    assert await _balance(tenant) == 5_000
    with pytest.raises(NotNow):
        await _create(tenant, amount_micro=6_000)
