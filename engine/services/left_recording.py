"""A recording whose media worker died: what had been written by then is measured, hashed and kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

from media.codec.wav import FRAME_OCTETS, HEADER_OCTETS, SAMPLE_RATE
from media.plane import RecordingFinished, Side

READ_OCTETS = 1024 * 1024


def measure_left_recording(folder: Path, path: str, call_id: str, talk_ms: int) -> RecordingFinished | None:
    """What is on the disk below ``folder``; None where nothing is, or no whole header. Reads it all: call in a thread.

    What the worker had heard and not written is a gap on both sides, from the file's end to the end of the talk.
    """
    sha256 = hashlib.sha256()
    size_octets = 0
    try:
        with (folder / path).open("rb") as file:
            while piece := file.read(READ_OCTETS):
                sha256.update(piece)
                size_octets += len(piece)
    except OSError:
        return None
    if size_octets < HEADER_OCTETS:
        return None
    duration_ms = (size_octets - HEADER_OCTETS) // FRAME_OCTETS * 1000 // SAMPLE_RATE
    gaps = [(side, duration_ms, talk_ms) for side in Side] if duration_ms < talk_ms else []
    return RecordingFinished(call_id, path, duration_ms, size_octets, sha256.hexdigest(), gaps)
