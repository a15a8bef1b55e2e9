"""What the API answers where an export cannot be, or is taken to a file."""

import io

import pyarrow.parquet
import pytest

from engine.services.records import cdr_export

from .conftest import B1, B3, NOW_MS, World

EXPORT = f"cdr-export?from_ms=0&to_ms={NOW_MS + 1000}"


@pytest.mark.parametrize(
    ("query", "status"),
    [("&zone=Mars", 400), ("&zone=../../etc/passwd", 400), ("&format=xlsx", 400), ("&number=x", 422)],
)
async def test_an_export_that_cannot_be_is_begun(world: World, query: str, status: int) -> None:
    answer = await world.ask("tenant1", "GET", f"/api/tenant/{EXPORT}{query}")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


async def test_a_period_is_left_out_or_a_long_one_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await world.ask("tenant1", "GET", "/api/tenant/cdr-export")).status_code == 400
    monkeypatch.setattr(cdr_export.export_cdrs, "__kwdefaults__", {"bom": False, "rows_max": 1})
    assert (await world.ask("tenant1", "GET", f"/api/tenant/{EXPORT}")).status_code == 422
    assert (await world.ask("tenant2", "GET", f"/api/tenant/{EXPORT}")).status_code == 200


async def test_a_browser_shows_the_file_instead_of_keeping_it(world: World) -> None:
    answer = await world.ask("tenant1", "GET", f"/api/tenant/{EXPORT}&format=parquet")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert answer.headers["content-disposition"] == f'attachment; filename="cdrs-0-{NOW_MS + 1000}.parquet"'
    assert answer.headers["cache-control"] == "private, no-store"
    assert pyarrow.parquet.read_table(io.BytesIO(answer.content)).num_rows == 2


async def test_a_filter_of_an_export_widens_the_scope(world: World) -> None:
    for query in ("&tenant_id=2", "&agent_id=3", "&number=%2B8613900139003"):
        text = (await world.ask("tenant1", "GET", f"/api/tenant/{EXPORT}{query}")).text
        assert len(text.splitlines()) == 1
        assert B3 not in text
    assert B1 in (await world.ask("tenant1", "GET", f"/api/tenant/{EXPORT}&agent_id=1&bom=true")).text
