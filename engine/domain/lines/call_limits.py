"""Limits on calls: how many at once and how many new ones a second, for trunks, lines, tenants and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

METERS_MAX = 100_000
"""Rates that are remembered. At the limit those that are idle are forgotten: a full second makes them whole anyway."""


class Limit(NamedTuple):
    """``scope`` and ``owner_id`` name what is limited: ("trunk", 3). 0 is no limit."""

    scope: str
    owner_id: int
    calls_max: int
    calls_per_second_max: int

    @property
    def key(self) -> tuple[str, int]:
        return (self.scope, self.owner_id)


class _Meter:
    """A token bucket with one second's worth of calls in it."""

    __slots__ = ("refilled_at", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.refilled_at = now


class CallLimits:
    """Calls in progress and their rates. A call that one limit refuses counts towards none."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, int]] = Counter()
        self._meters: dict[tuple[str, int], _Meter] = {}

    def begin(self, limits: Iterable[Limit], now: float) -> str | None:
        """Takes a place under every limit; the scope of the first that refuses, None if all have let the call in."""
        limits = tuple(limits)
        for limit in limits:
            if limit.calls_max and self._calls[limit.key] >= limit.calls_max:
                return limit.scope
            if limit.calls_per_second_max and self._tokens(limit, now) < 1:
                return limit.scope
        for limit in limits:
            key = limit.key
            self._calls[key] += 1
            if limit.calls_per_second_max:
                self._meters[key].tokens -= 1
        return None

    def enter(self, keys: Iterable[tuple[str, int]]) -> None:
        """Takes places without asking."""
        self._calls.update(keys)

    def end(self, keys: Iterable[tuple[str, int]]) -> None:
        """Gives the places back."""
        for key in keys:
            left = self._calls[key] - 1
            if left > 0:
                self._calls[key] = left
            else:
                self._calls.pop(key, None)

    def calls(self, scope: str, owner_id: int) -> int:
        return self._calls[(scope, owner_id)]

    def __len__(self) -> int:
        """Owners with calls in progress."""
        return len(self._calls)

    def _tokens(self, limit: Limit, now: float) -> float:
        rate = limit.calls_per_second_max
        meter = self._meters.get(limit.key)
        if meter is None:
            if len(self._meters) >= METERS_MAX:
                self._meters = {key: each for key, each in self._meters.items() if now - each.refilled_at < 1}
            meter = self._meters[limit.key] = _Meter(float(rate), now)
        meter.tokens = min(meter.tokens + (now - meter.refilled_at) * rate, float(rate))
        meter.refilled_at = now
        return meter.tokens
