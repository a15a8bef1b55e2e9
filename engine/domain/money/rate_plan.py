"""Rate plans: which rate a call has, by its direction, the called number and the time at which it begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from engine.domain.money.charging import LegsCharged, Rate

ALL_WEEKDAYS = 0b1111111
MINUTES_OF_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Days of the week, and a time of day in the plan's zone, as the clock on the wall shows it.

    ``weekdays`` has a bit for each day, Monday's the lowest. The time goes from ``from_minute`` up to and not including
    ``until_minute``, both counted from midnight; where the second is the smaller, past midnight, and then the hours
    after midnight belong to the day on which it began. Equal ends are the whole day.

    When the clocks change, an hour that is skipped is in no window, and one that comes twice is in its window twice.
    """

    weekdays: int = ALL_WEEKDAYS
    from_minute: int = 0
    until_minute: int = 0

    def holds(self, weekday: int, minute: int) -> bool:
        """``weekday`` from 0 for Monday; ``minute`` of the day."""
        start, end = self.from_minute, self.until_minute
        if start < end:
            return start <= minute < end and self._on(weekday)
        if start == end:
            return self._on(weekday)
        return self._on(weekday) if minute >= start else minute < end and self._on((weekday - 1) % 7)

    def _on(self, weekday: int) -> bool:
        return bool(self.weekdays >> weekday & 1)


@dataclass(frozen=True, slots=True)
class RateEntry:
    """A rate and the calls that have it."""

    rate: Rate
    prefix: str = ""
    """The first digits of the called number in E.164, without ``+``."""
    direction: str = "both"  # both | a_to_b | b_to_a
    window: TimeWindow | None = None
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None  # exclusive

    def is_in_force(self, at_ms: int) -> bool:
        return (self.valid_from_ms is None or self.valid_from_ms <= at_ms) and (
            self.valid_until_ms is None or at_ms < self.valid_until_ms
        )


class RatePlan:
    """One version of a plan; never altered. A call keeps the rate that was found as it began.

    Of the entries that hold for a call, the one with the longest prefix wins, and of several with one prefix the first
    in the list. A call for which none holds has no price, and so cannot be had.
    """

    __slots__ = ("_by_prefix", "_is_timed", "_lengths", "_zone", "callback_legs", "loss_allowed", "version")

    def __init__(
        self,
        entries: Iterable[RateEntry],
        zone: tzinfo,
        *,
        version: int | None = None,
        loss_allowed: bool = False,
        callback_legs: LegsCharged = LegsCharged.BOTH,
    ) -> None:
        self.version = version
        self.loss_allowed = loss_allowed
        """Calls may go out that bring less than they cost."""
        self.callback_legs = callback_legs
        by_prefix: dict[str, list[RateEntry]] = {}
        for entry in entries:
            by_prefix.setdefault(entry.prefix, []).append(entry)
        self._by_prefix = {prefix: tuple(same) for prefix, same in by_prefix.items()}
        self._lengths = sorted({len(prefix) for prefix in by_prefix}, reverse=True)
        self._is_timed = any(entry.window is not None for same in by_prefix.values() for entry in same)
        self._zone = zone

    def rate(self, direction: str, number: str, at_ms: int) -> Rate | None:
        """The rate of a call to ``number`` (E.164 with ``+``) that begins at ``at_ms``; None where it has none.

        One look into a dictionary for each length of prefix in the plan.
        """
        weekday, minute = self._weekday_and_minute(at_ms) if self._is_timed else (0, 0)
        for length in self._lengths:
            for entry in self._by_prefix.get(number[1 : length + 1], ()):
                if (
                    entry.direction in ("both", direction)
                    and (entry.window is None or entry.window.holds(weekday, minute))
                    and entry.is_in_force(at_ms)
                ):
                    return entry.rate
        return None

    def _weekday_and_minute(self, at_ms: int) -> tuple[int, int]:
        local = datetime.fromtimestamp(at_ms // 1000, self._zone)
        return local.weekday(), local.hour * 60 + local.minute
