"""What a tenant and his agents may spend in a day: what was charged since its start, and what running calls hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from engine.domain.facts import AgentCapFacts, MoneyRulesFacts
from engine.domain.month import ZONE, day_start_ms

SPENDERS_CACHED_MAX = 4096
"""Tenants and agents who call now; the others' are made anew."""


class Spender(NamedTuple):
    """A tenant, or with ``agent_id`` one of his agents."""

    tenant_id: int
    agent_id: int | None = None


@dataclass(slots=True)
class _Day:
    """``ends_at_ms`` is kept as well: zones are asked once a day, and not with every slice."""

    starts_at_ms: int
    ends_at_ms: int
    charged_micro: int = 0


class SpendBook:
    """One engine's view of all days' spending.

    Charges count on the day on which their calls end, as in the ledger, and so does what calls hold now. Bounded by
    the tenants and agents that there are.
    """

    def __init__(self) -> None:
        self._rules: dict[int, MoneyRulesFacts] = {}
        self._agent_caps: dict[int, AgentCapFacts] = {}
        self._days: dict[Spender, _Day] = {}
        self._held_micro: Counter[Spender] = Counter()

    def take(self, fact: MoneyRulesFacts | AgentCapFacts) -> None:
        if isinstance(fact, AgentCapFacts):
            self._agent_caps[fact.agent_id] = fact
            return
        before = self._rules.get(fact.tenant_id)
        self._rules[fact.tenant_id] = fact
        if before is None or before.zone != fact.zone:  # other days: what was charged in them is to be read
            self._days = {spender: day for spender, day in self._days.items() if spender.tenant_id != fact.tenant_id}

    def remove(self, entity: str, entity_id: str) -> None:
        """``entity`` is the table's name, and unknown ones are none of our business."""
        if entity == "agent_spend_caps":
            self._agent_caps.pop(int(entity_id), None)
        elif entity == "money_rules":
            self._rules.pop(int(entity_id), None)

    def room_micro(self, tenant_id: int, agent_id: int | None, now_ms: int) -> int | None:
        """What a call may still hold today, 0 or more; None where nothing caps it."""
        rooms = []
        rules = self._rules.get(tenant_id)
        if rules is not None and rules.day_cap_micro is not None:
            rooms.append(rules.day_cap_micro - self.spent_micro(Spender(tenant_id), now_ms))
        cap = self._agent_caps.get(agent_id) if agent_id is not None else None
        if cap is not None:
            rooms.append(cap.day_cap_micro - self.spent_micro(Spender(tenant_id, agent_id), now_ms))
        return max(0, min(rooms)) if rooms else None

    def spent_micro(self, spender: Spender, now_ms: int) -> int:
        return self._day(spender, now_ms).charged_micro + self._held_micro[spender]

    def hold(self, tenant_id: int, agent_id: int | None, held_micro: int) -> None:
        """Also with an amount below 0: less is held than was asked for."""
        for spender in spenders(tenant_id, agent_id):
            self._held_micro[spender] += held_micro

    def post(self, tenant_id: int, agent_id: int | None, held_micro: int, charge_micro: int, now_ms: int) -> None:
        for spender in spenders(tenant_id, agent_id):
            self._day(spender, now_ms).charged_micro += charge_micro
            left_micro = self._held_micro[spender] - held_micro
            if left_micro > 0:
                self._held_micro[spender] = left_micro
            else:
                self._held_micro.pop(spender, None)

    @property
    def rules(self) -> Mapping[int, MoneyRulesFacts]:
        """By tenant; those for whom nothing is set are not there."""
        return self._rules

    def capped(self) -> frozenset[int]:
        """The tenants whose day's charges are to be read: they are capped, or agents of theirs are."""
        tenants = {rules.tenant_id for rules in self._rules.values() if rules.day_cap_micro is not None}
        return frozenset(tenants | {cap.tenant_id for cap in self._agent_caps.values()})

    def day_start_ms(self, tenant_id: int, now_ms: int) -> int:
        return self._day(Spender(tenant_id), now_ms).starts_at_ms

    def charged(self, spender: Spender, starts_at_ms: int, charged_micro: int) -> None:
        """What the database says of the day from ``starts_at_ms``: all engines' charges, the latest of ours perhaps
        missing. The higher is true: charges do not shrink, and none of ours is counted twice."""
        day = self._day(spender, starts_at_ms) if spender not in self._days else self._days[spender]
        if day.starts_at_ms == starts_at_ms:
            day.charged_micro = max(day.charged_micro, charged_micro)

    def _day(self, spender: Spender, now_ms: int) -> _Day:
        day = self._days.get(spender)
        if day is None or now_ms >= day.ends_at_ms:
            rules = self._rules.get(spender.tenant_id)
            zone = ZoneInfo(rules.zone if rules is not None else ZONE)
            starts_at_ms = day_start_ms(now_ms, zone)
            # 36 hours on is in the next day, be this one 23 hours long or 25.
            day = _Day(starts_at_ms, day_start_ms(starts_at_ms + 36 * 3600 * 1000, zone))
            self._days[spender] = day
        return day


@lru_cache(SPENDERS_CACHED_MAX)
def spenders(tenant_id: int, agent_id: int | None) -> tuple[Spender, ...]:
    """Whose spending a call is."""
    tenant = Spender(tenant_id)
    return (tenant,) if agent_id is None else (tenant, Spender(tenant_id, agent_id))
