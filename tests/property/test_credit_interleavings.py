"""Two engines and an administrator on one account, in any order: no credit is used twice, none is lost."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from engine.domain.facts import AccountFacts
from engine.domain.money.credit_book import REFUSED, CreditBook
from engine.services.money.accounts import OverdraftInUse, set_overdraft_limit
from engine.store.database import open_database, reading, writing, writing_session
from engine.store.money.claim_store import BalanceTooLow, advance, refund, transfer
from engine.store.money.lease_store import lease, leases, release
from engine.store.money.ledger_check import differences
from engine.store.money.ledger_store import CallCharge, recharge, settle
from engine.store.tables import Account, Tenant

ENGINES = st.sampled_from(("e1", "e2"))
TENANTS = st.sampled_from((1, 1, 1, 2))  # most meet at one account
AMOUNTS = st.integers(1, 400)
HOLDS = st.tuples(st.integers(1, 150), st.integers(1, 150))
MOSTLY = st.sampled_from((True, True, True, False))
NOW_MS = 1_800_000_000_000


class Node:
    """An engine's book; what it asks of the database is done by rules of its own, so that anything may come between."""

    def __init__(self, engine_id: str, lease_micro: int) -> None:
        self.engine_id = engine_id
        self.book: CreditBook[int] = CreditBook(lease_micro)
        self.held: dict[int, tuple[int, int]] = {}
        """Micro-units by call, with the tenant."""
        self.asking: dict[int, int] = {}
        self.returns: list[tuple[int, int]] = []
        self.charges: list[CallCharge] = []
        self.ever_held_micro = 0

    def took(self, call: int, tenant_id: int, held_micro: int | None) -> None:
        if held_micro is not None and held_micro != REFUSED:
            self.held[call] = (tenant_id, held_micro)
            self.ever_held_micro += held_micro

    def commit(self) -> None:
        self.asking |= dict(self.book.lease_requests)
        self.returns += self.book.lease_returns
        self.book.lease_requests, self.book.lease_returns = [], []


class Interleavings(RuleBasedStateMachine):
    migrated: Path

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copy(self.migrated, self.folder / "a.sqlite3")
        self.database = open_database(f"sqlite+aiosqlite:///{self.folder}/a.sqlite3")
        self.calls = 0
        self.keys = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize(lease_micro=st.sampled_from((1, 100, 1000)), balance=AMOUNTS, limit=st.integers(0, 300))
    def begin(self, lease_micro: int, balance: int, limit: int) -> None:
        self.nodes = {engine_id: Node(engine_id, lease_micro) for engine_id in ("e1", "e2")}

        async def work() -> None:
            async with writing_session(self.database, NOW_MS) as session:
                for tenant_id in (1, 2):
                    session.add(Tenant(id=tenant_id, code=f"t{tenant_id}", name="t", created_at_ms=NOW_MS))
                await session.flush()
                session.add_all(Account(tenant_id=tenant_id, overdraft_limit_micro=limit) for tenant_id in (1, 2))
                await session.flush()
                for tenant_id in (1, 2):
                    await recharge(session, tenant_id, balance, "opening", NOW_MS)

        self.run(work())

    # The engines --------------------------------------------------------------------------------------------------

    @rule(engine_id=ENGINES, tenant_id=TENANTS, holds=st.lists(HOLDS, min_size=1, max_size=4), at_once=MOSTLY)
    def calls_hold(self, engine_id: str, tenant_id: int, holds: list[tuple[int, int]], at_once: bool) -> None:
        node = self.nodes[engine_id]
        for wanted, least in holds:
            self.calls += 1
            node.took(
                self.calls, tenant_id, node.book.hold(tenant_id, max(wanted, least), min(wanted, least), self.calls)
            )
        node.commit()
        if at_once:
            self.leases_are_asked_for(engine_id)

    @precondition(lambda self: any(node.held for node in self.nodes.values()))
    @rule(data=st.data(), share=st.integers(0, 100))
    def a_call_ends(self, data: st.DataObject, share: int) -> None:
        node = data.draw(st.sampled_from([node for node in self.nodes.values() if node.held]))
        call = data.draw(st.sampled_from(sorted(node.held)))
        tenant_id, held_micro = node.held.pop(call)
        charge_micro = held_micro * share // 100
        node.book.post(tenant_id, held_micro, charge_micro)
        node.charges.append(CallCharge(tenant_id, f"call-{call}", charge_micro, NOW_MS))
        node.commit()

    @rule(engine_id=ENGINES)
    def leases_are_asked_for(self, engine_id: str) -> None:
        node = self.nodes[engine_id]
        asking, node.asking = node.asking, {}

        async def ask(tenant_id: int, wanted_micro: int) -> int:
            async with writing(self.database) as connection:
                return await lease(connection, engine_id, tenant_id, wanted_micro)

        for tenant_id, wanted_micro in asking.items():
            for call, held in node.book.lease_answered(tenant_id, self.run(ask(tenant_id, wanted_micro))):
                node.took(call, tenant_id, held)
        node.commit()

    @rule(engine_id=ENGINES)
    def leases_are_given_back(self, engine_id: str) -> None:
        node = self.nodes[engine_id]
        returns, node.returns = node.returns, []

        async def work() -> None:
            for tenant_id, amount_micro in returns:
                async with writing(self.database) as connection:
                    await release(connection, engine_id, tenant_id, amount_micro)
                    await advance(connection, tenant_id, NOW_MS)

        self.run(work())

    @rule(engine_id=ENGINES, twice=st.booleans())
    def charges_are_settled(self, engine_id: str, twice: bool) -> None:
        node = self.nodes[engine_id]
        charges, node.charges = node.charges, []

        async def work() -> None:
            for _ in range(1 + twice):
                async with writing(self.database) as connection:
                    assert (await settle(connection, engine_id, charges)).beyond_lease_micro == 0

        self.run(work())

    @rule(engine_id=ENGINES, at_once=MOSTLY)
    def an_engine_follows(self, engine_id: str, at_once: bool) -> None:
        for row in self.run(self._accounts()):
            account = AccountFacts(
                row.tenant_id,
                row.balance_micro,
                row.overdraft_limit_micro,
                row.leased_micro,
                row.claimed_micro,
                row.wanted_micro,
            )
            self.nodes[engine_id].book.account_told(account)
            self.nodes[engine_id].book.account_changed(row.tenant_id)
        self.nodes[engine_id].commit()
        if at_once:
            self.leases_are_given_back(engine_id)

    # The administrator --------------------------------------------------------------------------------------------

    @rule(tenant_id=TENANTS, amount=AMOUNTS)
    def money_comes(self, tenant_id: int, amount: int) -> None:
        async def work() -> None:
            async with writing_session(self.database, NOW_MS) as session:
                await recharge(session, tenant_id, amount, self._key(), NOW_MS)

        self.run(work())

    @rule(tenant_id=TENANTS, amount=AMOUNTS)
    def money_is_refunded(self, tenant_id: int, amount: int) -> None:
        async def work() -> None:
            async with writing(self.database) as connection:
                await refund(connection, tenant_id, amount, self._key(), NOW_MS)

        self._allowed(work(), BalanceTooLow)

    @rule(payer_id=TENANTS, amount=AMOUNTS)
    def money_is_transferred(self, payer_id: int, amount: int) -> None:
        async def work() -> None:
            async with writing(self.database) as connection:
                await transfer(connection, payer_id, 3 - payer_id, amount, self._key(), NOW_MS)

        self._allowed(work(), BalanceTooLow)

    @rule(tenant_id=TENANTS, limit=st.integers(0, 400))
    def the_overdraft_changes(self, tenant_id: int, limit: int) -> None:
        self.keys += 1

        async def work() -> None:
            async with writing_session(self.database, NOW_MS) as session:
                await set_overdraft_limit(session, tenant_id, limit, NOW_MS + self.keys)

        self._allowed(work(), OverdraftInUse)

    # What always holds --------------------------------------------------------------------------------------------

    @invariant()
    def all_is_accounted_for(self) -> None:
        for row in self.run(self._accounts()):
            assert row.balance_micro >= -row.overdraft_limit_micro
            assert row.balance_micro + row.overdraft_limit_micro >= row.leased_micro >= 0
            assert row.claimed_micro >= 0
        assert self.run(self._differences()) == []

    @invariant()
    def what_was_held_is_held_posted_or_voided(self) -> None:
        for node in self.nodes.values():
            kept = [node.book.credit_of(tenant_id) for tenant_id in (1, 2)]
            ended = sum(credit.posted_micro + credit.voided_micro for credit in kept)
            held = sum(held_micro for _, held_micro in node.held.values())
            assert held == sum(credit.held_micro for credit in kept)
            assert ended + held == node.ever_held_micro
            assert all(credit.free_micro >= 0 for credit in kept), "calls hold what is not leased"

    @invariant()
    def a_book_says_what_the_database_says(self) -> None:
        for node in self.nodes.values():
            leased = self.run(self._leases(node.engine_id))
            for tenant_id in (1, 2):
                on_its_way = sum(amount for tenant, amount in node.returns if tenant == tenant_id)
                on_its_way += sum(each.charge_micro for each in node.charges if each.tenant_id == tenant_id)
                assert node.book.credit_of(tenant_id).leased_micro + on_its_way == leased.get(tenant_id, 0)

    def teardown(self) -> None:
        self.run(self.database.dispose())
        self.runner.close()
        shutil.rmtree(self.folder)

    def _key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    def _allowed(self, work: Coroutine[Any, Any, None], refusal: type[Exception]) -> None:
        try:
            self.run(work)
        except refusal:
            pass

    async def _accounts(self) -> list[Any]:
        async with reading(self.database) as connection:
            return list(await connection.execute(select(Account.__table__)))

    async def _differences(self) -> list[str]:
        async with reading(self.database) as connection:
            return await differences(connection)

    async def _leases(self, engine_id: str) -> dict[int, int]:
        async with reading(self.database) as connection:
            return await leases(connection, engine_id)


@pytest.mark.timeout(300)
def test_an_interleaving_breaks_the_books(migrated_file: Path) -> None:
    class OnACopy(Interleavings):
        migrated = migrated_file

    run_state_machine_as_test(
        OnACopy,
        settings=settings(
            max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
