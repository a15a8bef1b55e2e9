"""What a stream can do to a reader: stop anywhere, never stop, or be no SIP at all."""

from __future__ import annotations

import pytest

from sip.core.messages.framer import HEAD_OCTETS_MAX, MESSAGE_OCTETS_MAX, PING, StreamFramer
from sip.errors import PeerFault

HEAD = b"INFO sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nX-Lost: 9\r\n"
ONE = HEAD + b"Content-Length: 3\r\n\r\nabc"
TWO = HEAD + b"l : 2\r\n\r\n\r\n"  # a body that looks like the end of a head


def test_messages_come_whole_wherever_the_stream_is_cut() -> None:
    stream = ONE + TWO + PING + ONE
    for size in (1, 2, 3, 7, 50, len(stream)):
        framer = StreamFramer()
        found = [each for at in range(0, len(stream), size) for each in framer.receive(stream[at : at + size])]
        assert found == [ONE, TWO, PING, ONE]
        assert framer.waiting_octets == 0


def test_single_line_break_is_a_pong_and_no_message() -> None:
    framer = StreamFramer()
    assert framer.receive(b"\r\n") == []
    assert framer.receive(ONE) == [ONE]
    assert framer.receive(b"\r\n") == []
    assert framer.receive(b"\r\n") == [PING]


@pytest.mark.parametrize(
    "stream",
    [
        b"\x16\x03\x01\x02\x00",  # a TLS hello
        b"GET / HTTP/1.1\r\n",
        b"\rINFO",
        b"A" * 5000,
        HEAD + b"\r\n",  # no length
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + "Content-Length: ٣\r\n\r\n".encode(),
        HEAD + b"Content-Length: 99999999999\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nl: 4\r\n\r\nabc",
        HEAD + b"Content-Length: %d\r\n\r\n" % MESSAGE_OCTETS_MAX,
        HEAD + b"X: 1\r\n" * (HEAD_OCTETS_MAX // 6),
        HEAD + b"X: 1\r\n" * (HEAD_OCTETS_MAX // 6) + b"Content-Length: 0\r\n\r\n",
    ],
)
def test_stream_beyond_repair_is_the_peers_fault(stream: bytes) -> None:
    with pytest.raises(PeerFault):
        StreamFramer().receive(stream)


def test_same_length_twice_is_no_contradiction() -> None:
    data = HEAD + b"Content-Length: 3\r\nl: 3\r\n\r\nabc"
    assert StreamFramer().receive(data) == [data]
