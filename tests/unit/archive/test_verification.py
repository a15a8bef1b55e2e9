"""What verification says of a disk and of a bucket, and what a power cut takes."""

from __future__ import annotations

import pytest

from engine.archive.manifest import MalformedManifest, decode
from engine.archive.verification import Finding, verify_by_manifests
from media.codec import wav

from .conftest import FOLDER, Archive

_MANIFEST = f"{FOLDER}/manifest-1-engine-1.jsonl"


async def test_a_bucket_alone_is_verified(archive: Archive) -> None:
    for cdr_id in ("c1", "c2", "c3"):
        await archive.record(cdr_id)
    await archive.round(archive.librarian(archive.bucket()))
    bucket = archive.bucket()
    assert verify_by_manifests(bucket).is_clean
    head, entries = decode(bucket.read(_MANIFEST))
    assert (head.entries, entries[0].duration_ms, entries[0].gaps_ms) == (3, 1000, [["caller", 0, 20]])
    bucket.delete(f"{FOLDER}/c1.wav")
    octets = bucket.read(f"{FOLDER}/c2.wav")
    bucket.write(f"{FOLDER}/c2.wav", octets[:-1] + bytes([octets[-1] ^ 1]))
    bucket.write(f"{FOLDER}/c9.wav", b"x")
    verdict = verify_by_manifests(bucket)
    assert sorted(verdict.findings) == [
        (Finding.CHANGED, f"{FOLDER}/c2.wav"),
        (Finding.MISSING, f"{FOLDER}/c1.wav"),
        (Finding.UNKNOWN, f"{FOLDER}/c9.wav"),
    ]


async def test_a_manifest_is_cut_short(archive: Archive) -> None:
    await archive.record("c1")
    await archive.round(archive.librarian(archive.bucket()))
    octets = archive.bucket().read(_MANIFEST)
    for cut in (0, 10, len(octets) - 5):
        with pytest.raises(MalformedManifest):
            decode(octets[:cut])
    archive.bucket().write(_MANIFEST, octets[:-5])
    assert verify_by_manifests(archive.bucket()).counts[Finding.UNREADABLE] == 1


async def test_a_deleted_recording_is_missed(archive: Archive) -> None:
    await archive.record("c1", age_days=0)
    await archive.round(archive.librarian(archive.bucket()))
    await archive.keep(1, 1)
    archive.now_ms += 3 * 86_400_000
    await archive.round(archive.librarian(archive.bucket()))
    (entry,) = decode(archive.bucket().read(_MANIFEST))[1]
    assert (entry.reason, entry.deleted_at_ms) == ("retention", archive.now_ms)
    assert verify_by_manifests(archive.bucket()).is_clean


async def test_a_power_cut_takes_the_end_of_a_recording(archive: Archive) -> None:
    octets = await archive.record("c1")
    (archive.disk.folder / FOLDER / "c1.wav").write_bytes(octets[: 44 + 4 * 4000 + 3])
    await archive.round(archive.librarian())
    row = await archive.row("c1")
    assert (row.duration_ms, row.size_octets) == (500, 44 + 16_000)
    assert ["caller", 500, 1000] in row.gaps_ms
    assert ["callee", 500, 1000] in row.gaps_ms
    assert archive.disk.measure(row.path) == (row.sha256, row.size_octets)
    assert archive.disk.read(row.path)[:44] == wav.header(16_000), "and what is left plays"


async def test_a_recordings_row_never_came(archive: Archive) -> None:
    await archive.record("c1", row=False)
    archive.now_ms += 3_600_000
    librarian = archive.librarian()
    await archive.round(librarian)
    await archive.round(librarian)
    assert (await archive.row("c1")).tenant_id == 1
