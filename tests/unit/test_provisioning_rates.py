"""Rate plans from a file: what is written is what calls cost."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.facts import RateFacts, TrunkFacts
from engine.domain.money.charging import Rate, Rounding
from engine.domain.money.rate_plan import RateEntry, TimeWindow
from engine.services.provisioning import load
from engine.services.provisioning.file import ProvisioningError
from engine.store.database import reading
from engine.store.directory_reader import read_all
from engine.store.tables import MinutesBucket

NOW_MS = 1_800_000_000_000
PLAN = """
[[rates]]
code = "sell"
name = "Sell"
first_increment_seconds = 6
next_increment_seconds = 6
rounding = "up"
rounded_to = "0.01"

[[rates.entries]]
prefix = "8613"
per_minute = "0.06"
weekdays = ["fri", "sat"]
from_time = "22:00"
until_time = "06:30"
valid_from = 2026-12-01T00:00:00
valid_until = 2027-01-01T00:00:00Z

[[rates.entries]]
per_minute = "0.12"
direction = "a_to_b"
connect_fee = "0.05"
minimum_seconds = 30
"""


async def _load(database: AsyncEngine, folder: Path, text: str) -> None:
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    await load(path, database, now_ms=NOW_MS)


async def _facts(database: AsyncEngine) -> RateFacts:
    async with reading(database) as connection:
        _, facts = await read_all(connection)
    (rate,) = (fact for fact in facts if isinstance(fact, RateFacts))
    return rate


def _ms(*date: int) -> int:
    return round(datetime(*date, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type, misc]  # year, month, day, hour


async def test_a_plan_means_something_else_than_it_says(database: AsyncEngine, tmp_path: Path) -> None:
    await _load(database, tmp_path, PLAN)
    rate = await _facts(database)
    night = RateEntry(
        Rate(60_000, 6, 6, 0, 0, Rounding.UP, 10_000),
        "8613",
        window=TimeWindow(0b0110000, 22 * 60, 6 * 60 + 30),
        valid_from_ms=_ms(2026, 11, 30, 16),  # midnight in Shanghai
        valid_until_ms=_ms(2027, 1, 1),
    )
    others = RateEntry(Rate(120_000, 6, 6, 30, 50_000, Rounding.UP, 10_000), direction="a_to_b")
    assert rate.entries == (night, others)
    assert (rate.others_refused, rate.version) == (True, 1)


async def test_a_plan_loaded_again_becomes_another_version(database: AsyncEngine, tmp_path: Path) -> None:
    await _load(database, tmp_path, PLAN)
    await _load(database, tmp_path, PLAN)
    assert (await _facts(database)).version == 1
    await _load(database, tmp_path, '[[rates]]\ncode = "sell"\nname = "Sell"\nper_minute = "0.2"')
    rate = await _facts(database)
    assert (rate.version, rate.per_minute_micro, rate.others_refused, len(rate.entries)) == (2, 200_000, False, 2)
    assert rate.first_increment_seconds == 6, "what is left out stays"


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ("", "rates[0].per_minute"),
        ('per_minute = "-1"', "rates[0].per_minute"),
        ('per_minute = "1"\nzone = "Mars/Olympus"', "rates[0].zone"),
        ('per_minute = "1"\nzone = "../../etc/passwd"', "rates[0].zone"),
        ('per_minute = "1"\nrounded_to = "0"', "rates[0].rounded_to"),
        ('entries = [{per_minute = "1", from_time = "24:00"}]', "rates[0].entries[0].from_time"),
        ('entries = [{per_minute = "1", prefix = "+86"}]', "rates[0].entries[0].prefix"),
        ('entries = [{per_minute = "x"}]', "rates[0].entries[0].per_minute"),
        ("entries = [{}]", "rates[0].entries[0]"),
    ],
)
async def test_a_wrong_plan_is_taken(database: AsyncEngine, tmp_path: Path, wrong: str, key: str) -> None:
    with pytest.raises(ProvisioningError) as error:
        await _load(database, tmp_path, f'[[rates]]\ncode = "r"\nname = "R"\n{wrong}')
    assert [problem.path for problem in error.value.problems] == [key]


async def test_a_trunk_does_not_know_what_it_costs(database: AsyncEngine, tmp_path: Path) -> None:
    trunk = (
        '[[carriers]]\ncode = "c"\nname = "C"\n[[trunks]]\ncode = "t"\ncarrier = "c"\nname = "T"\nhost = "127.0.0.3"\n'
        'source_addresses = ["127.0.0.3"]\nbuy_rate = "{}"\n'
    )

    async def buy_rate_id() -> int | None:
        async with reading(database) as connection:
            _, facts = await read_all(connection)
        (found,) = (fact for fact in facts if isinstance(fact, TrunkFacts))
        return found.buy_rate_id

    await _load(
        database, tmp_path, '[[rates]]\ncode = "buy"\nname = "Buy"\nper_minute = "0.03"\n' + trunk.format("buy")
    )
    assert await buy_rate_id() == 1
    await _load(database, tmp_path, trunk.format(""))
    assert await buy_rate_id() is None
    with pytest.raises(ProvisioningError, match="buy_rate"):
        await _load(database, tmp_path, trunk.format("none"))


MINUTES = """
[[tenants]]
code = "t"
name = "T"

[[package_minutes]]
order = "o-1"
tenant = "t"
minutes = {minutes}
starts_at = 2026-12-01T00:00:00+08:00
expires_at = {expires}
"""
DECEMBER = "2027-01-01T00:00:00+08:00"


async def test_an_order_for_minutes_is_carried_out_twice_or_altered(database: AsyncEngine, tmp_path: Path) -> None:
    for _ in range(2):
        await _load(database, tmp_path, MINUTES.format(minutes=100, expires=DECEMBER))
    with pytest.raises(ProvisioningError, match=r"package_minutes\[0\].order"):
        await _load(database, tmp_path, MINUTES.format(minutes=101, expires=DECEMBER))
    other = MINUTES.replace("o-1", "o-2").format(minutes=1, expires="2026-12-01T00:00:00+08:00")
    with pytest.raises(ProvisioningError, match=r"package_minutes\[0\].expires_at"):
        await _load(database, tmp_path, other)
    with pytest.raises(ProvisioningError, match="timezone"):
        await _load(database, tmp_path, MINUTES.format(minutes=100, expires="2027-01-01T00:00:00"))
    async with reading(database) as connection:
        rows = (await connection.execute(select(*MinutesBucket.__table__.columns))).all()
    found = [(row.seconds_bought, row.seconds_left, row.starts_at_ms, row.line_ids) for row in rows]
    assert found == [(6000, 6000, _ms(2026, 11, 30, 16), [])]
