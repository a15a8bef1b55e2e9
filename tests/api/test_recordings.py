from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from admin_api.recordings import CHUNK_OCTETS
from engine.archive.bucket import Bucket
from engine.settings import RecordingSettings
from engine.store.tables import Recording

from .conftest import World

WAV = bytes(range(256)) * 4


@pytest.fixture
async def link(world: World) -> str:
    """The link to cdr1's recording, of 1,024 octets."""
    folder = world.settings.recordings_folder / "2027"
    folder.mkdir(parents=True)
    (folder / "1.wav").write_bytes(WAV)
    answer = await world.ask("tenant1", "GET", "/api/tenant/cdrs/cdr1/recording")
    body = answer.json()
    assert (body["sha256"], body["duration_ms"]) == ("0" * 64, 1000)
    assert body["expires_at_ms"] == world.now_ms + world.settings.api.recording_link_seconds * 1000
    return str(body["link"])


async def _get(world: World, link: str, byte_range: str | None = None, method: str = "GET") -> Any:
    return await world.ask(None, method, link, headers={} if byte_range is None else {"Range": byte_range})


async def test_a_recording_is_heard(world: World, link: str) -> None:
    answer = await _get(world, link)
    assert (answer.status_code, answer.content) == (200, WAV)
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "private, no-store"


async def test_a_recording_is_longer_than_a_chunk(world: World, link: str) -> None:
    long = WAV * (CHUNK_OCTETS // len(WAV) * 2 + 1)
    (world.settings.recordings_folder / "2027" / "1.wav").write_bytes(long)
    assert (await _get(world, link)).content == long
    assert (await _get(world, link, f"bytes=1000-{CHUNK_OCTETS + 2000}")).content == long[1000 : CHUNK_OCTETS + 2001]


@pytest.mark.parametrize(
    ("byte_range", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=1000-", 1000, 1023),
        ("bytes=1000-99999", 1000, 1023),
        ("bytes=-24", 1000, 1023),
        ("bytes=-99999", 0, 1023),
        ("Bytes= 5-6", 5, 6),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_player_seeks(world: World, link: str, byte_range: str, first: int, last: int, method: str) -> None:
    answer = await _get(world, link, byte_range, method)
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/1024"
    assert answer.headers["content-length"] == str(last + 1 - first)
    assert answer.content == (WAV[first : last + 1] if method == "GET" else b"")


@pytest.mark.parametrize("byte_range", ["bytes=1024-", "bytes=-0", "bytes=5000-6000"])
async def test_a_range_holds_nothing(world: World, link: str, byte_range: str) -> None:
    answer = await _get(world, link, byte_range)
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */1024")


@pytest.mark.parametrize(
    "byte_range", ["bytes=", "bytes=-", "bytes=9-3", "bytes=0-1,4-5", "lines=1-2", "bytes=a-b", "x" * 99]
)
async def test_a_range_is_not_understood(world: World, link: str, byte_range: str) -> None:
    answer = await _get(world, link, byte_range)
    assert (answer.status_code, answer.content) == (200, WAV)


async def test_head_sends_a_body(world: World, link: str) -> None:
    answer = await _get(world, link, method="HEAD")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "1024", b"")


async def test_a_link_is_altered(world: World, link: str) -> None:
    for altered in (
        link.replace("cdr1", "cdr2"),
        link.replace("expires=18", "expires=19"),
        link[:-1] + ("0" if link[-1] != "0" else "1"),
        link.partition("?")[0],
        link.partition("&")[0],
        link.replace("expires=", "expires=-"),
        link + "é",
        link + "&expires=1",
    ):
        assert (await _get(world, altered)).status_code in (400, 403), altered
    assert (await _get(world, link, method="POST")).status_code == 405


async def test_a_link_outlives_its_time(world: World, link: str) -> None:
    world.now_ms += world.settings.api.recording_link_seconds * 1000 - 1
    assert (await _get(world, link)).status_code == 200
    world.now_ms += 1
    assert (await _get(world, link)).status_code == 403


@pytest.mark.parametrize(
    "path", ["../secret.key", "2027/../../secret.key", "/etc/passwd", "2027", "2027/link.wav", "no.wav", "", "a\0b"]
)
async def test_a_path_leads_out_of_the_folder(world: World, link: str, path: str) -> None:
    folder = world.settings.recordings_folder
    (folder.parent / "secret.key").write_bytes(b"secret")
    (folder / "2027" / "link.wav").symlink_to(folder.parent / "secret.key")
    if "\0" in path and "sqlite" not in world.settings.database_url:
        return  # PostgreSQL keeps no such text
    await world.write(Recording, "cdr1", path=path)
    answer = await _get(world, link)
    assert answer.status_code == 404
    assert b"secret" not in answer.content


async def test_a_file_is_gone(world: World, link: str) -> None:
    (world.settings.recordings_folder / "2027" / "1.wav").unlink()
    assert (await _get(world, link)).status_code == 404


@pytest.fixture
async def stored(world: World, link: str, tmp_path: Path) -> AsyncIterator[World]:
    """The same world with a storage, to which cdr1's recording has been carried."""
    url = (tmp_path / "bucket").as_uri()
    Bucket(url).put(world.settings.recordings_folder / "2027" / "1.wav", "2027/1.wav")
    (world.settings.recordings_folder / "2027" / "1.wav").unlink()
    await world.write(Recording, "cdr1", place="storage")
    app = world.elsewhere(recordings=RecordingSettings(storage=url))
    async with AsyncTestClient(app, raise_server_exceptions=False) as client:
        world.client, before = client, world.client
        yield world
        world.client = before


async def test_a_recording_in_the_storage_is_not_heard(stored: World, link: str) -> None:
    answer = await _get(stored, link)
    assert (answer.status_code, answer.content) == (200, WAV)
    answer = await _get(stored, link, "bytes=1000-1009")
    assert (answer.status_code, answer.content) == (206, WAV[1000:1010])
    assert answer.headers["content-range"] == "bytes 1000-1009/1024"
    assert (await _get(stored, link, method="HEAD")).headers["content-length"] == "1024"


async def test_a_recording_is_carried_away_while_it_is_asked_for(stored: World, link: str) -> None:
    await stored.write(Recording, "cdr1", place="disk")
    assert (await _get(stored, link)).content == WAV


async def test_the_storage_is_away(stored: World, link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError("secret-key-in-a-message")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", fail)
    answer = await _get(stored, link)
    assert answer.status_code == 503
    assert "secret" not in answer.text


async def test_a_path_leads_out_of_the_storage(stored: World, link: str, tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"secret")
    await stored.write(Recording, "cdr1", path="../secret.key")
    assert (await _get(stored, link)).status_code == 404
