"""The storage that recordings are carried to: anything that fsspec knows. Calls block: make them in a thread."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec  # type: ignore[import-untyped]  # it ships no types

READ_OCTETS = 1024 * 1024
BLOCK_OCTETS = 1024 * 1024
"""What is asked of the storage at once where a recording is listened to: half a minute."""


class StorageFault(Exception):
    """The storage is away, or refused; the text names the kind of error and no more, since URLs may hold keys."""


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # each backend has exceptions of its own, many of which are no OSError
        raise StorageFault(type(error).__name__) from error


def sha256_of(file: IO[bytes]) -> tuple[str, int]:
    """The digest and the octets of the rest of ``file``."""
    digest, size_octets = hashlib.sha256(), 0
    while piece := file.read(READ_OCTETS):
        digest.update(piece)
        size_octets += len(piece)
    return digest.hexdigest(), size_octets


class Bucket:
    """Paths are those of the recordings' rows, below the URL. A missing file raises FileNotFoundError, all else
    StorageFault."""

    def __init__(self, url: str) -> None:
        with _faults():
            # A listing that is kept would not show what others have put there.
            self._files, root = fsspec.url_to_fs(url, use_listings_cache=False)
        self._root: str = root.rstrip("/")

    def put(self, source: Path, path: str) -> None:
        """Copies a file, in place of what may lie there. It is not whole until this returns."""
        with _faults():
            target = self._at(path)
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(source), target)
            self._settle(target)

    def write(self, path: str, octets: bytes) -> None:
        with _faults():
            target = self._at(path)
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(target, octets)
            self._settle(target)

    def measure(self, path: str) -> tuple[str, int]:
        """SHA-256 and size of what lies there, read back."""
        with _faults(), self._files.open(self._at(path), "rb") as file:
            return sha256_of(file)

    def size_octets(self, path: str) -> int:
        with _faults():
            return int(self._files.info(self._at(path))["size"])

    def open(self, path: str) -> IO[bytes]:
        """For reading and seeking; its methods raise the backend's own exceptions."""
        with _faults():
            file: IO[bytes] = self._files.open(self._at(path), "rb", block_size=BLOCK_OCTETS)
            return file

    def read(self, path: str) -> bytes:
        with _faults():
            octets: bytes = self._files.cat_file(self._at(path))
            return octets

    def delete(self, path: str) -> None:
        """What is not there is deleted already."""
        try:
            with _faults():
                self._files.rm_file(self._at(path))
        except FileNotFoundError:
            return

    def find(self, folder: str = "") -> dict[str, int]:
        """Every file below ``folder`` and its size in octets."""
        with _faults():
            top = self._at(folder) if folder else self._root
            found: dict[str, Any] = self._files.find(top, detail=True)
        return {name.removeprefix(self._root).lstrip("/"): int(info["size"]) for name, info in found.items()}

    def _at(self, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise FileNotFoundError(path)
        return f"{self._root}/{path}"

    def _settle(self, target: str) -> None:
        """A mounted disk forgets in a power cut what was not synced, and the first copy is deleted next."""
        if self._files.protocol[0] != "file":
            return
        for name in (target, target.rpartition("/")[0]):
            descriptor = os.open(name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
