"""A peer that answers, refuses, challenges and asks at random: the user agent stays whole, and forgets all of it."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sip.core.messages.framer import MESSAGE_OCTETS_MAX, StreamFramer
from sip.errors import PeerFault
from tests.fuzz.hostile_peer import HEADER_LINES, STARTS, STATUSES, HostilePeer

_LINES = st.lists(st.sampled_from(HEADER_LINES), max_size=3).map("".join)
_TAGS = st.sampled_from(["p", "q"])
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("answer"), st.integers(0, 30), st.sampled_from(STATUSES), _TAGS, _LINES, st.booleans()),
        st.tuples(
            st.just("ask"), st.sampled_from(["INVITE", "UPDATE", "BYE", "PRACK", "ACK", "INFO", "CANCEL"]), _LINES
        ),
        st.tuples(st.just("incoming"), _LINES, st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 5.0, 40.0, 1000.0])),
        st.tuples(
            st.just("ours"), st.sampled_from(["INVITE", "UPDATE", "INFO", "bye", "cancel", "progress", "answer"])
        ),
        st.tuples(
            st.just("broken"),
        ),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(STARTS)), _STEPS)
@example("called", [("ask", "BYE", ""), ("answer", 0, 100, "p", "", False)])  # an INVITE that nobody cancelled
@example("talking", [("ours", "INVITE"), ("answer", 0, 100, "p", "", False)])  # a re-INVITE that outlived its session
@example("talking", [("ours", "INVITE"), ("answer", 0, 100, "p", "", False), ("ask", "BYE", "")])
def test_hostile_peer_leaves_nothing_behind(start: str, steps: list[tuple[object, ...]]) -> None:
    world = HostilePeer()
    world.call()
    world.drain()
    for status, lines in STARTS[start]:
        world.answer(0, status, "p", lines, has_body=True)
        world.drain()
    for name, *arguments in steps:
        getattr(world, str(name))(*arguments)
        world.drain()
    world.leave()
    assert world.is_forgotten()


_FRAMES = st.lists(
    st.one_of(
        st.binary(max_size=40).map(lambda body: b"INFO sip:a SIP/2.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body),
        st.just(b"\r\n\r\n"),
    ),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(_FRAMES, st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_framing_does_not_depend_on_where_the_stream_is_cut(frames: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(frames)
    framer = StreamFramer()
    found: list[bytes] = []
    at = turn = 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        found += framer.receive(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert found == frames


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(max_size=50)
        | st.sampled_from(
            [b"A SIP/2.0\r\n", b"l: 3\r\n", b"Content-Length: 99\r\n", b"\r\n\r\n", b"\r\n", b"\r", b"l:"]
        ),
        max_size=20,
    )
)
def test_only_peer_faults_leave_the_framer_and_it_stays_bounded(pieces: list[bytes]) -> None:
    framer = StreamFramer()
    try:
        for piece in pieces:
            for message in framer.receive(piece):
                assert message == b"\r\n\r\n" or re.search(rb"SIP/", message)
            assert framer.waiting_octets <= MESSAGE_OCTETS_MAX + 50
    except PeerFault:
        return
