"""A recording whose media worker died: what had been written by then is measured, hashed and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from media.codec.wav import FRAME_OCTETS, HEADER_OCTETS, SAMPLE_RATE, header
from media.plane import RecordingFinished, Side

READ_OCTETS: Final = 1024 * 1024
GAPS_MAX: Final = 250
"""Stretches reported of one recording, as many as of one that ended well."""
PAGE_OCTETS: Final = 4096
"""A hole begins and ends with a page: half a page of what was not written may stand beside it, as zeros."""


def measure_left_recording(folder: Path, path: str, call_id: str, talk_ms: int) -> RecordingFinished | None:
    """What is on the disk below ``folder``; None where nothing is, or no whole header. Reads it all: call in a thread.

    What the worker had heard and not written is a gap on both sides: from the file's end to the end of the talk, and
    where the disk was full for a while, which is a hole in the file. The gaps in what came are lost with the worker.
    """
    sha256 = hashlib.sha256()
    size_octets = 0
    try:
        _mend(folder / path, talk_ms)
        with (folder / path).open("rb") as file:
            while piece := file.read(READ_OCTETS):
                sha256.update(piece)
                size_octets += len(piece)
            stretches = [(_ms(start), _ms(end)) for start, end in _not_written(file, size_octets)]
    except OSError:
        return None
    if size_octets < HEADER_OCTETS:
        return None
    duration_ms = _ms(size_octets)
    if duration_ms < talk_ms:
        stretches.append((duration_ms, talk_ms))
    gaps = [(side, start, end) for start, end in stretches[-GAPS_MAX:] for side in Side]
    return RecordingFinished(call_id, path, duration_ms, size_octets, sha256.hexdigest(), gaps)


def _mend(path: Path, talk_ms: int) -> None:
    """A power cut may keep the header and lose samples, or the other way round: the header says what is there.

    Nor is there more than the talk: a worker that outlived its engine by a moment went on beyond the end of a call
    whose CDR ends with the engine's last proof of life. Raises OSError.
    """
    with path.open("r+b") as file:
        size_octets = os.fstat(file.fileno()).st_size
        frames = min((size_octets - HEADER_OCTETS) // FRAME_OCTETS, talk_ms * SAMPLE_RATE // 1000)
        if frames < 0:
            return
        wanted = header(frames * FRAME_OCTETS)
        if file.read(HEADER_OCTETS) != wanted or size_octets != HEADER_OCTETS + frames * FRAME_OCTETS:
            os.ftruncate(file.fileno(), HEADER_OCTETS + frames * FRAME_OCTETS)
            os.pwrite(file.fileno(), wanted, 0)


def _ms(octets: int) -> int:
    """The time at a place in the file."""
    return max(0, octets - HEADER_OCTETS) // FRAME_OCTETS * 1000 // SAMPLE_RATE


def _not_written(file: BinaryIO, size_octets: int) -> Iterator[tuple[int, int]]:
    """The file's holes (lseek(2), SEEK_HOLE) with the zeros on either side; none where the file system knows none."""
    place = 0
    while (start := os.lseek(file.fileno(), place, os.SEEK_HOLE)) < size_octets:
        try:
            end = os.lseek(file.fileno(), start, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing after it
            end = size_octets
        before = os.pread(file.fileno(), min(PAGE_OCTETS, start), max(0, start - PAGE_OCTETS))
        after = os.pread(file.fileno(), PAGE_OCTETS, end)
        yield (
            max(HEADER_OCTETS, start - (len(before) - len(before.rstrip(b"\0")))),
            end + len(after) - len(after.lstrip(b"\0")),
        )
        place = end
        if end >= size_octets:
            return
