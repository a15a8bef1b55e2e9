"""How fast a tenant and his agents call and spend, and when that is more than it should be: ADR 18."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from engine.domain.facts import MoneyRulesFacts
from engine.domain.money.spend_cap import Spender, spenders

WINDOW_MS = 5 * 60 * 1000
SLOT_MS = 10 * 1000
"""A window is so many of these: what is older than a window goes slot by slot."""
FACTOR = 5
"""So many times what is usual, where a tenant's rules name no other."""
DAYS_MAX = 14
"""Days with calls of which the usual is made, the newest before today."""
DAYS_MIN = 3
"""With fewer of them nothing is known to be usual."""
ATTEMPTS_FLOOR = 30
SPENDING_FLOOR_MICRO = 20_000_000
"""In a window; below these nothing is out of the ordinary, whatever is usual: one who called twice calls ten times."""


class Measure(StrEnum):
    ATTEMPTS = "attempts"
    SPENDING = "spending"


class LimitedBy(StrEnum):
    RULE = "rule"  # the tenant's rules name the limit
    USUAL = "usual"  # a multiple of what is usual


@dataclass(frozen=True, slots=True)
class Velocity:
    """What one spender did in a window: call attempts towards customers, and money held or charged."""

    attempts: int = 0
    spent_micro: int = 0

    def __add__(self, other: Velocity) -> Velocity:
        return Velocity(self.attempts + other.attempts, self.spent_micro + other.spent_micro)

    def __sub__(self, other: Velocity) -> Velocity:
        return Velocity(max(0, self.attempts - other.attempts), max(0, self.spent_micro - other.spent_micro))

    def highest(self, other: Velocity) -> Velocity:
        return Velocity(max(self.attempts, other.attempts), max(self.spent_micro, other.spent_micro))


@dataclass(frozen=True, slots=True)
class Excess:
    """``value`` is above ``limit``, both attempts or micro-units; ``usual`` where that is known."""

    measure: Measure
    limited_by: LimitedBy
    value: int
    limit: int
    usual: int | None


@dataclass(slots=True)
class _Slot:
    starts_at_ms: int
    attempts: int = 0
    spent_micro: int = 0


class VelocityBook:
    """One engine's windows. Bounded by the tenants and agents who called within one, and the slots of a window."""

    def __init__(self) -> None:
        self._slots: dict[Spender, deque[_Slot]] = {}

    def attempted(self, tenant_id: int, agent_id: int | None, now_ms: int) -> None:
        for spender in spenders(tenant_id, agent_id):
            self._slot(spender, now_ms).attempts += 1

    def spent(self, tenant_id: int, agent_id: int | None, micro: int, now_ms: int) -> None:
        """What a call holds more than before; below 0 where it gives back what it had held and did not use."""
        if micro:
            for spender in spenders(tenant_id, agent_id):
                self._slot(spender, now_ms).spent_micro += micro

    def windows(self, now_ms: int) -> dict[Spender, Velocity]:
        """Of those who have done anything within one; who has not is forgotten."""
        found = {}
        for spender, slots in list(self._slots.items()):
            while slots and slots[0].starts_at_ms <= now_ms - WINDOW_MS:
                slots.popleft()
            if not slots:
                del self._slots[spender]
                continue
            spent_micro = sum(slot.spent_micro for slot in slots)
            # Given back within this window may be what was held before it.
            found[spender] = Velocity(sum(slot.attempts for slot in slots), max(0, spent_micro))
        return found

    def _slot(self, spender: Spender, now_ms: int) -> _Slot:
        starts_at_ms = now_ms - now_ms % SLOT_MS
        slots = self._slots.get(spender)
        if slots is None:
            slots = self._slots[spender] = deque(maxlen=WINDOW_MS // SLOT_MS + 1)
        if not slots or slots[-1].starts_at_ms < starts_at_ms:
            slots.append(_Slot(starts_at_ms))
        return slots[-1]


def usual_of(peaks: Sequence[Velocity]) -> Velocity | None:
    """What is usual, by the fastest window of each of the latest days with calls; None where too few are known.

    The median of them: a burst's own day, or two, do not make a burst usual, nor a quiet week-end a Monday unusual.
    """
    if len(peaks) < DAYS_MIN:
        return None
    middle = len(peaks) // 2
    return Velocity(sorted(peak.attempts for peak in peaks)[middle], sorted(peak.spent_micro for peak in peaks)[middle])


def too_fast(
    windows: Mapping[Spender, Velocity],
    rules: Mapping[int, MoneyRulesFacts],
    usual: Mapping[Spender, Velocity | None],
) -> dict[Spender, Excess]:
    """Who is, by tenants' rules and what is usual. What an agent is too fast by is not told of his tenant again."""
    found: dict[Spender, Excess] = {}
    of_tenant = {spender: velocity for spender, velocity in windows.items() if spender.agent_id is None}
    for spender, velocity in windows.items():
        if spender.agent_id is None:
            continue
        his = excess(velocity, rules.get(spender.tenant_id), usual.get(spender), of_agent=True)
        if his is not None:
            found[spender] = his
            tenant = Spender(spender.tenant_id)
            of_tenant[tenant] = of_tenant.get(tenant, velocity) - velocity
    for spender, velocity in of_tenant.items():
        its = excess(velocity, rules.get(spender.tenant_id), usual.get(spender), of_agent=False)
        if its is not None:
            found[spender] = its
    return found


def excess(
    velocity: Velocity, rules: MoneyRulesFacts | None, usual: Velocity | None, *, of_agent: bool
) -> Excess | None:
    """What is too fast of ``velocity``; a rule's limit goes before the usual. None where nothing is."""
    for limited_by in LimitedBy:
        for measure, value in ((Measure.ATTEMPTS, velocity.attempts), (Measure.SPENDING, velocity.spent_micro)):
            known = _usual(measure, usual)
            if limited_by is LimitedBy.RULE:
                limit = None if rules is None else _ruled(measure, of_agent, rules)
            else:
                limit = _multiple(measure, known, FACTOR if rules is None else rules.velocity_factor)
            if limit is not None and value > limit:
                return Excess(measure, limited_by, value, limit, known)
    return None


def _ruled(measure: Measure, of_agent: bool, rules: MoneyRulesFacts) -> int | None:
    if measure is Measure.ATTEMPTS:
        return rules.agent_velocity_attempts_max if of_agent else rules.velocity_attempts_max
    return rules.agent_velocity_spend_max_micro if of_agent else rules.velocity_spend_max_micro


def _usual(measure: Measure, usual: Velocity | None) -> int | None:
    if usual is None:
        return None
    return usual.attempts if measure is Measure.ATTEMPTS else usual.spent_micro


def _multiple(measure: Measure, usual: int | None, factor: int) -> int | None:
    if usual is None or not factor:
        return None
    return max(usual * factor, ATTEMPTS_FLOOR if measure is Measure.ATTEMPTS else SPENDING_FLOOR_MICRO)
