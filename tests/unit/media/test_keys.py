"""Key presses told once, whatever the network does to their packets."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from media.plane import Dtmf, Query, Side
from media.rtp.dtmf import EVENT_SECONDS_MAX, DigitCollector, KeyPress, read_event
from tests.unit.media.phones import Call, Engine, rtp


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
