"""The book of traces: which messages it keeps, for which call, and for how long."""

from __future__ import annotations

import pytest

from engine.runtime.monitoring.trace import (
    MESSAGE_OCTETS_MAX,
    MESSAGE_OVERHEAD_OCTETS,
    UNJOINED_MAX,
    UNJOINED_MESSAGES_MAX,
    TraceBook,
    TraceLimits,
)
from sip.core.hop import Hop

CALLER, CALLEE = Hop("udp", "10.0.0.1", 5060), Hop("udp", "10.0.0.2", 5060)


def message(start: str, call_id: str, *, header: str = "Call-ID", padding: int = 0) -> bytes:
    return f"{start}\r\nVia: x\r\n{header}: {call_id}\r\nX: {'x' * padding}\r\n\r\n".encode()


def invite(call_id: str, **more: object) -> bytes:
    return message("INVITE sip:b@x SIP/2.0", call_id, **more)  # type: ignore[arg-type]  # passed on


def make(**limits: float) -> TraceBook:
    return TraceBook(TraceLimits(**limits))  # type: ignore[arg-type]  # passed on


def lines(book: TraceBook, call_id: str, now: float = 0.0) -> list[tuple[int, bool, str]]:
    trace = book.read(call_id, now)
    assert trace is not None
    return [(each.leg, each.sent, each.data.decode().partition("\r\n")[0]) for each in trace.messages]


def call(book: TraceBook, name: str, now: float, *, ended: bool = True, padding: int = 0) -> None:
    book.observe(invite(name, padding=padding), CALLER, now, False)
    book.leg_made(name, name)
    if ended:
        book.ended(name, now)


def test_both_legs_are_one_trace_from_the_first_invite_on() -> None:
    book = make()
    book.observe(invite("a-leg"), CALLER, 1.0, False)
    book.leg_made("call", "a-leg")
    book.leg_made("call", "b-leg")
    book.observe(message("SIP/2.0 100 Trying", "a-leg"), CALLER, 1.1, True)
    book.observe(invite("b-leg"), CALLEE, 1.1, True)
    book.observe(message("SIP/2.0 180 Ringing", "b-leg"), CALLEE, 1.2, False)
    assert lines(book, "call") == [
        (0, False, "INVITE sip:b@x SIP/2.0"),
        (0, True, "SIP/2.0 100 Trying"),
        (1, True, "INVITE sip:b@x SIP/2.0"),
        (1, False, "SIP/2.0 180 Ringing"),
    ]
    trace = book.read("call", 0.0)
    assert trace is not None
    assert [each.at for each in trace.messages] == [1.0, 1.1, 1.1, 1.2]
    assert [each.hop for each in trace.messages] == [CALLER, CALLER, CALLEE, CALLEE]


@pytest.mark.parametrize("header", ["Call-ID", "i", "call-id", "CALL-ID", "Call-ID "])
def test_a_peer_that_writes_call_id_in_its_own_way_is_traced(header: str) -> None:
    book = make()
    book.observe(invite("a-leg", header=header), CALLER, 0.0, False)
    book.leg_made("call", "a-leg")
    book.observe(message("ACK sip:b@x SIP/2.0", " a-leg ", header=header), CALLER, 0.1, False)
    assert [line for _, _, line in lines(book, "call")] == ["INVITE sip:b@x SIP/2.0", "ACK sip:b@x SIP/2.0"]


def test_a_challenged_phones_first_try_is_in_the_trace() -> None:
    book = make()
    book.observe(invite("a-leg"), CALLER, 0.0, False)
    book.observe(message("SIP/2.0 401 Unauthorized", "a-leg"), CALLER, 0.0, True)
    book.observe(message("ACK sip:b@x SIP/2.0", "a-leg"), CALLER, 0.1, False)
    book.observe(invite("a-leg"), CALLER, 0.2, False)
    book.leg_made("call", "a-leg")
    assert len(lines(book, "call")) == 4


def test_what_belongs_to_no_call_is_not_kept() -> None:
    book = make()
    for data in (b"\r\n\r\n", b"", b"\x00\x01" * 20, message("OPTIONS sip:x SIP/2.0", "o"), b"Call-ID: x" * 10):
        book.observe(data, CALLER, 0.0, False)
    book.observe(invite("ours, of no call"), CALLER, 0.0, True)
    assert book.octets == 0
    assert book.read("o", 0.0) is None


def test_a_flood_of_invites_takes_no_more_than_its_place() -> None:
    book = make()
    call(book, "call", 0.0, ended=False)
    before = book.octets
    for number in range(UNJOINED_MAX * 3):
        for _ in range(UNJOINED_MESSAGES_MAX * 3):
            book.observe(invite(f"stranger{number:04}"), CALLER, 0.0, False)
    place = UNJOINED_MAX * UNJOINED_MESSAGES_MAX * (len(invite("stranger0000")) + MESSAGE_OVERHEAD_OCTETS)
    assert book.octets - before == place
    assert len(lines(book, "call")) == 1
    assert len(book) == 1


def test_messages_beyond_the_limit_are_counted() -> None:
    book = make(messages_per_call_max=3)
    call(book, "call", 0.0)
    for _ in range(5):
        book.observe(message("INFO sip:b@x SIP/2.0", "call"), CALLER, 0.0, False)
    trace = book.read("call", 0.0)
    assert trace is not None
    assert (len(trace.messages), trace.left_out) == (3, 3)


def test_of_a_huge_message_the_beginning_is_kept() -> None:
    book = make()
    call(book, "call", 0.0, padding=3 * MESSAGE_OCTETS_MAX)
    trace = book.read("call", 0.0)
    assert trace is not None
    assert len(trace.messages[0].data) == MESSAGE_OCTETS_MAX
    assert book.octets == MESSAGE_OCTETS_MAX + MESSAGE_OVERHEAD_OCTETS


def test_traces_go_when_their_time_is_over_and_running_calls_stay() -> None:
    book = make(kept_seconds=60)
    call(book, "early", 0.0)
    call(book, "late", 30.0)
    call(book, "running", 0.0, ended=False)
    book.observe(message("SIP/2.0 200 OK", "early"), CALLER, 59.0, True)
    assert len(lines(book, "early", 59.9)) == 2, "stragglers belong to it"
    assert book.read("early", 60.0) is None
    assert book.read("late", 60.0) is not None
    book.expire(10_000.0)
    assert book.read("late", 10_000.0) is None
    assert len(lines(book, "running", 10_000.0)) == 1


def test_too_many_calls_cost_the_oldest_ended_one_its_trace_first() -> None:
    book = make(calls_max=3)
    call(book, "running", 0.0, ended=False)
    for name in ("first", "second", "third"):
        call(book, name, 0.0)
    assert [name for name in ("running", "first", "second", "third") if book.read(name, 0.0)] == [
        "running",
        "second",
        "third",
    ]
    for name in ("fourth", "fifth", "sixth"):
        call(book, name, 0.0, ended=False)
    assert (len(book), book.evicted) == (3, 4)
    assert book.read("running", 0.0) is None, "no ended one was left to go"


def test_too_many_octets_cost_the_oldest_and_none_are_left_in_the_account() -> None:
    book = make(octets_max=10_000, kept_seconds=60)
    for number in range(50):
        call(book, f"call{number}", 0.0, padding=1000)
        assert book.octets <= 10_000
    assert book.read("call49", 0.0) is not None
    assert book.read("call0", 0.0) is None
    book.expire(60.0)
    assert (book.octets, len(book), book._legs) == (0, 0, {})


def test_one_running_call_larger_than_the_memory_does_not_end_the_engine() -> None:
    book = make(octets_max=1000)
    call(book, "call", 0.0, ended=False, padding=2000)
    book.observe(invite("stranger", padding=2000), CALLER, 0.0, False)
    assert book.octets <= 4300
    book.observe(invite("call", padding=2000), CALLER, 0.0, False)


def test_a_leg_told_twice_is_one_leg() -> None:
    book = make()
    for leg in ("a-leg", "b-leg", "b-leg", "c-leg"):
        book.leg_made("call", leg)
    book.observe(invite("c-leg"), CALLEE, 0.0, True)
    assert [leg for leg, _, _ in lines(book, "call")] == [2]


def test_a_leg_made_after_the_end_opens_no_second_trace() -> None:
    book = make(kept_seconds=60)
    call(book, "call", 0.0)
    book.leg_made("call", "late leg")
    book.expire(60.0)
    assert (len(book), book._legs) == (0, {})


def test_a_call_id_used_again_belongs_to_the_later_call() -> None:
    book = make(kept_seconds=60)
    call(book, "one", 0.0)
    book.leg_made("two", "one")
    book.observe(message("BYE sip:b@x SIP/2.0", "one"), CALLER, 50.0, False)
    book.expire(60.0)
    book.observe(message("SIP/2.0 200 OK", "one"), CALLER, 61.0, True)
    assert len(lines(book, "two", 61.0)) == 2
