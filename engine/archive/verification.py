"""Compares what lies on a disk or in a storage with what should: by the database, or by the manifests alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from engine.archive.manifest import MalformedManifest, decode, is_manifest

FINDINGS_MAX = 10_000
"""Further ones are only counted."""


class Finding(StrEnum):
    MISSING = "missing"
    CHANGED = "changed"
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"
    """A manifest that is cut short or altered: what it listed cannot be judged."""


class Shelf(Protocol):
    """A disk or a bucket."""

    def find(self, folder: str = "") -> dict[str, int]: ...
    def measure(self, path: str) -> tuple[str, int]: ...
    def read(self, path: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Expected:
    path: str
    sha256: str
    size_octets: int


@dataclass(slots=True)
class Verdict:
    checked: int = 0
    counts: dict[Finding, int] = field(default_factory=lambda: dict.fromkeys(Finding, 0))
    findings: list[tuple[Finding, str]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not any(self.counts.values())

    def note(self, finding: Finding, path: str) -> None:
        self.counts[finding] += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append((finding, path))


def verify(
    shelf: Shelf,
    expected: Iterable[Expected],
    *,
    folder: str = "",
    known: Collection[str] = (),
    is_fresh: Callable[[str], bool] = lambda _path: False,
    sizes_only: bool = False,
) -> Verdict:
    """``known`` are paths that may be there, or not; ``is_fresh`` says of a stranger that it may be on its way.

    Blocks. Raises what the shelf does, but for a missing file.
    """
    verdict = Verdict()
    found = _found(shelf, folder)
    listed: set[str] = set()
    for each in expected:
        listed.add(each.path)
        verdict.checked += 1
        if each.path not in found:
            verdict.note(Finding.MISSING, each.path)
        elif found[each.path] != each.size_octets:
            verdict.note(Finding.CHANGED, each.path)
        elif not sizes_only:
            try:
                if shelf.measure(each.path)[0] != each.sha256:
                    verdict.note(Finding.CHANGED, each.path)
            except FileNotFoundError:
                verdict.note(Finding.MISSING, each.path)
    for path in sorted(found.keys() - listed - set(known)):
        if not is_manifest(path) and not is_fresh(path):
            verdict.note(Finding.UNKNOWN, path)
    return verdict


def verify_by_manifests(
    shelf: Shelf, *, folder: str = "", is_fresh: Callable[[str], bool] = lambda _path: False, sizes_only: bool = False
) -> Verdict:
    """As ``verify``, by the manifests that lie there. A recording that one says was deleted must not be there."""
    expected: list[Expected] = []
    unreadable: list[str] = []
    for path in sorted(_found(shelf, folder)):
        if not is_manifest(path):
            continue
        try:
            _, entries = decode(shelf.read(path))
        except (MalformedManifest, FileNotFoundError):
            unreadable.append(path)
            continue
        expected += [
            Expected(entry.path, entry.sha256, entry.octets) for entry in entries if entry.deleted_at_ms is None
        ]
    verdict = verify(shelf, expected, folder=folder, is_fresh=is_fresh, sizes_only=sizes_only)
    for path in unreadable:
        verdict.note(Finding.UNREADABLE, path)
    return verdict


def _found(shelf: Shelf, folder: str) -> dict[str, int]:
    try:
        return shelf.find(folder)
    except FileNotFoundError:
        return {}
