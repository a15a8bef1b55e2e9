"""What an engine has to do with money: credit and minutes on lease, what is spent, and who spends too fast."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.b2bua.controller import Controller
from engine.runtime.credit.lease_desk import LeaseDesk
from engine.runtime.credit.minutes_desk import MinutesDesk
from engine.runtime.credit.spend_desk import SpendDesk
from engine.runtime.credit.velocity_watch import VelocityWatch
from engine.runtime.switchboard import Switchboard
from engine.store.database import reading
from engine.store.money.lease_store import leases
from engine.store.money.minutes_store import minutes_leases


class Money:
    """The desks between the calls' books, in memory, and the database."""

    def __init__(
        self,
        database: AsyncEngine,
        engine_id: str,
        controller: Controller,
        switchboard: Switchboard,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._engine_id = engine_id
        self._controller = controller
        self.leases = LeaseDesk(
            database, engine_id, switchboard.lease_answered, credit=controller.credit, now_ms=now_ms
        )
        self.minutes = MinutesDesk(
            database, engine_id, switchboard.minutes_answered, book=controller.minutes, now_ms=now_ms
        )
        self.spending = SpendDesk(database, controller.spending, now_ms)
        self.velocity = VelocityWatch(database, engine_id, controller.velocity, controller.spending, now_ms=now_ms)

    async def read_leases(self) -> None:
        """What an engine of this name has on lease already. Raises SQLAlchemyError."""
        async with reading(self._database) as connection:
            for tenant_id, amount_micro in (await leases(connection, self._engine_id)).items():
                self._controller.credit.credit_of(tenant_id).leased_micro = amount_micro
            for bucket_id, seconds in (await minutes_leases(connection, self._engine_id)).items():
                self._controller.minutes.minutes_of(bucket_id).leased_seconds = seconds

    def jobs(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside the calls, until cancelled."""
        return {
            "leases": self.leases.run(),
            "minutes": self.minutes.run(),
            "spending": self.spending.run(),
            "velocity": self.velocity.run(),
        }

    async def give_back(self) -> None:
        """What no call holds, once all charges are stored."""
        await self.minutes.give_back(self._controller.minutes.free_by_bucket())
        await self.leases.close(self._controller.credit.free_by_tenant())
