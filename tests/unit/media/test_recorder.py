"""Where voice lands in a recording whatever the network does to its packets; no socket, no clock."""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.codec.g711 import DECODED, encode
from media.codec.tone import tone
from media.codec.wav import HEADER_OCTETS
from media.embedded.recorder import Recorder
from media.embedded.recording_writer import JOBS_AT_ONCE_MAX, RecordingWriter
from media.embedded.voice_track import VoiceTrack
from media.plane import RecordingFinished, Side
from media.rtp.block import read_block
from media.rtp.statistics import StreamStatistics
from tests.unit.media.phones import read_recording, rtp, share_at

LAWS = {0: "PCMU", 8: "PCMA"}
VOICE = encode(tone(24_000, 440)[8000:16_000], "PCMA")
START = 1000.0

Sent = tuple[float, bytes]
"""When a packet came, in seconds from the start, and the packet."""


def frame(index: int, **header: Any) -> bytes:
    """The 20 ms of voice that belong at ``index``; a second's period."""
    place = index % 50 * 160
    return rtp(header.pop("sequence", index), VOICE[place : place + 160], **header)


def steady(count: int, delay: float = 0.005) -> list[Sent]:
    return [(index * 0.02 + delay, frame(index)) for index in range(count)]


class Tape:
    """Records caller packets as a worker would: a flush each second, an end; ``still`` is when it was stopped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(
        self,
        caller: list[Sent],
        seconds: float,
        callee: Sequence[Sent] = (),
        flush: float = 1.0,
        still: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[np.ndarray[Any, Any], RecordingFinished]:
        writer = RecordingWriter(wake=lambda: None, clock=lambda: 0.0)
        recorder = Recorder("call", str(self.path), START, writer)
        taken = 0.0
        while taken < seconds:
            until = min(taken + flush, seconds)
            if still[0] < until < still[1]:
                until = still[1]
            blocks = {}
            for side, packets in ((Side.CALLER, caller), (Side.CALLEE, callee)):
                came = sorted((sent for sent in packets if taken <= sent[0] < until), key=lambda sent: sent[0])
                if came:
                    blocks[side] = read_block([data for _, data in came], [START + at for at, _ in came])
            if until < seconds:
                recorder.flush(START + until, blocks, LAWS)
            else:
                recorder.finish(START + until, blocks, LAWS, START + seconds)
            taken = until
        writer.close(5)
        (event,) = writer.finished()
        samples = read_recording(self.path)
        assert len(samples) == round(seconds * 8000)
        return samples, event


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    return Tape(tmp_path / "call.wav")


def expected(seconds: float, delay: float = 0.005) -> np.ndarray[Any, Any]:
    """Frames as they should lie: the voice from its first arrival on, in the caller's channel."""
    second = DECODED["PCMA"][np.frombuffer(VOICE, np.uint8)].astype(float)
    whole = np.tile(second, int(seconds) + 1)
    shift = round(delay * 8000)
    return np.concatenate([np.zeros(shift), whole])[: round(seconds * 8000)]


def caller_gaps(event: RecordingFinished) -> list[tuple[int, int]]:
    return [(start, end) for side, start, end in event.gaps_ms if side is Side.CALLER]


def test_every_sample_is_where_it_belongs(tape: Tape) -> None:
    samples, event = tape(steady(150), 3.0)
    assert np.array_equal(samples[:, 0], expected(3.0))
    assert caller_gaps(event) == []
    assert not samples[:, 1].any()
    assert [gap for gap in event.gaps_ms if gap[0] is Side.CALLEE] == [(Side.CALLEE, 0, 3000)]


@pytest.mark.parametrize("jitter", [0.0, 0.03, 0.3])
@pytest.mark.parametrize("size", [80, 160, 240])
def test_second_read_as_a_run_is_what_it_is_packet_by_packet(size: int, jitter: float) -> None:
    tracks, counts = (VoiceTrack(), VoiceTrack()), (StreamStatistics(), StreamStatistics())
    runs = 0
    for second in range(4):
        first = second * 50
        packets = [
            rtp(n, VOICE[n % 7 : n % 7 + size], ts=n * size, ssrc=9 if second == 3 else 7)
            for n in range(first, first + 50)
        ]
        arrivals = [START + n * size / 8000 + (jitter if n % 5 == 0 else 0.0) for n in range(first, first + 50)]
        channels = []
        for track, count, singly in zip(tracks, counts, (False, True), strict=True):
            block = read_block(packets, arrivals)
            runs += block.run is not None
            if singly:
                block.run = block.payloads = None
            count.add(block)
            channel = np.zeros(40_000, np.int16)
            reach = track.place(block, LAWS, DECODED, channel, round(START * 8000))
            channels.append((reach, channel))
        assert channels[0][0] == channels[1][0]
        assert np.array_equal(channels[0][1], channels[1][1])
    assert runs == 8
    assert (counts[0].packets, counts[0].lost) == (counts[1].packets, counts[1].lost) == (200, 0)
    assert counts[0].jitter_seconds == pytest.approx(counts[1].jitter_seconds)
    gaps = [track.gaps(round(START * 8000), round(START * 8000) + 40_000) for track in tracks]
    assert gaps[0] == gaps[1]


def test_mu_law_is_decoded_as_mu_law(tape: Tape) -> None:
    voice = encode(tone(24_000, 1000)[8000:16_000], "PCMU")
    callee = [(n * 0.02, rtp(n, voice[n % 50 * 160 :][:160], payload_type=0, ssrc=3)) for n in range(100)]
    samples, _ = tape(steady(100), 2.0, callee)
    assert share_at(samples[400:-400, 0], 440) > 0.99
    assert share_at(samples[400:-400, 1], 1000) > 0.99


def test_lost_packets_are_silence_and_a_gap(tape: Tape) -> None:
    packets = [sent for index, sent in enumerate(steady(150)) if index not in (40, 41, 100)]
    samples, event = tape(packets, 3.0)
    want = expected(3.0)
    for index in (40, 41, 100):
        want[40 + index * 160 : 200 + index * 160] = 0
    assert np.array_equal(samples[:, 0], want)
    assert caller_gaps(event) == [(805, 845), (2005, 2025)]


@pytest.mark.parametrize("flush", [0.3, 1.0, 1.01])
def test_reordered_and_late_packets_land_in_place(tape: Tape, flush: float) -> None:
    packets = steady(150)
    for index in (10, 49, 50, 99):
        packets[index] = (packets[index][0] + 0.15, packets[index][1])
    samples, event = tape(packets, 3.0, flush=flush)
    assert np.array_equal(samples[:, 0], expected(3.0))
    assert caller_gaps(event) == []


def test_doubled_packets_change_nothing(tape: Tape) -> None:
    packets = steady(150)
    samples, event = tape(packets + [(at + 0.03, data) for at, data in packets[::3]], 3.0)
    assert np.array_equal(samples[:, 0], expected(3.0))
    assert caller_gaps(event) == []


def test_sequence_and_timestamp_wrap(tape: Tape) -> None:
    packets = [(n * 0.02 + 0.005, frame(n, sequence=65_500 + n, ts=(1 << 32) - 10 * 160 + n * 160)) for n in range(150)]
    samples, event = tape(packets, 3.0)
    assert np.array_equal(samples[:, 0], expected(3.0))
    assert caller_gaps(event) == []


def test_packets_that_change_places_around_a_wrap(tape: Tape) -> None:
    first = (1 << 32) - 60 * 160
    packets = [(n * 0.02 + 0.005, frame(n, sequence=65_536 - 60 + n, ts=first + n * 160)) for n in range(150)]
    packets[58] = (packets[58][0] + 0.07, packets[58][1])
    samples, event = tape(packets, 3.0)
    assert np.array_equal(samples[:, 0], expected(3.0))
    assert caller_gaps(event) == []


def test_packet_that_is_too_late_is_lost_and_moves_nothing(tape: Tape) -> None:
    packets = steady(150)
    packets[20] = (packets[20][0] + 1.3, packets[20][1])
    samples, event = tape(packets, 3.0)
    want = expected(3.0)
    want[20 * 160 + 40 : 21 * 160 + 40] = 0
    assert np.array_equal(samples[:, 0], want)
    assert caller_gaps(event) == [(405, 425)]


def test_new_ssrc_is_placed_by_its_own_arrival(tape: Tape) -> None:
    packets = steady(50) + [(n * 0.02 + 0.005, frame(n, ssrc=99, ts=77_000_000 + n * 160)) for n in range(50, 150)]
    samples, event = tape(packets, 3.0)
    assert np.array_equal(samples[:, 0], expected(3.0))
    assert caller_gaps(event) == []


@pytest.mark.parametrize("jump", [1_000_000, -1_000_000, 5 * 8000, -5 * 8000, 1 << 31])
@pytest.mark.parametrize("at", [50, 70, 98])
def test_clock_that_jumps_is_tied_to_arrival_again(tape: Tape, jump: int, at: int) -> None:
    packets = [(n * 0.02 + 0.005, frame(n, ts=n * 160 + (jump if n >= at else 0))) for n in range(200)]
    samples, _ = tape(packets, 4.0)
    want = expected(4.0)
    differs = np.flatnonzero(samples[:, 0] != want)
    # Two packets at the end of a block are not yet a jump; they may be lost, everything else stands.
    assert len(differs) <= 320
    assert share_at(samples[at * 160 + 800 :, 0], 440) > 0.95


def test_clock_that_stood_still_during_a_pause_is_tied_anew(tape: Tape) -> None:
    packets = [(n * 0.02 + 0.005 + (2.0 if n >= 50 else 0.0), frame(n)) for n in range(150)]
    samples, _ = tape(packets, 5.0)
    assert share_at(samples[400:7900, 0], 440) > 0.95
    assert not samples[8100:23_900, 0].any()
    assert share_at(samples[24_400:39_000, 0], 440) > 0.95


def test_network_that_stood_still_does_not_move_what_comes_after(tape: Tape) -> None:
    packets = steady(150)
    packets[60:70] = [(packets[70][0] - 0.001, data) for _, data in packets[60:70]]
    samples, _ = tape(packets, 3.0)
    assert np.array_equal(samples[:, 0], expected(3.0))


@pytest.mark.parametrize("at", [13.0, 12.99, 12.9999985])
def test_worker_that_stood_still_says_what_it_has_not_recorded(tape: Tape, at: float) -> None:
    """Five of ten seconds waited in the socket, and came at once, before, after or around the first flush; the rest
    found no room there."""
    waited = [(at + index * 1e-6, frame(150 + index)) for index in range(250)]
    later = [(index * 0.02 + 0.005, frame(index)) for index in range(650, 900)]
    samples, event = tape([*steady(150), *waited, *later], 18.0, still=(3.0, 13.0))
    silent = [start for start in range(0, 17_800, 100) if not samples[start * 8 : start * 8 + 800, 0].any()]
    gaps = [(start, end) for side, start, end in event.gaps_ms if side is Side.CALLER]
    unsaid = [start for start in silent if not any(first <= start + 50 < last for first, last in gaps)]
    assert len(silent) > 40
    assert unsaid == []
    assert share_at(samples[14 * 8000 : 17 * 8000, 0], 440) > 0.95


@pytest.mark.parametrize("waited", [0.6, 1.3, 2.5])
@pytest.mark.parametrize("taken", [4, 10])
def test_worker_that_was_late_takes_its_own_delay_for_no_clock_that_stood_still(
    tape: Tape, waited: float, taken: int
) -> None:
    """A busy machine: what came meanwhile waited in the sockets, and was read at once, some of it after the flush. The
    clock was set by that, and the time in which nobody had listened was taken for a pause that was meant."""
    still, until = 1.5, 2.0 + waited
    packets = steady(300)
    late = [index for index, (at, _) in enumerate(packets) if still <= at < until]
    for place, index in enumerate(late):
        packets[index] = (until + (-1e-3 if place < taken else 1e-3) + place * 1e-6, packets[index][1])
    samples, event = tape(packets, 6.0, still=(still, until))
    gaps = caller_gaps(event)
    silent = [start for start in range(0, 5800, 100) if not samples[start * 8 : start * 8 + 800, 0].any()]
    assert [start for start in silent if not any(first <= start + 50 < last for first, last in gaps)] == []
    heard = samples[:, 0] != 0
    assert np.array_equal(samples[heard, 0], expected(6.0)[heard])


def test_slow_drift_keeps_the_recording_together(tape: Tape) -> None:
    packets = [(n * 0.02 * 1.005, frame(n)) for n in range(3000)]  # 0.5 %: 300 ms in a minute
    samples, event = tape(packets, 60.0)
    assert share_at(samples[-8000:, 0], 440) > 0.95
    assert sum(end - start for start, end in caller_gaps(event)) <= 400


def test_silence_suppression_is_no_gap(tape: Tape) -> None:
    packets = [(n * 0.02 + 0.005, frame(n, sequence=n if n < 50 else n - 75)) for n in range(200) if not 50 <= n < 125]
    samples, event = tape(packets, 4.0)
    assert not samples[8100:19_900, 0].any()
    assert share_at(samples[20_400:31_900, 0], 440) > 0.95
    assert caller_gaps(event) == []


def test_key_presses_are_silence_and_no_gap(tape: Tape) -> None:
    packets: list[Sent] = []
    for n in range(150):
        if 50 <= n < 120:
            event = struct.pack("!BBH", 5, 10, (n - 49) * 160)
            packets.append((n * 0.02 + 0.005, rtp(n, event, payload_type=101, ts=50 * 160)))
        else:
            packets.append((n * 0.02 + 0.005, frame(n)))
    samples, finished = tape(packets, 3.0)
    want = expected(3.0)
    want[50 * 160 + 40 : 120 * 160 + 40] = 0
    assert np.array_equal(samples[:, 0], want)
    assert caller_gaps(finished) == []


def test_codec_that_is_not_recorded_is_a_gap(tape: Tape) -> None:
    packets = [(n * 0.02, rtp(n, payload_type=9)) for n in range(100)]
    samples, event = tape(packets, 2.0)
    assert not samples.any()
    assert caller_gaps(event) == [(0, 2000)]


def test_header_extensions_and_padding_are_not_voice(tape: Tape) -> None:
    packets = []
    for at, data in steady(90):
        extended = bytes([0xB1]) + data[1:12] + b"\x00\x00\x00\x63" + b"\xbe\xde\x00\x01abcd" + data[12:] + b"\0\0\0\4"
        packets.append((at, extended))
    samples, event = tape(packets, 2.0)
    want = expected(2.0)
    want[90 * 160 + 40 :] = 0
    assert np.array_equal(samples[:, 0], want)
    assert caller_gaps(event) == [(1805, 2000)]


def test_packets_of_several_lengths_lie_end_to_end(tape: Tape) -> None:
    packets: list[Sent] = []
    place, sequence = 0, 0
    while place < 16_000 - 400:
        size = (160, 240, 80)[sequence % 3]
        voice = (VOICE + VOICE)[place % 8000 :][:size]
        packets.append((place / 8000 + 0.005, rtp(sequence, voice, ts=place)))
        place, sequence = place + size, sequence + 1
    samples, event = tape(packets, 2.0)
    assert np.array_equal(samples[40 : place + 40, 0], expected(2.0)[40 : place + 40])
    assert caller_gaps(event) == []


def test_packets_before_the_start_and_after_the_end_are_left_out(tape: Tape, tmp_path: Path) -> None:
    writer = RecordingWriter(wake=lambda: None, clock=lambda: 0.0)
    recorder = Recorder("call", str(tmp_path / "cut.wav"), START + 0.5, writer)
    packets = steady(100)
    block = read_block([data for _, data in packets], [START + at for at, _ in packets])
    recorder.finish(START + 2.0, {Side.CALLER: block}, LAWS, START + 1.5)
    writer.close(5)
    samples = read_recording(tmp_path / "cut.wav")
    assert np.array_equal(samples[:, 0], expected(2.0)[4000:12_000])


def test_many_gaps_stay_bounded(tape: Tape) -> None:
    samples, event = tape(steady(3000)[::2], 60.0)
    assert len(samples) == 480_000
    assert 200 <= len(event.gaps_ms) <= 500


def test_slow_disk_turns_writing_over_to_the_thread_and_loses_nothing(tmp_path: Path) -> None:
    ticks = iter(range(1_000_000))
    clock: Callable[[], float] = lambda: float(next(ticks))  # noqa: E731 - each look at it is a second later
    writer = RecordingWriter(wake=lambda: None, clock=clock)
    recorder = Recorder("call", str(tmp_path / "slow.wav"), START, writer)
    for second in range(3):
        packets = steady(150)[second * 50 : second * 50 + 50]
        block = read_block([data for _, data in packets], [START + at for at, _ in packets])
        recorder.flush(START + second + 1, {Side.CALLER: block}, LAWS)
    recorder.finish(START + 3, {}, LAWS, START + 3)
    writer.close(5)
    assert np.array_equal(read_recording(tmp_path / "slow.wav")[:, 0], expected(3.0))


def test_silence_that_waits_for_a_slow_disk_cuts_off_nothing_that_comes_after_it(tmp_path: Path) -> None:
    is_held, go_on, now = threading.Event(), threading.Event(), [0.0]

    def hold() -> None:
        is_held.set()
        go_on.wait(5)

    def slow_clock() -> float:
        now[0] += 1
        return now[0]

    writer = RecordingWriter(wake=hold, clock=slow_clock)
    Recorder("other", str(tmp_path / "other.wav"), START, writer).finish(START + 1, {}, LAWS, START + 1)
    assert is_held.wait(5)
    recorder = Recorder("call", str(tmp_path / "slow.wav"), START, writer)
    recorder.flush(START + 1, {}, LAWS)
    now[0] += 60  # the disk would take data again, and the silence is still on its way
    packets = [(at + 1, data) for at, data in steady(50)]
    block = read_block([data for _, data in packets], [START + at for at, _ in packets])
    recorder.finish(START + 2, {Side.CALLER: block}, LAWS, START + 2)
    go_on.set()
    writer.close(5)
    assert np.array_equal(read_recording(tmp_path / "slow.wav")[8_000:, 0], expected(1.0))


def test_silence_plays_at_any_time_and_takes_no_space(tmp_path: Path) -> None:
    path = tmp_path / "silent.wav"
    writer = RecordingWriter(wake=lambda: None, clock=lambda: 0.0)
    recorder = Recorder("call", str(path), START, writer)
    assert len(read_recording(path)) == 0
    for second in range(1, 61):
        recorder.flush(START + second, {}, LAWS)
        assert len(read_recording(path)) == second * 8000 - 1600
    recorder.finish(START + 60, {}, LAWS, START + 60)
    writer.close(5)
    (event,) = writer.finished()
    octets = path.read_bytes()
    assert not any(octets[HEADER_OCTETS:])
    assert (event.sha256, event.size_octets) == (hashlib.sha256(octets).hexdigest(), HEADER_OCTETS + 60 * 32_000)
    assert sorted(event.gaps_ms) == sorted((side, 0, 60_000) for side in Side)
    assert path.stat().st_blocks * 512 < 100_000


def test_recordings_that_end_together_are_told_of_together(tmp_path: Path) -> None:
    waked = threading.Semaphore(0)
    writer = RecordingWriter(wake=waked.release, clock=lambda: 0.0)
    told: list[str] = []
    for index in range(2 * JOBS_AT_ONCE_MAX):
        recorder = Recorder(str(index), str(tmp_path / f"{index}.wav"), START, writer)
        recorder.finish(START + 1, {}, LAWS, START + 1)
    wakes = 0
    while len(told) < 2 * JOBS_AT_ONCE_MAX:
        assert waked.acquire(timeout=5)
        wakes += 1
        told += [event.call_id for event in writer.finished()]
    writer.close(5)
    assert told == [str(index) for index in range(2 * JOBS_AT_ONCE_MAX)]
    assert wakes <= JOBS_AT_ONCE_MAX
