"""Holds a recording to its call: a right header, as long as the talk, each side's tone where no gap is reported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from media.codec.wav import FRAME_OCTETS, HEADER_OCTETS, SAMPLE_RATE, header
from tests.chaos.voices import CALLEE_HZ, CALLER_HZ
from tests.interop.rtp_phone import power_at

LENGTH_OFF_MS_MAX = 20
PURITY_MIN = 0.5
LISTENED_MS = 200
STEP_MS = 400
BEGINNING_MS = 500
WRONG_SHARE_MAX = 0.1
AROUND_LATENESS_MS = 500
"""What was said late is put where the recorder takes the sender's clock to be, until that has been on time again."""


def fault_of(
    path: Path, row: dict[str, Any], talk_ms: int, *, cut_off: bool, unsaid_ms: Sequence[tuple[float, float]] = ()
) -> str | None:
    """What is wrong with it, None if nothing is. ``row`` is that of table ``recordings``.

    With ``cut_off`` its media worker died: it may be shorter, if a gap says so. In ``unsaid_ms`` the phones have said
    nothing, or too late.
    """
    try:
        octets = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    data = octets[HEADER_OCTETS:]
    if len(octets) < HEADER_OCTETS:
        return f"has {len(octets)} octets"
    if not cut_off and octets[:HEADER_OCTETS] != header(len(data)):
        return "has a header that is not of its length"
    frames = len(data) // FRAME_OCTETS
    duration_ms = frames * 1000 // SAMPLE_RATE
    if abs(duration_ms - row["duration_ms"]) > 1:
        return f"has {duration_ms} ms, its row says {row['duration_ms']}"
    gaps = row["gaps_ms"] if isinstance(row["gaps_ms"], list) else json.loads(row["gaps_ms"])
    if cut_off and duration_ms < talk_ms - LENGTH_OFF_MS_MAX:
        if not any(end >= talk_ms for _, _, end in gaps):
            return f"ends at {duration_ms} of {talk_ms} ms, and no gap says so"
    elif abs(duration_ms - talk_ms) > LENGTH_OFF_MS_MAX:
        return f"has {duration_ms} ms, the talk {talk_ms}"
    unsaid = [(begin - AROUND_LATENESS_MS, end + AROUND_LATENESS_MS) for begin, end in unsaid_ms]
    return _wrong_tone(np.frombuffer(data[: frames * FRAME_OCTETS], "<i2").reshape(-1, 2), gaps, unsaid)


def _wrong_tone(
    samples: np.ndarray[Any, np.dtype[np.int16]], gaps: list[list[Any]], unsaid_ms: Sequence[tuple[float, float]]
) -> str | None:
    """Each side's stretches without a gap are listened to: silence in them was not said to be one.

    A call's first moments, and the last of what was sent before a process stopped, may be between two sounds.
    """
    duration_ms = len(samples) * 1000 // SAMPLE_RATE
    for channel, (side, hertz) in enumerate((("caller", CALLER_HZ), ("callee", CALLEE_HZ))):
        own = [*((start, end) for gap_side, start, end in gaps if gap_side == side), *unsaid_ms]
        heard, wrong = 0, []
        for start in range(BEGINNING_MS, duration_ms - LISTENED_MS, STEP_MS):
            end = start + LISTENED_MS
            if any(gap_start < end and start < gap_end for gap_start, gap_end in own):
                continue
            stretch = samples[start * SAMPLE_RATE // 1000 : end * SAMPLE_RATE // 1000, channel]
            heard += 1
            if power_at(stretch, hertz) < PURITY_MIN:
                wrong.append(start)
        if len(wrong) > max(1, heard * WRONG_SHARE_MAX):
            return f"has another sound than the {side}'s at {wrong[0]} ms and {len(wrong) - 1} more of {heard} places"
    return None
