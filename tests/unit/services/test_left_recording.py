"""Recordings that a media worker left behind when it died."""

from __future__ import annotations

import os
from pathlib import Path

from engine.services.records.left_recording import measure_left_recording
from media.codec.wav import FRAME_OCTETS, HEADER_OCTETS, header
from media.plane import Side

SECOND_OCTETS = 8000 * FRAME_OCTETS


def write(path: Path, seconds: dict[int, bytes]) -> None:
    """Each second's samples where they belong; what is not named is never written."""
    with path.open("wb") as file:
        os.pwrite(file.fileno(), header(0), 0)
        for second, sample in seconds.items():
            os.pwrite(file.fileno(), sample * (SECOND_OCTETS // len(sample)), HEADER_OCTETS + second * SECOND_OCTETS)


def test_what_was_not_written_at_the_end_is_a_gap(tmp_path: Path) -> None:
    write(tmp_path / "1.wav", {0: b"\x01", 1: b"\x01"})
    left = measure_left_recording(tmp_path, "1.wav", "1", 2500)
    assert left is not None
    assert left.duration_ms == 2000
    assert left.gaps_ms == [(side, 2000, 2500) for side in Side]


def test_time_in_which_the_disk_was_full_is_a_gap(tmp_path: Path) -> None:
    write(tmp_path / "1.wav", {0: b"\x01", 4: b"\x01"})
    left = measure_left_recording(tmp_path, "1.wav", "1", 5000)
    assert left is not None
    assert left.duration_ms == 5000
    assert left.gaps_ms == [(side, 1000, 4000) for side in Side]


def test_silence_that_was_written_is_no_gap(tmp_path: Path) -> None:
    write(tmp_path / "1.wav", {0: b"\x01", 1: b"\0", 2: b"\x01"})
    left = measure_left_recording(tmp_path, "1.wav", "1", 3000)
    assert left is not None
    assert left.gaps_ms == []


def test_no_file_and_half_a_header_are_no_recording(tmp_path: Path) -> None:
    (tmp_path / "half.wav").write_bytes(header(0)[:20])
    assert measure_left_recording(tmp_path, "half.wav", "1", 1000) is None
    assert measure_left_recording(tmp_path, "none.wav", "1", 1000) is None


def test_what_was_written_beyond_the_end_of_the_call_is_none_of_it(tmp_path: Path) -> None:
    """Its engine died first, and the CDR ends with that one's last proof of life."""
    write(tmp_path / "1.wav", {0: b"\x01", 1: b"\x01"})
    left = measure_left_recording(tmp_path, "1.wav", "1", 1930)
    assert left is not None
    assert (left.duration_ms, left.gaps_ms) == (1930, [])
    octets = (tmp_path / "1.wav").read_bytes()
    assert octets[:HEADER_OCTETS] == header(len(octets) - HEADER_OCTETS)
    assert len(octets) == HEADER_OCTETS + 1930 * 8 * FRAME_OCTETS
