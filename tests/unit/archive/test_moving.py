"""Recordings on their way to the storage: nothing is lost, whatever dies or is away."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.archive.bucket import Bucket, StorageFault
from engine.archive.mover import Mover

from .conftest import FOLDER, Archive


async def test_a_recording_stays_on_the_disk_without_a_storage(archive: Archive) -> None:
    await archive.record("c1")
    await archive.round(archive.librarian())
    assert await archive.places() == {"c1": "disk"}
    assert archive.on_disk() == {"c1.wav"}
    row = await archive.row("c1")
    assert (row.tenant_id, row.agent_id, row.engine_id) == (1, 1, "engine-1")


async def test_a_recording_is_carried_away(archive: Archive) -> None:
    octets = await archive.record("c1")
    await archive.round(archive.librarian(archive.bucket()))
    assert await archive.places() == {"c1": "storage"}
    assert archive.on_disk() == set()
    assert (archive.bucket_folder / FOLDER / "c1.wav").read_bytes() == octets


async def test_any_storage_of_fsspec_will_do(archive: Archive) -> None:
    octets = await archive.record("c1")
    bucket = Bucket("memory://bucket/folder")
    await archive.round(archive.librarian(bucket))
    assert await archive.places() == {"c1": "storage"}
    with bucket.open(f"{FOLDER}/c1.wav") as file:
        file.seek(40)
        assert file.read(10) == octets[40:50]
    assert bucket.find()[f"{FOLDER}/c1.wav"] == len(octets)


async def test_the_storage_is_away_and_comes_back(archive: Archive) -> None:
    await archive.record("c1")
    await archive.record("c2")
    archive.bucket_folder.write_text("not a folder")
    librarian = archive.librarian(archive.bucket())
    await archive.round(librarian)
    await archive.round(librarian)
    assert await archive.places() == {"c1": "disk", "c2": "disk"}
    assert archive.on_disk() == {"c1.wav", "c2.wav"}
    archive.bucket_folder.unlink()
    await archive.round(librarian)
    assert await archive.places() == {"c1": "storage", "c2": "storage"}


async def test_a_storage_that_is_away_is_asked_without_end(archive: Archive) -> None:
    await archive.record("c1")
    archive.bucket_folder.write_text("not a folder")
    tries = []

    class Counting(Bucket):
        def put(self, source: Path, path: str) -> None:
            tries.append(path)
            super().put(source, path)

    librarian = archive.librarian(Counting(archive.bucket_folder.as_uri()))
    for second in range(0, 3600, 10):
        await librarian.round(float(second))
    assert 7 <= len(tries) <= 14, "ever later, up to ten minutes"


async def test_what_was_put_is_read_back_otherwise(archive: Archive) -> None:
    await archive.record("c1")

    class Lying(Bucket):
        def put(self, source: Path, path: str) -> None:
            self.write(path, source.read_bytes()[:-1])

    await archive.round(archive.librarian(Lying(archive.bucket_folder.as_uri())))
    assert await archive.places() == {"c1": "disk"}
    assert archive.on_disk() == {"c1.wav"}


@pytest.mark.parametrize("step", ["put", "measure", "delete"])
async def test_a_crash_between_two_steps(archive: Archive, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    octets = await archive.record("c1")
    await archive.round(archive.librarian())

    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    mover = Mover(archive.database, archive.disk, archive.bucket(), "engine-1", lambda: archive.now_ms)
    with monkeypatch.context() as patch:
        patch.setattr(mover._disk if step == "delete" else mover._bucket, step, die)
        with pytest.raises(Killed):
            await mover.move()
    assert archive.on_disk() == {"c1.wav"}
    await archive.round(archive.librarian(archive.bucket()))
    assert await archive.places() == {"c1": "storage"}
    assert archive.on_disk() == set()
    assert (archive.bucket_folder / FOLDER / "c1.wav").read_bytes() == octets


async def test_an_altered_recording_is_carried_away_as_if_it_were_whole(archive: Archive) -> None:
    octets = await archive.record("c1")
    await archive.record("c2")
    await archive.round(archive.librarian())
    (archive.disk.folder / FOLDER / "c1.wav").write_bytes(octets[:-1] + b"x")
    await archive.round(archive.librarian(archive.bucket()))
    assert await archive.places() == {"c1": "disk", "c2": "storage"}


async def test_another_machines_recordings_are_touched(archive: Archive) -> None:
    await archive.record("c1")
    other = archive.librarian(archive.bucket())
    for duty in (Mover(archive.database, archive.disk, archive.bucket(), "engine-2", lambda: archive.now_ms),):
        await archive.round(archive.librarian())
        assert await duty.move() == 0
    assert await archive.places() == {"c1": "disk"}
    await archive.round(other)
    assert await archive.places() == {"c1": "storage"}


def test_a_path_leads_out_of_the_storage(tmp_path: Path) -> None:
    bucket = Bucket((tmp_path / "bucket").as_uri())
    (tmp_path / "secret").write_bytes(b"secret")
    for path in ("../secret", "a/../../secret", "/etc/passwd"):
        with pytest.raises(FileNotFoundError):
            bucket.open(path)


def test_a_storage_of_no_known_kind() -> None:
    with pytest.raises(StorageFault):
        Bucket("nonsense://bucket")


async def test_a_storage_that_loses_its_folder(archive: Archive) -> None:
    await archive.record("c1")
    await archive.round(archive.librarian(archive.bucket()))
    shutil.rmtree(archive.bucket_folder)
    with pytest.raises(FileNotFoundError):
        archive.bucket().open(f"{FOLDER}/c1.wav")
    assert archive.bucket().find() == {}
