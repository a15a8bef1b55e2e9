"""What a call costs: rates in integer micro-units over whole billed seconds."""

from __future__ import annotations

from dataclasses import dataclass

MICRO_PER_YUAN = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """A price by time. The first increment is charged whole, then each following one.

    ``per_minute_micro`` ≥ 0; increments > 0 seconds; ``minimum_seconds`` ≥ 0.
    """

    per_minute_micro: int
    first_increment_seconds: int = 60
    next_increment_seconds: int = 60
    minimum_seconds: int = 0

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
        """Rounded half up to a micro-unit, once, over the whole call."""
        return (self.per_minute_micro * billed_seconds + 30) // 60

    def charge_micro(self, talk_ms: int) -> int:
        return self.price_micro(self.billed_seconds(talk_ms))

    def seconds_for(self, amount_micro: int, seconds_max: int) -> int:
        """The longest talk, in whole seconds and at most ``seconds_max``, that costs at most ``amount_micro``."""
        if self.charge_micro(seconds_max * 1000) <= amount_micro:
            return seconds_max
        if self.charge_micro(1) > amount_micro:
            return 0
        # The largest s with (price·s + 30) // 60 ≤ amount; the charge grows with s, so whole increments below it.
        affordable = (60 * amount_micro + 29) // self.per_minute_micro
        over = affordable - self.first_increment_seconds
        increments = over // self.next_increment_seconds
        return min(self.first_increment_seconds + increments * self.next_increment_seconds, seconds_max)
