"""Recordings past their time, held or not."""

from __future__ import annotations

from typing import Any

import pytest

from engine.store.database import reading
from engine.store.records.cdr_store import read_cdr
from engine.store.records.retention_store import Retention
from engine.store.scope import Platform

from .conftest import FOLDER, Archive


@pytest.mark.parametrize(
    ("platform", "tenant", "default", "days"),
    [
        (None, None, 0, 0),
        (None, None, 90, 90),
        (30, None, 90, 30),
        (30, 10, 90, 30),
        (30, 60, 0, 60),
        (30, 0, 90, 0),
        (0, 60, 90, 0),
        (None, 60, 90, 90),
    ],
)
def test_a_tenant_keeps_for_less_than_the_platform_says(
    platform: int | None, tenant: int | None, default: int, days: int
) -> None:
    assert Retention(1, platform, tenant).days(default) == days


async def test_nothing_is_deleted_unasked(archive: Archive) -> None:
    await archive.record("c1", age_days=3000)
    await archive.round(archive.librarian())
    assert archive.on_disk() == {"c1.wav"}


async def test_an_expired_recording_stays(archive: Archive) -> None:
    await archive.keep(1, 30)
    octets = await archive.record("c1", age_days=30)
    await archive.record("c2", age_days=29)
    await archive.record("c3", age_days=300, tenant_id=2)
    await archive.round(archive.librarian())
    assert await archive.places() == {"c2": "disk", "c3": "disk"}
    assert archive.on_disk() == {"c2.wav", "c3.wav"}
    (gone,) = (await archive.deletions()).values()
    assert (gone.cdr_id, gone.reason, gone.rule, gone.decided_by) == ("c1", "retention", "kept for 30 days", "")
    assert (gone.tenant_id, gone.agent_id, gone.size_octets) == (1, 1, len(octets))
    assert gone.deleted_at_ms == gone.decided_at_ms == archive.now_ms
    async with reading(archive.database) as connection:
        cdr = await read_cdr(connection, Platform(), "c1")
    assert cdr is not None
    assert cdr.recording_path == f"{FOLDER}/c1.wav", "the CDR still says that there was one"


@pytest.mark.parametrize("of", [{}, {"agent_id": 1}, {"cdr_id": "c1"}], ids=["tenant", "agent", "recording"])
async def test_a_held_recording_is_deleted(archive: Archive, of: dict[str, Any]) -> None:
    await archive.keep(1, 30)
    await archive.keep(2, 30)
    await archive.hold(1, **of)
    await archive.record("c1", age_days=300)
    await archive.record("c2", age_days=300, tenant_id=2)
    archive.free_percent = 0.0
    await archive.round(archive.librarian())
    assert archive.on_disk() == {"c1.wav"}, "not even for want of room"
    await archive.release()
    await archive.round(archive.librarian())
    assert archive.on_disk() == set()


async def test_a_hold_of_one_holds_another(archive: Archive) -> None:
    await archive.keep(1, 30)
    await archive.hold(1, cdr_id="c2")
    await archive.hold(1, agent_id=2)
    await archive.hold(2, agent_id=1)
    await archive.record("c1", age_days=300)
    await archive.record("c2", age_days=300)
    await archive.round(archive.librarian())
    assert archive.on_disk() == {"c2.wav"}


async def test_a_stored_recording_outlives_its_time(archive: Archive) -> None:
    await archive.record("c1", age_days=300)
    await archive.round(archive.librarian(archive.bucket()))
    assert archive.in_bucket() == {"c1.wav"}
    await archive.keep(1, 30)
    await archive.round(archive.librarian(archive.bucket()))
    assert archive.in_bucket() == set()
    assert (await archive.deletions())["c1"].deleted_at_ms == archive.now_ms


async def test_a_storage_that_is_away_forgets_a_deletion(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    await archive.record("c1", age_days=300)
    await archive.round(archive.librarian(archive.bucket()))
    await archive.keep(1, 30)
    librarian = archive.librarian(archive.bucket())

    def away(*_: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr("fsspec.implementations.local.LocalFileSystem.rm_file", away)
        await archive.round(librarian)
    assert await archive.places() == {}, "nobody is shown it any more"
    assert (await archive.deletions())["c1"].deleted_at_ms is None
    await archive.round(archive.librarian())  # no storage is set: not done either
    assert (await archive.deletions())["c1"].deleted_at_ms is None
    await archive.round(librarian)
    assert (await archive.deletions())["c1"].deleted_at_ms == archive.now_ms
    assert archive.in_bucket() == set()


async def test_a_crash_between_file_and_row(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    await archive.keep(1, 30)
    await archive.record("c1", age_days=300)
    for step in ("_delete", "deletion_done"):
        librarian = archive.librarian()
        with monkeypatch.context() as patch:
            target = "engine.archive.clearance.Clearance._delete" if step == "_delete" else None
            patch.setattr(target or "engine.archive.clearance.deletion_done", die)
            with pytest.raises(Killed):
                await archive.round(librarian)
        assert archive.on_disk() == ({"c1.wav"} if step == "_delete" else set())
        assert await archive.places() == {}
        assert (await archive.deletions())["c1"].deleted_at_ms is None
    await archive.round(archive.librarian())
    assert (await archive.deletions())["c1"].deleted_at_ms == archive.now_ms


async def test_what_expired_last_goes_first(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.archive.clearance.ROWS_MAX", 1)
    monkeypatch.setattr("engine.store.records.retention_store.ROWS_MAX", 1)
    # c3 is the oldest, but expired 100 days ago; tenant 1's 200 and 190 days ago; c4 has not.
    await archive.record("c1", age_days=230)
    await archive.record("c2", age_days=220)
    await archive.record("c3", age_days=400, tenant_id=2)
    await archive.record("c4", age_days=10)
    librarian = archive.librarian()
    await archive.round(librarian)
    await archive.keep(1, 30)
    await archive.keep(2, 300)
    librarian._measure_free = lambda: 5.0 if len(archive.on_disk()) > 2 else 20.0
    await librarian._duties[0].perform(1e9)
    assert archive.on_disk() == {"c3.wav", "c4.wav"}
    assert {row.reason for row in (await archive.deletions()).values()} == {"disk_full"}


async def test_more_is_deleted_than_room_is_wanted(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.archive.clearance.ROWS_MAX", 1)
    monkeypatch.setattr("engine.store.records.retention_store.ROWS_MAX", 1)
    for number, age_days in enumerate((100, 300, 200)):
        await archive.record(f"c{number}", age_days=age_days)
    librarian = archive.librarian()
    await archive.round(librarian)
    await archive.keep(1, 30)
    librarian._measure_free = lambda: 5.0 if len(archive.on_disk()) > 1 else 20.0
    await librarian._duties[0].perform(1e9)
    assert archive.on_disk() == {"c0.wav"}, "the two that expired first are gone"
    assert sorted(await archive.deletions()) == ["c1", "c2"]


async def test_the_disk_is_full_of_what_may_not_go(archive: Archive) -> None:
    await archive.record("c1", age_days=300)
    archive.free_percent = 0.0
    librarian = archive.librarian()
    await archive.round(librarian)
    assert archive.on_disk() == {"c1.wav"}
    assert librarian.room == "none"
