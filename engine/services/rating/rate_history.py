"""Which version of a rate plan was in force at a time: a call that is told of late is priced as it would have been."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.domain.facts import RateFacts
from engine.domain.money.rate_plan import RatePlan
from engine.domain.money.tariffs import plan_of
from engine.store.money.rate_store import read_versions


class PlanHistory:
    """One plan's versions, the oldest first, each with when it came into force."""

    def __init__(self) -> None:
        self._since_ms: list[int] = []
        self._facts: list[RateFacts] = []
        self._plans: dict[int, RatePlan] = {}

    def add(self, since_ms: int, facts: RateFacts) -> None:
        # A clock that was set back between two versions does not put the older one before the newer.
        self._since_ms.append(max(since_ms, self._since_ms[-1] if self._since_ms else since_ms))
        self._facts.append(facts)

    def in_force(self, at_ms: int) -> RatePlan:
        """The version of that time; of a time before the first, the first: nothing is known of any other."""
        index = max(0, bisect_right(self._since_ms, at_ms) - 1)
        plan = self._plans.get(index)
        if plan is None:
            plan = self._plans[index] = plan_of(self._facts[index])
        return plan


async def read_histories(
    connection: AsyncConnection, rate_ids: Collection[int] | None = None
) -> dict[int, PlanHistory]:
    """Of all plans, or of these, by id."""
    histories: dict[int, PlanHistory] = {}
    for since_ms, facts in await read_versions(connection, rate_ids):
        histories.setdefault(facts.id, PlanHistory()).add(since_ms, facts)
    return histories
