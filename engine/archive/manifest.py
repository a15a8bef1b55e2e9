"""The manifest beside the recordings: JSON lines by which a disk or a bucket can be verified without the database.

The first line tells of the rest, with its SHA-256; each further one is a recording that lies here, or one that did and
was deleted. There is one for each day, tenant and machine, and each place has its own: what lies there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from engine.store.records.cdr_store import AnyRow
from engine.store.records.retention_store import DAY_MS

PREFIX = "manifest-"
SUFFIX = ".jsonl"
MANIFEST_OCTETS_MAX = 256 * 1024 * 1024
"""What is read at most: half a million recordings."""


class ManifestHead(msgspec.Struct, kw_only=True):
    axbridge_manifest: int = 1
    engine_id: str
    tenant_id: int
    folder: str
    written_at_ms: int
    entries: int
    sha256: str
    """Of all lines below this one, with their line feeds."""


class Entry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``path`` is below the recordings' folder or the bucket's URL; ``gaps_ms`` lists [side, start, end]."""

    path: str
    sha256: str
    octets: int
    duration_ms: int
    gaps_ms: list[Any] = []
    deleted_at_ms: int | None = None
    """The time at which the file went, or, while it may still be there, at which that was decided."""
    reason: str = ""


class MalformedManifest(Exception):
    """Cut short, altered, or none of ours."""


def manifest_path(engine_id: str, tenant_id: int, folder: str) -> str:
    name = f"{PREFIX}{tenant_id}-{quote(engine_id, safe='')}{SUFFIX}"
    return f"{folder}/{name}" if folder else name


def is_manifest(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith(PREFIX) and name.endswith(SUFFIX)


def days_of(folder: str) -> tuple[int, int]:
    """A time in milliseconds that holds the calls of a folder: the day, or all of it where the name is no day."""
    try:
        start_ms = int(datetime.strptime(folder, "%Y/%m/%d").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return 0, 2**62
    return start_ms, start_ms + DAY_MS - 1


def entries(recordings: Sequence[AnyRow], deletions: Sequence[AnyRow], places: Iterable[str]) -> list[Entry]:
    """What a manifest of a place says: ``places`` are those of the rows that lie there."""
    here = frozenset(places)
    present = [
        Entry(
            path=row.path,
            sha256=row.sha256,
            octets=row.size_octets,
            duration_ms=row.duration_ms,
            gaps_ms=row.gaps_ms,
        )
        for row in recordings
        if row.place in here
    ]
    gone = [
        Entry(
            path=row.path,
            sha256=row.sha256,
            octets=row.size_octets,
            duration_ms=row.duration_ms,
            deleted_at_ms=row.deleted_at_ms or row.decided_at_ms,
            reason=row.reason,
        )
        for row in deletions
        if row.place in here
    ]
    return sorted([*present, *gone], key=lambda entry: entry.path)


def encode(engine_id: str, tenant_id: int, folder: str, found: Sequence[Entry], now_ms: int) -> bytes:
    lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in found)
    head = ManifestHead(
        engine_id=engine_id,
        tenant_id=tenant_id,
        folder=folder,
        written_at_ms=now_ms,
        entries=len(found),
        sha256=hashlib.sha256(lines).hexdigest(),
    )
    return msgspec.json.encode(head) + b"\n" + lines


def decode(octets: bytes) -> tuple[ManifestHead, list[Entry]]:
    """Raises MalformedManifest."""
    first, _, rest = octets.partition(b"\n")
    try:
        head = msgspec.json.decode(first, type=ManifestHead)
        found = [msgspec.json.decode(line, type=Entry) for line in rest.splitlines()]
    except msgspec.MsgspecError as error:
        raise MalformedManifest("is not what a manifest looks like") from error
    if head.axbridge_manifest != 1:
        raise MalformedManifest("is of a later version")
    if head.entries != len(found) or head.sha256 != hashlib.sha256(rest).hexdigest():
        raise MalformedManifest("does not have the SHA-256 that its first line says")
    return head, found
