"""Takes recordings to disk without holding packets up.

A write into the page cache costs the loop some 10 µs; handing it to a thread costs 90 µs in all, since loop and thread
then fight for the interpreter at each system call (measured: 0.9 µs more per relayed packet at 200 calls). So the loop
writes itself as long as the disk takes data at once. A write that is slow turns it over to the thread for a while,
which also hashes the files that ended, those of PAUSE_SECONDS at one go.

A write that fails (a full disk) leaves silence in its place and is reported as a gap of both sides; it ends nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from media.codec import wav
from media.codec.g711 import Pcm
from media.plane import RecordingFinished, Side

log = logging.getLogger("media.recording")

QUEUE_OCTETS_MAX: Final = 64 * 1024 * 1024
"""Samples on their way to disk, 2,000 seconds of calls: what comes while the disk takes no more is lost."""

JOB_OCTETS: Final = 500
"""What counts for each of them beside its samples."""

GAPS_MAX: Final = 500
"""Gaps reported of one recording; further ones are counted into the log only."""

SLOW_SECONDS: Final = 0.02
DEFERRED_SECONDS: Final = 10.0
"""A write that takes longer than the first has the thread write for so long as the second. The first is above what
a busy machine takes the processor away for."""

PAUSE_SECONDS: Final = 0.05
"""Which the thread rests when its queue is empty, so that files that end meanwhile are finished together: to wake it
for each of them costs as much as finishing it."""

JOBS_AT_ONCE_MAX: Final = 64
"""After which the loop is told what is finished, though there be more."""

HASH_OCTETS: Final = 256 * 1024
OPENED_TO_RECORD: Final = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC

Gap = tuple[Side, int, int]


class RecordingFile:
    """One open file. ``missing`` are (start, end) in frames that could not be written."""

    __slots__ = ("_told", "call_id", "descriptor", "frames", "missing", "path")

    def __init__(self, call_id: str, path: str) -> None:
        """Make the file and its folder. Raises OSError where there can be no such file; a full disk is a gap."""
        self.call_id = call_id
        self.path = path
        self.frames = 0
        self._told: int | None = None
        """What the header says of them; None where it could not be written."""
        self.missing: list[tuple[int, int]] = []
        try:
            self.descriptor = os.open(path, OPENED_TO_RECORD, 0o640)
        except FileNotFoundError:  # the day's first recording
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(path, OPENED_TO_RECORD, 0o640)
        try:
            self._tell(0)
        except OSError as error:  # a full disk: the first samples that it takes bring the header along
            log.error("recording: a write failed: %s", error.strerror)

    def write(self, start: int, samples: Pcm) -> None:
        """Write stereo frames from frame ``start`` on; what fails is noted in ``missing``."""
        end = start + len(samples)
        try:
            octets = samples.data.cast("B")
            written = os.pwrite(self.descriptor, octets, wav.HEADER_OCTETS + start * wav.FRAME_OCTETS)
            done = start + written // wav.FRAME_OCTETS
            if done < end:
                self.miss(done, end)
            self.frames = max(self.frames, done)
            self._tell(self.frames)
        except OSError as error:
            log.error("recording: a write failed: %s", error.strerror)
            self.miss(start, end)

    def write_silence(self, start: int, end: int) -> None:
        """As ``write``, of frames that are all zero."""
        try:
            self._bring_to(end)
        except OSError as error:
            log.error("recording: a write failed: %s", error.strerror)
            self.miss(start, end)

    def miss(self, start: int, end: int) -> None:
        """Note frames that are not in the file; adjacent stretches are one."""
        if self.missing and self.missing[-1][1] >= start:
            self.missing[-1] = (self.missing[-1][0], max(end, self.missing[-1][1]))
        elif len(self.missing) < GAPS_MAX:
            self.missing.append((start, end))

    def finish(self, frames: int, gaps: list[Gap]) -> RecordingFinished:
        """Bring the file to its length, close and hash it. Never raises: what is there is reported."""
        sha256, size = "", 0
        try:
            if self._told != frames:
                self._bring_to(frames)
        except OSError as error:
            log.error("recording: cannot be brought to its length: %s", error.strerror)
        try:
            sha256, size = _hashed(self.descriptor)
        except OSError as error:
            log.error("recording: cannot be read back: %s", error.strerror)
        os.close(self.descriptor)
        for start, end in self.missing:
            if start >= self.frames:
                continue  # beyond the end of what could be written; duration_ms says so
            for side in Side:
                gaps.append((side, start * 1000 // wav.SAMPLE_RATE, min(end, frames) * 1000 // wav.SAMPLE_RATE))
        gaps.sort(key=lambda gap: (gap[1], gap[0]))
        duration_ms = round(self.frames * 1000 / wav.SAMPLE_RATE)
        return RecordingFinished(self.call_id, self.path, duration_ms, size, sha256, gaps[:GAPS_MAX])

    def _bring_to(self, frames: int) -> None:
        """Raises OSError. What is longer than was written is a hole, which reads as silence and needs no space."""
        os.ftruncate(self.descriptor, wav.HEADER_OCTETS + frames * wav.FRAME_OCTETS)
        self._tell(frames)
        self.frames = frames

    def _tell(self, frames: int) -> None:
        self._told = None
        os.pwrite(self.descriptor, wav.header(frames * wav.FRAME_OCTETS), 0)
        self._told = frames


def _hashed(descriptor: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while True:
        octets = os.pread(descriptor, HASH_OCTETS, size)
        digest.update(octets)
        size += len(octets)
        if len(octets) < HASH_OCTETS:
            return digest.hexdigest(), size


_Job = tuple[Callable[[], RecordingFinished | None], int]
"""What is to be done, and the octets that it counts for in the queue."""


class RecordingWriter:
    """The thread and its queue. ``wake`` is called, from the thread, when ``finished`` has something."""

    def __init__(self, wake: Callable[[], None], clock: Callable[[], float]) -> None:
        self._wake = wake
        self._clock = clock
        self._deferred_until = 0.0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._finished: deque[RecordingFinished] = deque()
        self._queued = 0
        self._taken = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="recording-writer", daemon=True)
        self._thread.start()

    def write(self, file: RecordingFile, start: int, samples: Pcm) -> bool:
        """Write frames now, or queue them while the disk is slow; False if the queue is full and they are lost."""
        return self._do(partial(file.write, start, samples), samples.nbytes)

    def write_silence(self, file: RecordingFile, start: int, end: int) -> bool:
        """As ``write``, of frames that are all zero."""
        return self._do(partial(file.write_silence, start, end), 0)

    def finish(self, file: RecordingFile, frames: int, gaps: list[Gap]) -> None:
        """Queue the end of a file of so many frames."""
        self._jobs.put((partial(file.finish, frames, gaps), 0))

    def finished(self) -> list[RecordingFinished]:
        """What has been closed since the last call."""
        found: list[RecordingFinished] = []
        while self._finished:
            found.append(self._finished.popleft())
        return found

    def close(self, seconds_max: float) -> None:
        """Work off the queue and end the thread, for at most so long."""
        self._jobs.put(None)
        self._closing.set()
        self._thread.join(seconds_max)

    def _do(self, write: Callable[[], None], octets: int) -> bool:
        # Two counters, each with one writer, need no lock. What is queued must come first.
        if self._queued == self._taken:
            began = self._clock()
            if began >= self._deferred_until:
                write()
                if self._clock() - began > SLOW_SECONDS:
                    log.warning("recording: the disk is slow, the thread writes for now")
                    self._deferred_until = self._clock() + DEFERRED_SECONDS
                return True
        if self._queued - self._taken > QUEUE_OCTETS_MAX:
            return False
        self._queued += octets + JOB_OCTETS
        self._jobs.put((write, octets + JOB_OCTETS))
        return True

    def _work(self) -> None:
        while self._work_off():
            if self._jobs.empty():
                self._closing.wait(PAUSE_SECONDS)

    def _work_off(self) -> bool:
        """Wait for a job, and do it and what else is there; False after the last one."""
        jobs = [self._jobs.get()]
        while len(jobs) < JOBS_AT_ONCE_MAX and not self._jobs.empty():
            jobs.append(self._jobs.get())
        for job in jobs:
            if job is None:
                break
            do, octets = job
            finished = do()
            self._taken += octets
            if finished is not None:
                self._finished.append(finished)
        if self._finished:
            self._wake()
        return None not in jobs
