"""The disk that recordings are made on: files below its folder, and how much room there is. Calls block."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from engine.archive.bucket import sha256_of


class Room(StrEnum):
    """How much is left on the recordings' file system, by the limits of the settings."""

    ENOUGH = "enough"
    LOW = "low"
    """Somebody should look."""
    SHORT = "short"
    """Expired recordings go at once."""
    NONE = "none"
    """New calls are not recorded."""


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """Percent of the file system that are free; each at most the one before."""

    alarm_free_percent: float
    deletion_free_percent: float
    stop_free_percent: float

    def judge(self, free_percent: float) -> Room:
        if free_percent < self.stop_free_percent:
            return Room.NONE
        if free_percent < self.deletion_free_percent:
            return Room.SHORT
        return Room.LOW if free_percent < self.alarm_free_percent else Room.ENOUGH


def free_percent(folder: Path) -> float:
    """Of the file system that ``folder`` is on, or will be: what is free to us, of what we could ever have.

    Raises OSError.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    status = os.statvfs(folder)
    # As df does: blocks kept for root are not ours.
    ours = status.f_blocks - status.f_bfree + status.f_bavail
    by_blocks = 100.0 * status.f_bavail / ours if ours else 100.0
    by_files = 100.0 * status.f_favail / status.f_files if status.f_files else 100.0
    return min(by_blocks, by_files)


class Disk:
    """Paths are those of the recordings' rows. A missing file raises FileNotFoundError, all else OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def at(self, path: str) -> Path:
        """The file ``path``; FileNotFoundError for one that leads out of the folder, by .. or a link."""
        root = self.folder.resolve()
        try:
            file = (root / path).resolve()
        except ValueError as error:
            raise FileNotFoundError(path) from error
        if not path or not file.is_relative_to(root) or file == root:
            raise FileNotFoundError(path)
        return file

    def settle(self, path: str) -> tuple[str, int]:
        """Brings a file to the disk for good; its SHA-256 and size as they are there."""
        with self.at(path).open("rb") as file:
            os.fsync(file.fileno())
            return sha256_of(file)

    def measure(self, path: str) -> tuple[str, int]:
        with self.at(path).open("rb") as file:
            return sha256_of(file)

    def write(self, path: str, octets: bytes) -> None:
        """All of it or nothing, over a power cut too."""
        target = self.at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(target.name + ".new")
        with temporary.open("wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)

    def read(self, path: str) -> bytes:
        return self.at(path).read_bytes()

    def delete(self, path: str) -> None:
        """What is not there is deleted already."""
        try:
            self.at(path).unlink(missing_ok=True)
        except FileNotFoundError:
            return

    def find(self, folder: str = "") -> dict[str, int]:
        """Every file below ``folder`` and its size in octets; files that go meanwhile are left out."""
        top = self.folder / folder
        found: dict[str, int] = {}
        for place, _, names in os.walk(top):
            for name in names:
                file = Path(place, name)
                try:
                    found[str(file.relative_to(self.folder))] = file.stat().st_size
                except FileNotFoundError:
                    continue
        return found

    def written_since(self, path: str, seconds: float) -> bool:
        """Whether a file was written at or after a time in seconds since the epoch, or is gone."""
        try:
            return self.at(path).stat().st_mtime >= seconds
        except FileNotFoundError:
            return True
