"""What a package is sold by: its terms, its periods in the calendar, and what an unused rest of it is worth."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

PERIODS_MAX = 1200
"""A hundred years of months: no sum of them leaves the calendar."""


class PeriodUnit(StrEnum):
    DAY = "day"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Period:
    """``count`` 1 to PERIODS_MAX of ``unit``, by the clock on the wall in ``zone`` (an IANA name)."""

    unit: PeriodUnit
    count: int
    zone: str

    def boundary_ms(self, anchor_ms: int, number: int) -> int:
        """Where period ``number`` begins, counted from 0 at the anchor; where the one before it ends.

        Always from the anchor and never from the boundary before: what begins on the 31st ends on 28 February and then
        on 31 March, and not on the 28th ever after. A time that the clocks skip is taken by the offset before the
        change (PEP 495, fold 0), so each period goes on without a gap into the next.
        """
        zone = ZoneInfo(self.zone)
        start = datetime.fromtimestamp(anchor_ms // 1000, zone)
        if self.unit is PeriodUnit.DAY:
            end = start.replace(tzinfo=None) + timedelta(days=self.count * number)
        else:
            months = self.count * number * (12 if self.unit is PeriodUnit.YEAR else 1)
            years, month = divmod(start.month - 1 + months, 12)
            year = start.year + years
            day = min(start.day, monthrange(year, month + 1)[1])
            end = start.replace(tzinfo=None, year=year, month=month + 1, day=day)
        return round(end.replace(tzinfo=zone).astimezone(UTC).timestamp()) * 1000 + anchor_ms % 1000


def refund_micro(price_micro: int, bought_seconds: int, unused_seconds: int) -> int:
    """What unused seconds of a package are worth, rounded down to the micro-unit: no part is ever paid back twice.

    ValueError for more unused than was bought.
    """
    if not 0 <= unused_seconds <= bought_seconds or bought_seconds == 0 or price_micro < 0:
        raise ValueError("unused is between nothing and what was bought")
    return price_micro * unused_seconds // bought_seconds
