"""Several engines' books over one database: the last of a tenant's credit is used, and used once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.facts import AccountFacts, Facts
from engine.domain.money.credit_book import REFUSED, CreditBook
from engine.runtime.change_follower import ChangeFollower
from engine.runtime.credit.lease_desk import LeaseDesk
from engine.store.database import reading, writing, writing_session
from engine.store.money.claim_store import ClaimState, refund
from engine.store.money.lease_store import LEASE_MS, LeaseAlive, lease, leases, renew, void_leases
from engine.store.money.ledger_check import differences
from engine.store.money.ledger_store import CallCharge, recharge, settle
from engine.store.tables import Account, Tenant

TENANT = 1
NOW_MS = 1_800_000_000_000


class Node:
    """What of an engine has to do with money: calls are numbers, and their holds answers to come."""

    def __init__(self, database: AsyncEngine, engine_id: str, lease_micro: int) -> None:
        self.database = database
        self.engine_id = engine_id
        self.book: CreditBook[asyncio.Future[int]] = CreditBook(lease_micro)
        self.desk = LeaseDesk(database, engine_id, self._answered, credit=self.book, now_ms=lambda: NOW_MS)
        self.follower = ChangeFollower(database, poll_seconds=0.02, apply=self._apply, remove=lambda *_: None)
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.follower.start()
        self.tasks = [asyncio.create_task(self.desk.run()), asyncio.create_task(self.follower.run())]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def hold(self, wanted_micro: int, least_micro: int) -> int:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        held = self.book.hold(TENANT, wanted_micro, least_micro, answer)
        self._commit()
        return await answer if held is None else held

    async def post(self, held_micro: int, charge_micro: int, cdr_id: str) -> None:
        self.book.post(TENANT, held_micro, charge_micro)
        self._commit()
        async with writing(self.database) as connection:
            settlement = await settle(connection, self.engine_id, [CallCharge(TENANT, cdr_id, charge_micro, NOW_MS)])
        assert settlement.beyond_lease_micro == 0

    def _answered(self, tenant_id: int, granted_micro: int | None) -> None:
        for answer, held_micro in self.book.lease_answered(tenant_id, granted_micro):
            answer.set_result(held_micro)
        self._commit()

    def _apply(self, facts: Iterable[Facts]) -> None:
        for fact in facts:
            if isinstance(fact, AccountFacts):
                self.book.account_told(fact)
                self.book.account_changed(fact.tenant_id)
        self._commit()

    def _commit(self) -> None:
        requests, self.book.lease_requests = self.book.lease_requests, []
        returns, self.book.lease_returns = self.book.lease_returns, []
        self.desk.request(requests)
        self.desk.give_back(returns)


MakeNode = Callable[..., Awaitable[Node]]


@pytest.fixture
async def node(database: AsyncEngine) -> AsyncIterator[MakeNode]:
    started: list[Node] = []

    async def make(engine_id: str, lease_micro: int = 1000) -> Node:
        started.append(made := Node(database, engine_id, lease_micro))
        await made.start()
        return made

    yield make
    for each in started:
        await each.stop()
    async with reading(database) as connection:
        assert await differences(connection) == []


async def _open_account(database: AsyncEngine, balance_micro: int) -> None:
    async with writing_session(database, NOW_MS) as session:
        session.add(Tenant(id=TENANT, code="t", name="t", created_at_ms=NOW_MS))
        await session.flush()
        session.add(Account(tenant_id=TENANT))
        await session.flush()
        await recharge(session, TENANT, balance_micro, "opening", NOW_MS)


async def _account(database: AsyncEngine) -> Any:
    async with reading(database) as connection:
        return (await connection.execute(Account.__table__.select())).one()


async def test_fifty_calls_on_two_engines_use_more_or_less_than_the_credit_for_one(
    database: AsyncEngine, node: MakeNode
) -> None:
    await _open_account(database, 60)
    nodes = [await node("e1"), await node("e2")]
    held = await asyncio.gather(*(nodes[number % 2].hold(60, 60) for number in range(50)))
    assert sorted(held) == [REFUSED] * 49 + [60]
    await nodes[held.index(60) % 2].post(60, 60, "c")
    account = await _account(database)
    assert (account.balance_micro, account.leased_micro) == (0, 0)


async def test_free_credit_stays_with_an_engine_that_does_not_need_it(database: AsyncEngine, node: MakeNode) -> None:
    await _open_account(database, 100)
    first = await node("e1")
    assert await first.hold(30, 30) == 30
    assert first.book.credit_of(TENANT).leased_micro == 100
    second = await node("e2")
    assert await second.hold(60, 60) == 60
    assert await second.hold(60, 10) == 10, "the last of it, in part"
    assert await first.hold(1, 1) == REFUSED
    await first.post(30, 5, "c1")  # 25 come free
    assert await second.hold(20, 20) == 20


async def test_a_tenant_is_refused_while_others_lease_ahead(database: AsyncEngine, node: MakeNode) -> None:
    """Two engines with calls in turn, each of which would like to lease everything ahead."""
    await _open_account(database, 600)
    nodes = [await node("e1"), await node("e2")]
    for number in range(19):
        each = nodes[number % 2]
        assert await each.hold(60, 60) == 60, number
        await each.post(60, 30, f"c{number}")
    account = await _account(database)
    assert account.balance_micro == 30
    assert await nodes[1].hold(60, 30) == 30
    assert await nodes[0].hold(1, 1) == REFUSED


async def test_an_engine_that_leases_anew_spends_what_was_voided(database: AsyncEngine, node: MakeNode) -> None:
    await _open_account(database, 100)
    first = await node("e1")
    assert await first.hold(30, 30) == 30
    await first.stop()
    async with writing(database) as connection:
        assert await void_leases(connection, "e1", NOW_MS + LEASE_MS) == {TENANT: 100}
        assert await lease(connection, "e1", TENANT, 60, NOW_MS) == 60
    credit = first.book.credit_of(TENANT)
    credit.leased_micro += 60
    for leased_micro in (160, 60, 60):  # it is sure the second time
        await first.desk._renew()
        assert credit.leased_micro == leased_micro
    assert credit.free_micro == 30


async def test_a_lost_engine_keeps_its_credit_for_ever_or_loses_it_while_it_lives(
    database: AsyncEngine, node: MakeNode
) -> None:
    await _open_account(database, 100)
    first = await node("e1")
    assert await first.hold(30, 30) == 30
    await first.stop()  # else it may read in the feed that there is credit again, and lease it before we look
    async with writing(database) as connection:
        with pytest.raises(LeaseAlive):
            await void_leases(connection, "e1", NOW_MS + LEASE_MS - 1)
        assert await void_leases(connection, "e1", NOW_MS + LEASE_MS) == {TENANT: 100}
        assert await leases(connection, "e1") == {}
        assert await renew(connection, "e1", NOW_MS) == {}
    await first.desk._renew()
    assert first.book.credit_of(TENANT).free_micro == 0, "what was voided is not spent"
    second = await node("e2")
    assert await second.hold(100, 100) == 100


async def test_money_leaves_in_mid_call_and_talk_goes_on_for_nothing(database: AsyncEngine, node: MakeNode) -> None:
    await _open_account(database, 100)
    nodes = [await node("e1"), await node("e2")]
    assert [await each.hold(20, 20) for each in nodes] == [20, 20]

    async def refunded() -> ClaimState:
        async with writing(database) as connection:
            return await refund(connection, TENANT, 70, "k", NOW_MS)

    async def until(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(5):
            while not await condition():
                await asyncio.sleep(0.02)

    async def only_what_calls_hold_is_leased() -> bool:
        return bool((await _account(database)).leased_micro == 40)

    assert await refunded() is ClaimState.PENDING
    await until(only_what_calls_hold_is_leased)
    assert await refunded() is ClaimState.PENDING
    assert [await each.hold(20, 20) for each in nodes] == [REFUSED] * 2, "no further slice"
    await nodes[0].post(20, 10, "c1")

    async def is_done() -> bool:
        return await refunded() is ClaimState.DONE

    await until(is_done)
    await nodes[1].post(20, 20, "c2")
    assert (await _account(database)).balance_micro == 0
