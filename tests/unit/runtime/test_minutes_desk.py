"""Several engines' minutes over one database: the last of a bucket is used, once, and a lost engine's comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.facts import Facts
from engine.domain.money.package_minutes import MinutesBook, MinutesBucket, Parts
from engine.runtime.change_follower import ChangeFollower
from engine.runtime.credit.minutes_desk import MinutesDesk
from engine.store.database import reading, writing, writing_session
from engine.store.money.lease_store import LEASE_MS, LeaseAlive
from engine.store.money.minutes_store import (
    MinutesUsed,
    buy_minutes,
    minutes_leases,
    settle_minutes,
    uneven_buckets,
    void_minutes_leases,
)
from engine.store.tables import Tenant

BUCKET = 1
NOW_MS = 1_800_000_000_000


class Node:
    """What of an engine has to do with minutes: calls are answers to come."""

    def __init__(self, database: AsyncEngine, engine_id: str) -> None:
        self.database = database
        self.engine_id = engine_id
        self.book: MinutesBook[asyncio.Future[Parts]] = MinutesBook(3600)
        self.desk = MinutesDesk(database, engine_id, self._answered, book=self.book, now_ms=lambda: NOW_MS)
        self.follower = ChangeFollower(database, poll_seconds=0.02, apply=self._apply, remove=lambda *_: None)
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.follower.start()
        self.tasks = [asyncio.create_task(self.desk.run()), asyncio.create_task(self.follower.run())]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def hold(self, seconds: int) -> Parts:
        answer: asyncio.Future[Parts] = asyncio.get_running_loop().create_future()
        held = self.book.hold((BUCKET,), seconds, answer)
        self._commit()
        return await answer if held is None else held

    async def post(self, held: Parts, used_seconds: int, cdr_id: str) -> int:
        used = ((BUCKET, used_seconds),)
        self.book.post(held, used)
        self._commit()
        async with writing(self.database) as connection:
            return await settle_minutes(connection, self.engine_id, [MinutesUsed(cdr_id, BUCKET, used_seconds, NOW_MS)])

    def _answered(self, bucket_id: int, granted_seconds: int | None) -> None:
        for answer, parts in self.book.lease_answered(bucket_id, granted_seconds):
            answer.set_result(parts)
        self._commit()

    def _apply(self, facts: Iterable[Facts]) -> None:
        for fact in facts:
            if isinstance(fact, MinutesBucket):
                self.book.bucket_changed(fact.id, wanted_seconds=fact.wanted_seconds)
        self._commit()

    def _commit(self) -> None:
        requests, self.book.lease_requests = self.book.lease_requests, []
        returns, self.book.lease_returns = self.book.lease_returns, []
        if requests:
            self.desk.request(requests)
        if returns:
            self.desk.return_unused(returns)


MakeNode = Callable[[str], Awaitable[Node]]


@pytest.fixture
async def bought(database: AsyncEngine) -> AsyncEngine:
    """A bucket of an hour."""
    async with writing_session(database, NOW_MS) as session:
        session.add(Tenant(code="t", name="T", created_at_ms=NOW_MS))
        await session.flush()
        await buy_minutes(session, 1, "order", 3600, starts_at_ms=NOW_MS, expires_at_ms=NOW_MS + 10**9)
    return database


@pytest.fixture
async def make_node(bought: AsyncEngine) -> AsyncIterator[MakeNode]:
    nodes: list[Node] = []

    async def make(engine_id: str) -> Node:
        nodes.append(Node(bought, engine_id))
        await nodes[-1].start()
        return nodes[-1]

    yield make
    for node in nodes:
        await node.stop()
    async with reading(bought) as connection:
        assert await uneven_buckets(connection) == []


async def test_an_engine_s_idle_minutes_are_out_of_reach(make_node: MakeNode, bought: AsyncEngine) -> None:
    first, second = await make_node("e1"), await make_node("e2")
    held = await first.hold(60)
    assert first.book.minutes_of(BUCKET).leased_seconds == 3600, "all of it, for one call"
    assert await second.hold(120) == ((BUCKET, 120),)
    assert first.book.minutes_of(BUCKET).scarce
    assert await first.post(held, 60, "cdr1") == 0
    assert await first.hold(60) == ((BUCKET, 60),)
    async with reading(bought) as connection:
        assert (await minutes_leases(connection, "e2"))[BUCKET] < 3600, "no more than its calls need"


async def test_calls_on_two_engines_hold_more_than_there_is(make_node: MakeNode) -> None:
    nodes = [await make_node(f"e{n}") for n in range(3)]
    holds = await asyncio.gather(*(node.hold(600) for node in nodes for _ in range(4)))
    assert 2400 <= sum(seconds for parts in holds for _, seconds in parts) <= 3600


async def test_nobody_has_any_and_a_call_waits_for_ever(make_node: MakeNode) -> None:
    first, second = await make_node("e1"), await make_node("e2")
    assert await first.hold(3600) == ((BUCKET, 3600),)
    began = asyncio.get_running_loop().time()
    assert await second.hold(60) == ()
    assert asyncio.get_running_loop().time() - began < 5


async def test_a_lost_engine_s_minutes_are_lost(make_node: MakeNode, bought: AsyncEngine) -> None:
    lost = await make_node("e1")
    held = await lost.hold(60)
    with pytest.raises(LeaseAlive):
        async with writing(bought) as connection:
            await void_minutes_leases(connection, "e1", NOW_MS + LEASE_MS - 1)
    await lost.stop()
    async with writing(bought) as connection:
        assert await void_minutes_leases(connection, "e1", NOW_MS + LEASE_MS) == {BUCKET: 3600}
        assert await void_minutes_leases(connection, "e1", NOW_MS + LEASE_MS) == {}
    other = await make_node("e2")
    assert await other.hold(600) == ((BUCKET, 600),)
    await other.desk.give_back(other.book.free_by_bucket())
    # It comes back after all: what is free is no longer its own, and what its call used is beyond any lease.
    await lost.desk.renew()
    assert lost.book.minutes_of(BUCKET).free_seconds == 0
    assert await lost.post(held, 30, "cdr1") == 30


async def test_an_engine_that_renews_is_voided(make_node: MakeNode, bought: AsyncEngine) -> None:
    node = await make_node("e1")
    await node.hold(60)
    async with writing(bought) as connection:
        with pytest.raises(LeaseAlive):
            await void_minutes_leases(connection, "e1", NOW_MS)
    await node.desk.renew()
    assert node.book.minutes_of(BUCKET).free_seconds == 3540
