"""A call's recording: stereo, caller left and callee right, each packet where its timestamp puts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from media.codec.g711 import DECODED, Pcm
from media.codec.wav import SAMPLE_RATE
from media.embedded.recording_writer import Gap, RecordingFile, RecordingWriter
from media.embedded.voice_track import VoiceTrack
from media.plane import Side
from media.rtp.block import Block

KEPT_BACK_FRAMES: Final = 1600
"""200 ms that stay in memory at each flush, so that late packets still find their place."""

AHEAD_FRAMES_MAX: Final = 1600
"""A packet may end so far after the present: the timeline allows it to begin 120 ms ahead."""

SPAN_FRAMES_MAX: Final = 60 * SAMPLE_RATE
"""What is put together at once; after a longer standstill of the whole process the time between stays silent."""

PUNCTUAL_FRAMES: Final = SAMPLE_RATE + 800
"""A worker flushes each second. After a longer time it was late itself, and what came meanwhile may have waited in the
sockets since the last flush."""

STANDSTILL_FRAMES: Final = 3 * SAMPLE_RATE
"""After so long it was stopped, sockets may have been full, and silence is no sender's intent."""

CHANNEL: Final[Mapping[Side, int]] = {Side.CALLER: 0, Side.CALLEE: 1}
NOTHING: Final[Pcm] = np.zeros((0, 2), np.int16)


class Recorder:
    """Puts one call's packets together and queues finished frames. Frames count from the recording's start."""

    __slots__ = ("_file", "_present", "_start", "_tail", "_tracks", "_writer", "_written")

    def __init__(self, call_id: str, path: str, at: float, writer: RecordingWriter) -> None:
        """Record from ``at`` (monotonic seconds) on. Raises OSError if the file cannot be made."""
        self._file = RecordingFile(call_id, path)
        self._writer = writer
        self._start = round(at * SAMPLE_RATE)
        self._written = 0
        self._present = 0
        """Of the last flush."""
        self._tail = NOTHING
        self._tracks = {side: VoiceTrack() for side in Side}

    def flush(
        self, now: float, blocks: Mapping[Side, Block], laws: Mapping[int, str], *, end: float | None = None
    ) -> None:
        """Take the packets since the last flush, and write what no late packet can change any more.

        ``laws`` maps payload types to PCMA or PCMU. With ``end`` everything up to that time is written, not more.
        """
        present = round(now * SAMPLE_RATE) - self._start
        since = present - self._present
        if since > STANDSTILL_FRAMES:
            for track in self._tracks.values():
                track.interrupt(self._start + present)
        late = since if since > PUNCTUAL_FRAMES else 0
        self._present = present
        final = present - KEPT_BACK_FRAMES if end is None else round(end * SAMPLE_RATE) - self._start
        horizon = max(present + AHEAD_FRAMES_MAX, final)
        base = max(self._written, horizon - SPAN_FRAMES_MAX)
        frames, extent = self._put_together(blocks, laws, base, max(0, horizon - base), late)
        ready = max(0, final - base)
        if ready:
            if extent:
                is_taken = self._writer.write(self._file, base, frames[:ready])
            else:
                is_taken = self._writer.write_silence(self._file, base, base + ready)
            if not is_taken:
                self._file.miss(base, base + ready)
            for track in self._tracks.values():
                track.decide(self._start + base + ready, self._start)
        self._written = base + ready
        self._tail = frames[ready : max(ready, extent)].copy()

    def _put_together(
        self, blocks: Mapping[Side, Block], laws: Mapping[int, str], base: int, count: int, late: int
    ) -> tuple[Pcm, int]:
        """``count`` frames from ``base`` on, and how far there is anything in them; none where there is nothing."""
        if not blocks and not len(self._tail):
            return NOTHING, 0
        frames = np.zeros((count, 2), np.int16)
        kept = self._tail[base - self._written :][:count]
        frames[: len(kept)] = kept
        extent = len(kept)
        for side, block in blocks.items():
            channel = frames[:, CHANNEL[side]]
            placed = self._tracks[side].place(block, laws, DECODED, channel, self._start + base, late)
            extent = max(extent, placed)
        return frames, extent

    def abandon(self) -> None:
        """End with what is written, after a fault in ``flush``."""
        self._writer.finish(self._file, self._written, [])

    def finish(self, now: float, blocks: Mapping[Side, Block], laws: Mapping[int, str], at: float) -> None:
        """End at ``at``, with the last packets; the file is closed and reported by the writer."""
        at = max(at, self._start / SAMPLE_RATE)
        self.flush(now, blocks, laws, end=at)
        frames = round(at * SAMPLE_RATE) - self._start
        gaps: list[Gap] = []
        for side, track in self._tracks.items():
            for start, end in track.gaps(self._start, self._start + frames):
                gaps.append((side, (start - self._start) // 8, (end - self._start) // 8))
        self._writer.finish(self._file, frames, gaps)
