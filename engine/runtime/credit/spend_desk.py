"""Tells the engine what capped tenants and agents were charged today, by all engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.money.spend_cap import SpendBook, Spender
from engine.store.database import reading
from engine.store.money.spending_store import read_charged

READ_SECONDS = 5.0
"""How old another engine's charges may be here: ADR 15."""

log = structlog.get_logger()


class SpendDesk:
    def __init__(self, database: AsyncEngine, book: SpendBook, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._book = book
        self._now_ms = now_ms
        self._read_for: frozenset[int] = frozenset()

    async def run(self) -> None:
        while True:
            for _ in range(int(READ_SECONDS)):  # who is capped only now has had nothing read
                await asyncio.sleep(1.0)
                if self._book.capped() - self._read_for:
                    break
            await self.read()

    async def read(self) -> None:
        """With the database away the engine goes on by its own counting."""
        tenants = self._book.capped()
        if not tenants:
            return
        now_ms = self._now_ms()
        days = {tenant_id: self._book.day_start_ms(tenant_id, now_ms) for tenant_id in tenants}
        try:
            async with reading(self._database) as connection:
                for tenant_id, starts_at_ms in days.items():
                    by_agent = await read_charged(connection, tenant_id, starts_at_ms)
                    self._book.charged(Spender(tenant_id), starts_at_ms, sum(by_agent.values()))
                    for agent_id, charged_micro in by_agent.items():
                        if agent_id is not None:
                            self._book.charged(Spender(tenant_id, agent_id), starts_at_ms, charged_micro)
        except (SQLAlchemyError, OSError) as error:
            log.error("the day's spending not read", error=type(error).__name__)
            return
        self._read_for = tenants
