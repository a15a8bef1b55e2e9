"""A fault of ours in one call."""

from __future__ import annotations

import gc
import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from media import sdp
from media.embedded.call import RelayedCall
from media.embedded.leg import Leg
from media.embedded.negotiation import Negotiation
from media.embedded.recorder import Recorder
from media.embedded.recording_writer import RecordingWriter
from media.embedded.voice_track import VoiceTrack
from media.plane import Side
from tests.unit.media.phones import description, read_recording, rtp


class Board:
    flush_failures = 0

    def watch(self, descriptor: int, handler: Any) -> None: ...
    def connect_through(self, descriptor: int, flow: Any) -> None: ...
    def forget(self, descriptor: int) -> None: ...


def leg(side: Side) -> Leg:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    return Leg(side, "127.0.0.1", "127.0.0.1", 0, *sockets)


def new_call(board: Board) -> RelayedCall:
    return RelayedCall(
        "call",
        leg(Side.CALLER),
        leg(Side.CALLEE),
        negotiation=Negotiation({Side.CALLER: 1, Side.CALLEE: 2}, lambda: bytes(30)),
        board=board,
        now=1000.0,
    )


def test_ended_call_does_not_wait_for_the_collector() -> None:
    """Which comes every two minutes: at 400 calls a second half a gigabyte."""
    gc.collect()
    gc.disable()
    try:
        call = new_call(Board())
        assert isinstance(call.offer(Side.CALLER, sdp.parse(description(4000))), dict)
        call.answer(Side.CALLEE, description(5000), 1000.0)
        call.close()
        del call
        left = [each for each in gc.get_objects() if isinstance(each, RelayedCall | Leg | VoiceTrack)]
        assert left == []
    finally:
        gc.enable()


@pytest.mark.parametrize("last", [False, True])
def test_fault_in_a_flush_ends_only_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, last: bool
) -> None:
    board = Board()
    call = new_call(board)
    writer = RecordingWriter(wake=lambda: None, clock=lambda: 0.0)
    call.recorder = Recorder("call", str(tmp_path / "call.wav"), 1000.0, writer)
    caller = call.legs[Side.CALLER]

    def say(first: int) -> None:
        for sequence in range(first, first + 50):
            caller.packets.append(rtp(sequence))
            caller.arrivals.append(1000 + sequence * 0.02)

    say(0)
    call.flush(1001.0)

    def fail(*_: object) -> int:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(VoiceTrack, "place", fail)
        say(50)
        with caplog.at_level(logging.ERROR):
            if last:
                call.finish_recording(1002.0, 1002.0)
            else:
                call.flush(1002.0)
    assert board.flush_failures == 1
    assert "ZeroDivisionError" in caplog.text
    assert call.recorder is None
    say(100)
    call.flush(1003.0)
    call.finish_recording(1003.0, 1003.0)
    assert call.statistics(Side.CALLER).packets == 150
    writer.close(5)
    (event,) = writer.finished()
    assert event.duration_ms == 800
    assert len(read_recording(tmp_path / "call.wav")) == 6400
    call.close()
