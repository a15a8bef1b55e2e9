"""Key presses told once, whatever the network does to their packets."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from media.embedded.key_player import KEYS_WAITING_MAX
from media.plane import Accepted, Dtmf, PlayDtmf, PlayMedia, Query, Refusal, Refused, Side
from media.rtp.dtmf import EVENT_SECONDS_MAX, DigitCollector, KeyPress, read_event
from media.rtp.packet import parse
from tests.unit.media.phones import Call, Engine, Worker, description, rtp

VOICE_ONLY = "8 0"


def event(code: int, duration: int, *, end: bool = False) -> bytes:
    return struct.pack("!BBH", code, 0x8A if end else 0x0A, duration)


def pressed(packets: Iterable[tuple[int, bytes]], collector: DigitCollector | None = None) -> list[KeyPress]:
    collector = collector or DigitCollector()
    found: list[KeyPress] = []
    for timestamp, payload in packets:
        found += collector.receive(timestamp, read_event(payload), 10.0)
    return found


def key(code: int, timestamp: int) -> list[tuple[int, bytes]]:
    steps = [(timestamp, event(code, duration)) for duration in (160, 320, 480)]
    return [*steps, *[(timestamp, event(code, 640, end=True))] * 3]


def test_end_sent_three_times_is_one_key() -> None:
    assert pressed(key(5, 800) + key(5, 4000) + key(11, 8000)) == [
        KeyPress("5", 640),
        KeyPress("5", 640),
        KeyPress("#", 640),
    ]


def test_lost_end_is_told_by_the_next_key_or_by_time() -> None:
    collector = DigitCollector()
    assert pressed(key(1, 800)[:3] + key(2, 4000)[:2], collector) == [KeyPress("1", 480)]
    assert collector.expire(10.0 + EVENT_SECONDS_MAX / 2) == []
    assert collector.expire(10.1 + EVENT_SECONDS_MAX) == [KeyPress("2", 320)]
    assert collector.expire(20.0) == []
    assert pressed(key(2, 4000), collector) == []


def test_end_overtaken_by_the_next_key_is_not_a_third() -> None:
    first, second = key(1, 800), key(2, 4000)
    assert pressed(first[:5] + second[:1] + first[5:] + second[1:]) == [KeyPress("1", 640), KeyPress("2", 640)]


def test_hook_flash_is_no_key() -> None:
    assert pressed(key(16, 800)) == []


def test_keys_are_relayed_and_told_to_the_engine(engine: Engine) -> None:
    call = Call(engine)
    call.talk()
    for sequence, (timestamp, payload) in enumerate(key(9, 4000), start=3):
        packet = rtp(sequence, payload, payload_type=101, ts=timestamp)
        call.callee.send(packet)
        assert call.caller.receive() == packet
    cut_off = rtp(20, b"\x05", payload_type=101)
    call.callee.send(cut_off)
    assert call.caller.receive() == cut_off
    call.talk(first=21)
    assert engine.event() == Dtmf("call", Side.CALLEE, "9", 80)
    reply = engine.accepted(Query(engine.cookie(), "call"))
    assert engine.events == []
    assert reply.caller is not None and reply.callee is not None  # noqa: PT018  # for mypy
    assert (reply.caller.keys, reply.callee.keys) == (0, 1)


def test_keys_for_a_side_that_takes_none_are_told_and_go_no_further(engine: Engine) -> None:
    call = Call(engine)
    call.renew(description(call.caller.port), description(call.callee.port, formats=VOICE_ONLY))
    call.talk()
    for sequence, (timestamp, payload) in enumerate(key(9, 4000), start=3):
        call.caller.send(rtp(sequence, payload, payload_type=101, ts=timestamp))
    assert call.callee.hears_nothing()
    assert engine.event() == Dtmf("call", Side.CALLER, "9", 80, relayed=False)
    assert "9" not in repr(Dtmf("call", Side.CALLER, "9", 80))


def test_a_key_is_told_once_though_the_engine_comes_anew(start_worker: Callable[..., Worker], tmp_path: Path) -> None:
    """All other events of the last seconds are told again: a key dialled twice is another number."""
    worker = start_worker()
    engine = worker.engine()
    call = Call(engine)
    call.talk()
    for sequence, (timestamp, payload) in enumerate(key(9, 4000), start=3):
        call.callee.send(rtp(sequence, payload, payload_type=101, ts=timestamp))
    assert isinstance(engine.event(), Dtmf)
    engine.close()
    other = worker.engine()
    other.accepted(Query(other.cookie(), "call"))
    assert other.events == []


def press(engine: Engine, digit: str, side: Side = Side.CALLEE, duration_ms: int = 100) -> Accepted | Refused:
    return engine.ask(PlayDtmf(engine.cookie(), "call", side, digit, duration_ms))


def test_keys_are_pressed_one_after_the_other_and_the_voice_waits(engine: Engine) -> None:
    call = Call(engine)
    call.renew(
        description(call.caller.port, formats="8 0 96", events=96),
        description(call.callee.port, formats="8 0 97", events=97),
    )
    call.talk()
    assert isinstance(press(engine, "5"), Accepted)
    assert isinstance(press(engine, "#"), Accepted)
    assert "5" not in repr(PlayDtmf(1, "call", Side.CALLEE, "5", 80))
    call.caller.send(rtp(3, b"\x11" * 160))
    heard = [parse(call.callee.receive()) for _ in range(14)]
    assert {packet.payload_type for packet in heard} == {97}
    assert [packet.sequence for packet in heard] == list(range(3, 17))
    assert [packet.marker for packet in heard] == ([True] + [False] * 6) * 2
    assert len({packet.ssrc for packet in heard}) == 1
    events = [(packet.timestamp, packet.payload) for packet in heard]
    assert [read_event(payload).duration for _, payload in events[:7]] == [160, 320, 480, 640, 800, 800, 800]
    assert [read_event(payload).end for _, payload in events[:7]] == [False] * 4 + [True] * 3
    assert pressed(events) == [KeyPress("5", 800), KeyPress("#", 800)]
    assert call.caller.hears_nothing()
    call.talk(first=20)


def test_keys_that_cannot_be_pressed_are_refused(engine: Engine) -> None:
    call = Call(engine)
    call.renew(description(call.caller.port), description(call.callee.port, formats=VOICE_ONLY))
    refused = press(engine, "5")
    assert isinstance(refused, Refused)
    assert refused.refusal is Refusal.NO_COMMON_CODEC
    for digit in ("", "55", "x"):
        assert isinstance(press(engine, digit, Side.CALLER), Refused)
    replies = [press(engine, "1", Side.CALLER, duration_ms=10**9) for _ in range(KEYS_WAITING_MAX + 1)]
    assert all(isinstance(reply, Accepted) for reply in replies[:-1])
    assert isinstance(replies[-1], Refused)
    assert replies[-1].refusal is Refusal.CAPACITY


def test_the_end_of_a_key_does_not_let_voice_into_a_tone(engine: Engine) -> None:
    call = Call(engine)
    call.talk()
    engine.accepted(PlayMedia(engine.cookie(), "call", Side.CALLEE, "warning", 500))
    assert isinstance(press(engine, "1", duration_ms=60), Accepted)
    time.sleep(0.3)
    voice = rtp(3, b"\x11" * 160)
    call.caller.send(voice)
    heard = []
    while not call.callee.hears_nothing():
        heard.append(call.callee.last)
    assert voice not in heard
    call.talk(first=40)
