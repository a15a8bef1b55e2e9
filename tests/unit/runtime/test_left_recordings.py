"""What a media worker had written before it died is found, also of calls that had ended by then."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.domain.cdr import Cdr, CdrState
from engine.domain.lines.routing import Parties
from engine.runtime.clock import SteadyClock
from engine.runtime.switchboard import Switchboard
from media.codec.wav import header
from media.plane import RecordingFinished

TALK_MS = 2000


class Desk:
    """A switchboard without calls; ``kept`` are the recordings that it has told its keeper of."""

    def __init__(self, folder: Path) -> None:
        self.kept: list[RecordingFinished] = []
        controller: Any = SimpleNamespace(calls={}, media_lost=lambda call_ids, now: None)
        keeper: Any = SimpleNamespace(take_recording=self.kept.append)
        watch: Any = None
        self.switchboard = Switchboard(
            controller=controller, clock=SteadyClock(0.0), keeper=keeper, recordings_folder=str(folder), watch=watch
        )
        self.folder = folder

    def ended(self, call_id: str) -> Cdr:
        cdr = Cdr.started(call_id, Parties(tenant_id=1), 1000)
        cdr.state, cdr.answered_at_ms, cdr.ended_at_ms = CdrState.ENDED, 2000, 2000 + TALK_MS
        cdr.recording_path = f"{call_id}.wav"
        (self.folder / cdr.recording_path).write_bytes(header(16_000) + bytes(16_000))
        self.switchboard.await_recordings([cdr])
        return cdr

    async def settled(self) -> list[str]:
        await asyncio.gather(*self.switchboard._jobs)
        return [recording.call_id for recording in self.kept]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_of_a_call_that_had_just_ended_when_its_worker_died(desk: Desk) -> None:
    """The worker was killed between the call's end and its word of the recording: the CDR's file had no row."""
    desk.ended("1")
    desk.switchboard.media_lost(["1", "another's"])
    assert await desk.settled() == ["1"]
    assert desk.kept[0].gaps_ms[0][1:] == (500, TALK_MS)


async def test_what_the_worker_has_told_of_is_not_measured_again(desk: Desk) -> None:
    desk.ended("1")
    desk.switchboard.media_told(RecordingFinished("1", "1.wav", TALK_MS, 64_044, "", []))
    desk.switchboard.media_lost(["1"])
    assert await desk.settled() == ["1"]
    assert desk.kept[0].duration_ms == TALK_MS


async def test_of_a_call_that_the_engine_before_had_ended(desk: Desk) -> None:
    cdrs = [desk.ended("1"), desk.ended("2")]
    desk.switchboard.media_told(RecordingFinished("2", "2.wav", TALK_MS, 64_044, "", []))
    desk.switchboard.measure_untold(cdrs)
    assert await desk.settled() == ["2", "1"]
