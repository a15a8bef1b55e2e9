"""What a call costs: rates in integer micro-units over whole billed seconds, package minutes before money."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MICRO_PER_YUAN = 1_000_000
COMPARED_TALK_MS = 60_000
"""The call by which a sell price is held against a buy price; connect fees and increments are in it."""


class Rounding(StrEnum):
    HALF_UP = "half_up"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Rate:
    """A price by time. The first increment is charged whole, then each following one.

    ``per_minute_micro`` and ``connect_fee_micro`` ≥ 0; increments > 0 seconds; ``minimum_seconds`` ≥ 0. A call's price
    is rounded once, to a multiple of ``rounded_to_micro`` > 0 (10,000 is a fen).
    """

    per_minute_micro: int
    first_increment_seconds: int = 60
    next_increment_seconds: int = 60
    minimum_seconds: int = 0
    connect_fee_micro: int = 0
    rounding: Rounding = Rounding.HALF_UP
    rounded_to_micro: int = 1

    def billed_seconds(self, talk_ms: int) -> int:
        """Talk time rounded up to the increments; nothing for a call that never talked."""
        if talk_ms <= 0:
            return 0
        seconds = max(-(-talk_ms // 1000), self.minimum_seconds)
        if seconds <= self.first_increment_seconds:
            return self.first_increment_seconds
        over = seconds - self.first_increment_seconds
        increments = -(-over // self.next_increment_seconds)
        return self.first_increment_seconds + increments * self.next_increment_seconds

    def price_micro(self, billed_seconds: int) -> int:
        """Connect fee and time, rounded once over the whole call; no time, no fee."""
        if billed_seconds <= 0:
            return 0
        sixtieths = 60 * self.connect_fee_micro + self.per_minute_micro * billed_seconds
        step = 60 * self.rounded_to_micro
        return (sixtieths + self._rounding_sixtieths) // step * self.rounded_to_micro

    def charge_micro(self, talk_ms: int) -> int:
        return self.price_micro(self.billed_seconds(talk_ms))

    def seconds_for(self, amount_micro: int, seconds_max: int, package_seconds: int = 0) -> int:
        """The longest talk, in whole seconds and at most ``seconds_max``, that minutes and money suffice for.

        Of its billed seconds the first ``package_seconds`` are paid already, and the rest costs at most
        ``amount_micro``. It is the exact inverse of the price: one second more would cost more.
        """
        billed_max = self.billed_seconds(seconds_max * 1000)
        payable = package_seconds + self._affordable_seconds(amount_micro, billed_max)
        if payable >= billed_max:
            return seconds_max
        if payable < self.billed_seconds(1):
            return 0
        increments = (payable - self.first_increment_seconds) // self.next_increment_seconds
        return min(self.first_increment_seconds + increments * self.next_increment_seconds, seconds_max)

    def sells_below(self, buy: Rate) -> bool:
        """True where a call sold at this rate and bought at ``buy`` loses money.

        That is: where a call of one minute's talk costs more than it brings, or each further minute does. A single call
        may still lose by its increments (sold by the second, bought by the minute); that is the margin's to tell.
        """
        return (
            self.charge_micro(COMPARED_TALK_MS) < buy.charge_micro(COMPARED_TALK_MS)
            or self.per_minute_micro < buy.per_minute_micro
        )

    def _affordable_seconds(self, amount_micro: int, seconds_max: int) -> int:
        """The most billed seconds, at most ``seconds_max``, whose price is at most ``amount_micro``."""
        # (n + rounding) // step ≤ q  ⟺  n ≤ step·(q + 1) − 1 − rounding, with n = 60·fee + price·seconds.
        step = 60 * self.rounded_to_micro
        sixtieths = step * (amount_micro // self.rounded_to_micro + 1) - 1 - self._rounding_sixtieths
        sixtieths -= 60 * self.connect_fee_micro
        if sixtieths < 0:
            return 0
        if self.per_minute_micro == 0:
            return seconds_max
        return min(sixtieths // self.per_minute_micro, seconds_max)

    @property
    def _rounding_sixtieths(self) -> int:
        if self.rounding is Rounding.HALF_UP:
            return 30 * self.rounded_to_micro
        return 60 * self.rounded_to_micro - 1 if self.rounding is Rounding.UP else 0


@dataclass(slots=True)
class Charge:
    """Each billed second is a package's or is paid; ``by_bucket`` says whose, in the order of use."""

    billed_seconds: int = 0
    package_seconds: int = 0
    charge_micro: int = 0
    cost_micro: int | None = None
    """What the carrier takes; None where no buy rate is known."""
    by_bucket: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class Tariff:
    """One call's price, fixed as the call begins; what grows is the package seconds that the call holds."""

    rate: Rate
    buy: Rate | None = None
    buckets: tuple[int, ...] = ()
    """Ids of the buckets that were in force as the call began, the one that expires first first."""
    held: dict[int, int] = field(default_factory=dict)
    """Package seconds held, by bucket."""

    @property
    def package_seconds(self) -> int:
        return sum(self.held.values())

    def hold(self, parts: Iterable[tuple[int, int]]) -> None:
        """Takes in (bucket, seconds) that have been granted to the call."""
        for bucket_id, seconds in parts:
            self.held[bucket_id] = self.held.get(bucket_id, 0) + seconds

    def minutes_wanted(self, talk_seconds: int) -> int:
        """Package seconds that are missing to talk so long without money; 0 where there is no bucket to ask."""
        if not self.buckets:
            return 0
        return max(0, self.rate.billed_seconds(talk_seconds * 1000) - self.package_seconds)

    def charge_micro(self, talk_ms: int) -> int:
        """The money for a talk, beside what the held minutes pay."""
        billed = self.rate.billed_seconds(talk_ms)
        return self.rate.price_micro(billed - min(billed, self.package_seconds))

    def seconds_for(self, amount_micro: int, seconds_max: int) -> int:
        return self.rate.seconds_for(amount_micro, seconds_max, self.package_seconds)

    def charge(self, talk_ms: int) -> Charge:
        billed = self.rate.billed_seconds(talk_ms)
        by_bucket = taken_in_order(self.buckets, self.held, billed) if self.held else ()
        package_seconds = sum(seconds for _, seconds in by_bucket)
        return Charge(
            billed_seconds=billed,
            package_seconds=package_seconds,
            charge_micro=self.rate.price_micro(billed - package_seconds),
            cost_micro=self.buy.charge_micro(talk_ms) if self.buy is not None else None,
            by_bucket=by_bucket,
        )


def taken_in_order(
    order: Iterable[int], seconds_of: Mapping[int, int], wanted_seconds: int
) -> tuple[tuple[int, int], ...]:
    """(bucket, seconds) that together make ``wanted_seconds``, or all there is, the first buckets first."""
    parts = []
    for bucket_id in order:
        seconds = min(seconds_of.get(bucket_id, 0), wanted_seconds)
        if seconds > 0:
            parts.append((bucket_id, seconds))
            wanted_seconds -= seconds
    return tuple(parts)


class LegsCharged(StrEnum):
    """What a plan charges of a callback call, in which we dial the agent, and from there the customer."""

    BOTH = "both"
    CALLEE = "callee"  # the customer's alone


@dataclass(frozen=True, slots=True)
class FirstLeg:
    """The agent's leg of a callback call: it talks to our announcement before the customer answers."""

    talk_ms: int
    rate: Rate | None
    """None where the plan charges the customer's leg alone."""
    buy: Rate | None
    """None where the carrier does, or what it takes is not known."""


def callback_charge(tariff: Tariff, talk_ms: int, first: FirstLeg) -> Charge:
    """A callback call's charge: ``tariff`` and ``talk_ms`` are the customer's leg's, whose minutes go first.

    Each leg has its own rate and its own time. Minutes that the customer's leg leaves pay for the agent's. What is
    rounded, is rounded by leg.
    """
    second = tariff.charge(talk_ms)
    billed = 0 if first.rate is None else first.rate.billed_seconds(first.talk_ms)
    used = dict(second.by_bucket)
    left = {bucket_id: seconds - used.get(bucket_id, 0) for bucket_id, seconds in tariff.held.items()}
    for bucket_id, seconds in taken_in_order(tariff.buckets, left, billed):
        used[bucket_id] = used.get(bucket_id, 0) + seconds
    by_bucket = tuple((bucket_id, used[bucket_id]) for bucket_id in tariff.buckets if bucket_id in used)
    package_seconds = sum(seconds for _, seconds in by_bucket)
    paid = billed - (package_seconds - second.package_seconds)
    cost_micro = second.cost_micro
    if cost_micro is not None and first.buy is not None:
        cost_micro += first.buy.charge_micro(first.talk_ms)
    return Charge(
        billed_seconds=second.billed_seconds + billed,
        package_seconds=package_seconds,
        charge_micro=second.charge_micro + (0 if first.rate is None else first.rate.price_micro(paid)),
        cost_micro=cost_micro,
        by_bucket=by_bucket,
    )
