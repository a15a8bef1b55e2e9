"""Calendar months and days of a zone, as times in milliseconds since the epoch."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

ZONE = "Asia/Shanghai"
"""Of whoever names no other."""


def month_starts_ms(year: int, month: int, months: int, zone: ZoneInfo) -> list[int]:
    """The starts of ``months`` months from this one on, and the end of the last. ValueError beyond the year 9999."""
    first = year * 12 + month - 1
    return [_ms(datetime(n // 12, n % 12 + 1, 1, tzinfo=zone)) for n in range(first, first + months + 1)]


def month_of(at_ms: int, zone: ZoneInfo) -> tuple[int, int]:
    """(year, month)"""
    at = datetime.fromtimestamp(at_ms / 1000, zone)
    return at.year, at.month


def day_start_ms(at_ms: int, zone: ZoneInfo) -> int:
    """When the day of ``at_ms`` began."""
    at = datetime.fromtimestamp(at_ms / 1000, zone)
    return _ms(at.replace(hour=0, minute=0, second=0, microsecond=0))


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000
