"""The call journal: append-only, checksummed, written in groups. What is in it survives the process.

A segment is a sequence of frames: length (4 octets, big-endian), CRC-32 of the payload (4), payload. A frame that does
not check ends the reading of its segment: it is the torn tail of a write that a crash cut short, and nothing after it
was ever promised to anybody. A new segment begins with all that is still open, so that old ones can go.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from errno import ENOSPC
from pathlib import Path
from zlib import crc32

FRAME_OCTETS_MAX = 64 * 1024
"""A call's record is some hundreds of octets; a longer length is damage, not data."""
SEGMENT_OCTETS_MAX = 32 * 1024 * 1024
"""Some 100,000 milestones; then a new segment begins."""

READ_OCTETS = 256 * 1024
"""Asked of the kernel at once."""

_HEAD = struct.Struct(">II")


class JournalFault(Exception):
    """Our own fault: a payload that no frame takes."""


class Journal:
    """One folder of segments.

    ``write`` hands a group to the kernel, where it survives the process; ``sync`` waits for the disk, where it survives
    the machine too. Not thread-safe, but for ``sync``, which belongs in a thread of its own.
    """

    def __init__(self, folder: Path) -> None:
        """Opens a new segment in ``folder``, which is made if it is not there. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._buffer: list[bytes] = []
        self._number = max((_number(path) for path in segments(folder)), default=0)
        self._superseded: list[Path] = []
        self._written_octets = 0
        self._file = self._open_next()

    @property
    def is_segment_full(self) -> bool:
        return self._written_octets >= SEGMENT_OCTETS_MAX

    def append(self, payload: bytes) -> None:
        """Puts a record into the group that the next ``write`` writes. Raises JournalFault over FRAME_OCTETS_MAX."""
        if len(payload) > FRAME_OCTETS_MAX:
            raise JournalFault(f"a record of {len(payload)} octets")
        self._buffer.append(_HEAD.pack(len(payload), crc32(payload)))
        self._buffer.append(payload)

    def write(self) -> None:
        """Gives what was appended to the kernel, as one group. Raises OSError; the group is then kept."""
        if not self._buffer:
            return
        group = b"".join(self._buffer)
        written = os.write(self._file, group)
        if written < len(group):  # the disk became full in the middle: what is left stays for the next try
            self._buffer = [group[written:]]
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        self._buffer.clear()
        self._written_octets += written

    def sync(self) -> None:
        """Waits until all that was written is on the disk; then earlier segments go. Raises OSError."""
        superseded = self._superseded
        os.fdatasync(self._file)
        for path in superseded:
            path.unlink(missing_ok=True)
        self._superseded = [path for path in self._superseded if path not in superseded]

    def begin_segment(self, still_open: Iterable[bytes]) -> None:
        """Starts a segment with the records that still matter; the next ``sync`` deletes the others. Raises OSError."""
        earlier = segments(self._folder)
        self.next_segment()
        for payload in still_open:
            self.append(payload)
        self.write()
        self._superseded = earlier

    def next_segment(self) -> Path:
        """Starts a segment and leaves the one before it, whose path is returned, to the caller. Raises OSError."""
        self.write()
        written = _segment(self._folder, self._number)
        os.close(self._file)
        self._file = self._open_next()
        return written

    def close(self) -> None:
        """Writes, waits for the disk, closes. Raises OSError."""
        self.write()
        self.sync()
        os.close(self._file)

    def _open_next(self) -> int:
        self._number += 1
        path = _segment(self._folder, self._number)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._written_octets = 0
        # The name must survive a power cut as well as the content.
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return file


def segments(folder: Path) -> list[Path]:
    """The journal's segments, oldest first."""
    return sorted(folder.glob("*.journal"), key=_number)


def read_journal(folder: Path) -> Iterator[bytes]:
    """Every record that was committed, oldest first; a damaged frame ends its segment. Raises OSError."""
    for path in segments(folder):
        yield from _read_segment(path)


def _read_segment(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=READ_OCTETS) as file:
        read, unpack = file.read, _HEAD.unpack
        while len(head := read(_HEAD.size)) == _HEAD.size:
            length, checksum = unpack(head)
            if length > FRAME_OCTETS_MAX:
                return
            payload = read(length)
            if len(payload) < length or crc32(payload) != checksum:
                return
            yield payload


def _segment(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.journal"


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0
