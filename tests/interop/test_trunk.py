"""A trunk's peer that is asked whether it is there, and is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import check_after, end_calls_of, has_failed, lane_indexes
from tests.interop.lane import Lane
from tests.interop.site import Site

pytestmark = pytest.mark.sipp

PING_SECONDS = 0.5


@pytest.fixture
def asked_lane(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lane]:
    site = Site(tmp_path / "site", ping_seconds=PING_SECONDS)
    try:
        site.start()
        made = Lane(site, tmp_path / "lane", next(lane_indexes))
        yield made
        made.close()
        if has_failed(request.node):
            end_calls_of(site, [made])
        else:
            check_after(site, [made])
    finally:
        site.stop()


def test_peer_that_was_away_is_called_again_once_it_answers(asked_lane: Lane) -> None:
    """Silent for some time, then there: its answer to OPTIONS is enough, and the next call goes through."""
    peer = asked_lane.called_phone()
    peer.listen(PING_SECONDS * 2)
    question = peer.expect("OPTIONS")
    assert asked_lane.a not in question.octets.decode()
    assert asked_lane.x[1:] not in question.octets.decode()
    peer.listen(8.0)  # 64 × T1: the first question is given up
    deadline = time.monotonic() + 3 * PING_SECONDS + 1.0
    answered: set[str] = set()
    while time.monotonic() < deadline:
        peer.listen(0.1)
        for message in peer.received:
            if message.start_line.startswith("OPTIONS ") and message.header("Via") not in answered:
                answered.add(message.header("Via"))
                peer.respond(message, "200 OK")
    assert answered
    caller = asked_lane.caller("caller_hangs_up", duration_ms=300)
    peer.accept(asked_lane.callee_voice.port)
    peer.expect("ACK")
    peer.expect("BYE")
    peer.serve_byes(0.2)
    caller.wait()
    asked_lane.assert_talked(asked_lane.cdr(), 0.3)
