"""What must outlive what: calls an engine, recordings a worker."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from media.codec.g711 import encode
from media.codec.tone import tone
from media.plane import (
    Delete,
    ListCalls,
    MediaTimedOut,
    Offer,
    Query,
    RecordingFinished,
    Refusal,
    Refused,
    Side,
    StartRecording,
)
from tests.unit.media.phones import (
    Call,
    Engine,
    Phone,
    Worker,
    description,
    read_recording,
    rtp,
    share_at,
)

pytestmark = pytest.mark.slow  # real seconds of speech and silence


def speak(call: Call, seconds: float, first: int = 0) -> int:
    """Both sides speak for a while, in real time: 440 Hz from the caller, 1000 Hz from the callee."""
    voices = [encode(tone(24_000, hertz)[8000:16_000], "PCMA") for hertz in (440, 1000)]
    start = time.monotonic()
    sequence = first
    while (left := start + (sequence - first) * 0.02 - time.monotonic()) < 0 or sequence - first < seconds * 50:
        if sequence - first >= seconds * 50:
            break
        time.sleep(max(0.0, left))
        place = sequence % 50 * 160
        call.caller.send(rtp(sequence, voices[0][place : place + 160], ssrc=1))
        call.callee.send(rtp(sequence, voices[1][place : place + 160], ssrc=2))
        sequence += 1
    return sequence


def test_recording_has_each_side_on_its_channel_and_the_length_of_the_talk(engine: Engine, tmp_path: Path) -> None:
    call = Call(engine)
    path = tmp_path / "new" / "folder" / "call.wav"
    start = call.record(path)
    speak(call, 1.6)
    end = time.monotonic()
    engine.accepted(Delete(engine.cookie(), "call", end))
    event = engine.event()
    assert isinstance(event, RecordingFinished)
    samples = read_recording(path)
    assert abs(len(samples) / 8000 - (end - start)) <= 0.02
    assert abs(event.duration_ms / 1000 - (end - start)) <= 0.02
    assert event.size_octets == path.stat().st_size
    assert event.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert event.gaps_ms == []
    middle = samples[1600:-1600]
    assert share_at(middle[:, 0], 440) > 0.95
    assert share_at(middle[:, 1], 1000) > 0.95


def test_delay_of_the_command_does_not_lengthen_the_recording(engine: Engine, tmp_path: Path) -> None:
    call = Call(engine)
    start = call.record(tmp_path / "call.wav")
    speak(call, 1.5)
    engine.accepted(Delete(engine.cookie(), "call", start + 0.5))
    event = engine.event()
    assert isinstance(event, RecordingFinished)
    assert event.duration_ms == 500
    assert len(read_recording(tmp_path / "call.wav")) == 4000


def test_killed_worker_leaves_recordings_that_play(worker: Worker, tmp_path: Path) -> None:
    engine = worker.engine()
    call = Call(engine)
    call.record(tmp_path / "call.wav")
    speak(call, 2.6)
    worker.kill()
    samples = read_recording(tmp_path / "call.wav")
    assert len(samples) >= 8000
    assert share_at(samples[1600:, 0], 440) > 0.95


def test_terminated_worker_closes_recordings(worker: Worker, tmp_path: Path) -> None:
    engine = worker.engine()
    call = Call(engine)
    start = call.record(tmp_path / "call.wav")
    speak(call, 0.7)
    before = time.monotonic()
    worker.stop()
    assert worker.process.returncode == 0
    samples = read_recording(tmp_path / "call.wav")
    assert len(samples) / 8000 >= before - start - 0.02
    event = engine.event()
    assert isinstance(event, RecordingFinished)
    assert event.sha256 == hashlib.sha256((tmp_path / "call.wav").read_bytes()).hexdigest()
    assert not worker.path.exists()


def test_engine_restarts_and_finds_its_calls(worker: Worker) -> None:
    first = worker.engine()
    call = Call(first)
    call.talk()
    first.close()
    call.talk(first=3)
    second = worker.engine()
    assert second.accepted(ListCalls(second.cookie())).call_ids == ["call"]
    call.engine = second
    call.talk(first=6)
    reply = second.accepted(Delete(second.cookie(), "call", time.monotonic()))
    assert reply.caller is not None
    assert reply.caller.packets == 9


def test_what_an_engine_has_commanded_before_it_went_is_all_done(worker: Worker, tmp_path: Path) -> None:
    """The reply to the first command found nobody, and the other commands were thrown away: recordings of calls that
    had ended went on until the next engine came."""
    first = worker.engine()
    calls = [Call(first, f"call {index}") for index in range(4)]
    for call in calls:
        call.record(tmp_path / f"{call.call_id}.wav")
    worker.process.send_signal(signal.SIGSTOP)
    for call in calls:
        first.socket.send(msgspec.msgpack.encode(Delete(first.cookie(), call.call_id, time.monotonic())))
    first.close()
    worker.process.send_signal(signal.SIGCONT)
    second = worker.engine()
    assert second.accepted(ListCalls(second.cookie())).call_ids == []


def test_engine_that_goes_without_reading_its_replies_is_obeyed_too(worker: Worker) -> None:
    first = worker.engine()
    calls = [Call(first, f"call {index}") for index in range(3)]
    first.socket.send(msgspec.msgpack.encode(ListCalls(first.cookie())))
    time.sleep(0.2)  # the reply is in the engine's socket now, which it closes with it
    worker.process.send_signal(signal.SIGSTOP)
    for call in calls:
        first.socket.send(msgspec.msgpack.encode(Delete(first.cookie(), call.call_id, time.monotonic())))
    first.close()
    worker.process.send_signal(signal.SIGCONT)
    second = worker.engine()
    assert second.accepted(ListCalls(second.cookie())).call_ids == []


@pytest.mark.parametrize("seconds", [0.5, 1.4, 2.4])
def test_worker_that_stands_still_for_a_moment_loses_nothing(
    engine: Engine, worker: Worker, tmp_path: Path, seconds: float
) -> None:
    """All that came meanwhile was in the sockets; it was declared missing before it was read from there."""
    call = Call(engine)
    call.talk()
    call.record(tmp_path / "call.wav")
    stops = threading.Timer(1.3, worker.process.send_signal, (signal.SIGSTOP,))
    goes_on = threading.Timer(1.3 + seconds, worker.process.send_signal, (signal.SIGCONT,))
    stops.start()
    goes_on.start()
    speak(call, 5.0)
    call.engine.accepted(Delete(call.engine.cookie(), "call", time.monotonic()))
    event = engine.event()
    assert isinstance(event, RecordingFinished)
    samples = read_recording(tmp_path / "call.wav")
    for channel in range(2):
        parts = [samples[at * 8 : at * 8 + 800, channel] for at in range(200, 4700, 100)]
        assert [place for place, part in enumerate(parts) if not part.any()] == []
    assert [gap for gap in event.gaps_ms if gap[1] > 200 and gap[2] < 4800] == []


def test_event_without_an_engine_is_told_to_the_next(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(rtp_timeout_seconds=0.3)
    first = worker.engine()
    Call(first)
    first.close()
    time.sleep(1.6)
    event = worker.engine().event()
    assert isinstance(event, MediaTimedOut)


def test_event_in_flight_when_the_engine_dies_is_told_again(worker: Worker, tmp_path: Path) -> None:
    first = worker.engine()
    call = Call(first)
    call.record(tmp_path / "call.wav")
    speak(call, 0.1)
    first.accepted(Delete(first.cookie(), "call", time.monotonic()))
    time.sleep(0.2)  # the event is in the socket's buffer now, unread
    first.close()
    event = worker.engine().event()
    assert isinstance(event, RecordingFinished)


def test_orphaned_call_is_ended_when_no_engine_comes_back(start_worker: Callable[..., Worker]) -> None:
    worker = start_worker(rtp_timeout_seconds=0.2, orphan_seconds=0.6)
    first = worker.engine()
    Call(first)
    first.close()
    time.sleep(2.5)
    second = worker.engine()
    assert second.accepted(ListCalls(second.cookie())).call_ids == []


def test_garbage_on_the_control_socket_stops_nothing(engine: Engine) -> None:
    call = Call(engine)
    for garbage in (b"\x00", b"\xc1", os.urandom(500), msgspec.msgpack.encode({"offer": 1}), b"\x93\xa5offer\x01"):
        engine.socket.send(garbage)
    call.talk()
    engine.accepted(Query(engine.cookie(), "call"))


def test_engine_that_does_not_read_is_cut_off_and_calls_go_on(worker: Worker) -> None:
    deaf = worker.engine()
    call = Call(deaf)
    deaf.socket.setblocking(False)
    message = msgspec.msgpack.encode(Query(1, "call"))
    deadline = time.monotonic() + 20
    closed = False
    while not closed and time.monotonic() < deadline:
        try:
            deaf.socket.send(message)
        except BlockingIOError:
            time.sleep(0.001)
        except OSError:
            closed = True
    assert closed
    call.talk()
    second = worker.engine()
    assert second.accepted(ListCalls(second.cookie())).call_ids == ["call"]


def test_second_worker_on_the_same_path_does_not_take_it_over(
    worker: Worker, start_worker: Callable[..., Worker]
) -> None:
    engine = worker.engine()
    second = start_worker()
    assert second.process.wait(10) == 2
    engine.accepted(ListCalls(engine.cookie()))


def test_socket_left_by_a_dead_worker_is_taken_over(start_worker: Callable[..., Worker]) -> None:
    first = start_worker()
    first.engine()
    first.kill()
    engine = start_worker().engine()
    engine.accepted(ListCalls(engine.cookie()))


def test_others_cannot_open_the_control_socket(worker: Worker) -> None:
    worker.engine()
    assert worker.path.stat().st_mode & 0o077 == 0


def test_bad_settings_end_the_worker_at_once(start_worker: Callable[..., Worker]) -> None:
    assert start_worker(port_min=30_000, port_max=29_000).process.wait(10) == 2
    assert start_worker(no_such_setting=1).process.wait(10) == 2


def test_disk_that_fills_up_ends_neither_call_nor_recording(worker: Worker, tmp_path: Path) -> None:
    engine = worker.engine()
    call = Call(engine)
    call.record(tmp_path / "call.wav")
    # Stands for a full disk: writes beyond fail with EFBIG, the one across it is cut short.
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (20_044, 20_044))
    last = speak(call, 2.4)
    engine.accepted(Delete(engine.cookie(), "call", time.monotonic()))
    assert last == 120
    event = engine.event()
    assert isinstance(event, RecordingFinished)
    assert event.duration_ms == 5000 / 8
    assert len(read_recording(tmp_path / "call.wav")) == 5000
    Call(engine, "next").talk()


def test_disk_that_was_full_for_a_while_leaves_a_gap(worker: Worker, tmp_path: Path) -> None:
    engine = worker.engine()
    call = Call(engine)
    call.record(tmp_path / "call.wav")
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (20_044, resource.RLIM_INFINITY))
    last = speak(call, 2.4)
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    speak(call, 1.4, first=last)
    engine.accepted(Delete(engine.cookie(), "call", time.monotonic()))
    event = engine.event()
    assert isinstance(event, RecordingFinished)
    assert event.duration_ms > 3700
    for side in Side:
        (gap,) = [(start, end) for gap_side, start, end in event.gaps_ms if gap_side is side]
        assert gap[0] == 625
        assert 1000 <= gap[1] <= 2500
    samples = read_recording(tmp_path / "call.wav")
    assert not samples[5000:7000].any()
    assert share_at(samples[-9600:-1600, 0], 440) > 0.95


def test_times_that_make_no_sense_make_no_huge_file(engine: Engine, tmp_path: Path) -> None:
    for index, (start, end) in enumerate(
        [(0.0, 1e300), (float("nan"), float("nan")), (1e300, float("inf")), (-1e300, float("-inf"))]
    ):
        call = Call(engine, f"call-{index}")
        path = tmp_path / f"{index}.wav"
        engine.accepted(StartRecording(engine.cookie(), call.call_id, str(path), start))
        call.talk()
        engine.accepted(Delete(engine.cookie(), call.call_id, end))
        engine.event()
        assert len(read_recording(path)) < 8000


def test_disk_full_at_the_start_loses_no_more_than_the_start(worker: Worker, tmp_path: Path) -> None:
    engine = worker.engine()
    call = Call(engine)
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    call.record(tmp_path / "call.wav")
    last = speak(call, 2.4)  # a worker writes once a second, later where the machine is busy
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    speak(call, 2.4, first=last)
    engine.accepted(Delete(engine.cookie(), "call", time.monotonic()))
    event = engine.event()
    assert isinstance(event, RecordingFinished)
    assert event.duration_ms > 4700
    for side in Side:
        # A machine that is too busy may lose packets later, too.
        gap = next((start, end) for gap_side, start, end in event.gaps_ms if gap_side is side)
        assert gap[0] == 0
        assert 400 <= gap[1] <= 3500
    samples = read_recording(tmp_path / "call.wav")
    assert not samples[:3200].any()
    assert share_at(samples[-9600:-1600, 0], 440) > 0.95


def test_recording_that_cannot_be_made_is_refused_and_the_call_goes_on(engine: Engine, tmp_path: Path) -> None:
    call = Call(engine)
    (tmp_path / "file").touch()
    path = str(tmp_path / "file" / "call.wav")
    reply = engine.ask(StartRecording(engine.cookie(), "call", path, time.monotonic()))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.STORAGE
    call.talk()


def test_many_streams_at_once_do_not_mix(engine: Engine, tmp_path: Path) -> None:
    calls = [Call(engine, f"call-{index}") for index in range(4)]
    for index, call in enumerate(calls):
        call.record(tmp_path / f"{index}.wav")
    threads = [threading.Thread(target=speak_at, args=(call, 500 + 300 * index)) for index, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for call in calls:
        engine.accepted(Delete(engine.cookie(), call.call_id, time.monotonic()))
    for _ in calls:
        engine.event()
    for index in range(4):
        samples = read_recording(tmp_path / f"{index}.wav")[1600:-1600, 0]
        assert share_at(np.trim_zeros(samples), 500 + 300 * index) > 0.95


def speak_at(call: Call, hertz: int) -> None:
    voice = encode(tone(24_000, hertz)[8000:16_000], "PCMA")
    start = time.monotonic()
    for sequence in range(50):
        time.sleep(max(0.0, start + sequence * 0.02 - time.monotonic()))
        call.caller.send(rtp(sequence, voice[sequence * 160 : sequence * 160 + 160]))


def test_phone_that_hung_up_does_not_disturb_the_other_direction(engine: Engine) -> None:
    call = Call(engine)
    call.talk()
    call.callee.socket.close()  # each packet to it now comes back as an ICMP error
    for sequence in range(3, 20):
        call.caller.send(rtp(sequence))
        time.sleep(0.001)
    reply = engine.accepted(Query(engine.cookie(), "call"))
    assert reply.caller is not None
    assert reply.caller.packets == 20
    assert Side.CALLER.other is Side.CALLEE
    revived = Phone.__new__(Phone)
    revived.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    revived.socket.bind(("127.0.0.1", call.callee.port))
    revived.socket.settimeout(2)
    call.caller.send(rtp(20))
    call.caller.send(rtp(21))
    assert revived.socket.recv(2000)[:4] == rtp(20)[:4]


def test_worker_out_of_descriptors_refuses_and_goes_on(worker: Worker, tmp_path: Path) -> None:
    engine = worker.engine()
    first = Call(engine, "first")
    held = len(os.listdir(f"/proc/{worker.process.pid}/fd"))
    # Room for the sockets of a second call, not for its connected ones nor for a recording.
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (held + 4, held + 4))
    second = Call(engine, "second")
    reply = engine.ask(StartRecording(engine.cookie(), "second", str(tmp_path / "call.wav"), time.monotonic()))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.STORAGE
    full = engine.ask(Offer(engine.cookie(), "third", Side.CALLER, description(4000)))
    assert isinstance(full, Refused)
    assert full.refusal is Refusal.CAPACITY
    for call in (first, second):
        call.talk(count=10)
