"""Packages: made and changed by the platform, each change of terms a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from engine.domain.money.package import PERIODS_MAX, Period, PeriodUnit
from engine.domain.refusal import Refusal
from engine.store.money.ledger_store import AMOUNT_MICRO_MAX
from engine.store.tables import Line
from engine.store.tables.orders import Package, PackageVersion

MINUTES_MAX = 10_000_000
NUMBERS_MAX = 100
"""X numbers of one package: an approval allocates them in its transaction."""


@dataclass(frozen=True, slots=True)
class Terms:
    minutes: int
    price_micro: int
    period_unit: PeriodUnit = PeriodUnit.MONTH
    period_count: int = 1
    zone: str = "Asia/Shanghai"
    line_ids: Sequence[int] = ()
    numbers: Sequence[Mapping[str, int]] = ()
    """``line_id`` and ``count``: X numbers of the line that come with it."""


def period_of(version: PackageVersion) -> Period:
    return Period(PeriodUnit(version.period_unit), version.period_count, version.zone)


async def create_package(
    session: AsyncSession, *, code: str, name: str, terms: Terms, tenant_id: int | None, now_ms: int
) -> tuple[Package, PackageVersion]:
    """Raises Refusal; IntegrityError where the code is taken or the tenant unknown."""
    await _check(session, terms)
    package = Package(tenant_id=tenant_id, code=code, name=name, version=1, on_sale=True, created_at_ms=now_ms)
    package.renewals_approved = False
    session.add(package)
    await session.flush()
    return package, await _add_version(session, package, terms, now_ms)


async def change_terms(session: AsyncSession, package: Package, terms: Terms, now_ms: int) -> PackageVersion:
    """Those who bought keep what they bought; the terms are for orders from now on. Raises Refusal."""
    await _check(session, terms)
    package.version += 1
    return await _add_version(session, package, terms, now_ms)


async def _add_version(session: AsyncSession, package: Package, terms: Terms, now_ms: int) -> PackageVersion:
    values = asdict(terms) | {
        "line_ids": list(terms.line_ids),
        "numbers": [dict(each) for each in terms.numbers],
        "created_at_ms": now_ms,
    }
    version = PackageVersion(package_id=package.id, version=package.version, **values)
    session.add(version)
    await session.flush()
    return version


async def _check(session: AsyncSession, terms: Terms) -> None:
    if not 0 < terms.minutes <= MINUTES_MAX:
        raise Refusal("bad_terms", "minutes", f"is 1 to {MINUTES_MAX}")
    if not 0 <= terms.price_micro <= AMOUNT_MICRO_MAX:
        raise Refusal("bad_terms", "price_micro", "is out of bounds")
    if not 0 < terms.period_count <= PERIODS_MAX:
        raise Refusal("bad_terms", "period_count", f"is 1 to {PERIODS_MAX}")
    try:
        ZoneInfo(terms.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Refusal("bad_terms", "zone", "is no time zone") from error
    _check_numbers(terms)
    wanted = {*terms.line_ids, *(each["line_id"] for each in terms.numbers)}
    if wanted and await session.scalar(select(func.count()).where(Line.id.in_(wanted))) != len(wanted):
        raise Refusal("bad_terms", "line_ids", "names a line that is not there")


def _check_numbers(terms: Terms) -> None:
    lines = [each["line_id"] for each in terms.numbers]
    if len(set(lines)) < len(lines):
        raise Refusal("bad_terms", "numbers", "names a line twice")
    if terms.line_ids and set(lines) - set(terms.line_ids):
        raise Refusal("bad_terms", "numbers", "names a line on which its minutes are not used")
    counts = [each["count"] for each in terms.numbers]
    if any(count < 1 for count in counts) or sum(counts) > NUMBERS_MAX:
        raise Refusal("bad_terms", "numbers", f"are 1 or more of each line, {NUMBERS_MAX} at most in all")
