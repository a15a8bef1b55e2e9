"""A process that was killed: another one goes on with its legs, from what had been written down."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from sip_wire import A_HOP, B_HOP, SDP, Wire
from test_session_timers import incoming, refreshes, timed_wire

from sip.core.dialogs.session import Session, SessionState
from sip.core.dialogs.session_snapshot import CSEQ_LEAP, SessionSnapshot, take_snapshot
from sip.core.events import DialogResponse, SessionEnded, SessionExpired
from sip.core.user_agents.settings import METHODS
from sip.errors import LocalFault


def restart(wire: Wire, session: Session) -> Session:
    """A's process dies; what it knew of the leg goes through octets into a new one."""
    kept = msgspec.msgpack.encode(take_snapshot(session))
    wire.agents[A_HOP] = type(wire.a)(settings=wire.a.settings, new_token=lambda: f"n{len(wire.seen)}")
    return wire.a.resume(msgspec.msgpack.decode(kept, type=SessionSnapshot), wire.now)


def test_either_side_can_hang_up_after_a_restart() -> None:
    for ours in (True, False):
        wire = timed_wire()
        session = wire.call()
        wire.run(5)
        resumed = restart(wire, session)
        if ours:
            wire.a.bye(resumed, wire.now)
        else:
            wire.b.bye(incoming(wire), wire.now)
        wire.run(40)
        ended = [hop for hop, event in wire.events if isinstance(event, SessionEnded)]
        assert ended == [B_HOP if ours else A_HOP]
        answers = [event.status for _, event in wire.events if isinstance(event, DialogResponse)]
        assert answers == [200]
        assert wire.is_clean()


def test_requests_sent_after_the_snapshot_do_not_make_the_next_one_stale() -> None:
    wire = timed_wire()
    session = wire.call()
    wire.run(5)
    early = take_snapshot(session)
    wire.run(2000)  # two refreshes have raised the peer's idea of our numbers
    wire.agents[A_HOP] = type(wire.a)(settings=wire.a.settings, new_token=lambda: f"n{len(wire.seen)}")
    resumed = wire.a.resume(early, wire.now)
    wire.a.bye(resumed, wire.now)
    wire.run(40)
    assert [event.status for _, event in wire.events if isinstance(event, DialogResponse)] == [200]
    assert b"CSeq: %d BYE" % (early.local_cseq + CSEQ_LEAP + 1) in wire.sent(b"BYE")[0]


@pytest.mark.parametrize("methods", [METHODS, tuple(each for each in METHODS if each != "UPDATE")])
def test_refresher_refreshes_at_once_and_goes_on(methods: tuple[str, ...]) -> None:
    wire = timed_wire(b={"methods": methods})
    session = wire.call()
    wire.run(5)
    before = len(refreshes(wire, A_HOP))
    at = wire.now
    restart(wire, session)
    wire.run(2000)
    times = [time for time, _ in refreshes(wire, A_HOP)[before:]]
    assert times[0] - at < 2
    assert len(times) == 3
    assert not any(isinstance(event, SessionExpired) for _, event in wire.events)
    assert wire.sent(b"INVITE")[-1].endswith(SDP)


def test_peer_that_was_to_refresh_and_has_died_is_noticed() -> None:
    wire = timed_wire()
    session = wire.call()
    wire.run(5)
    kept = replace(take_snapshot(session), is_refresher=False)
    wire.agents[A_HOP] = type(wire.a)(settings=wire.a.settings, new_token=lambda: f"n{len(wire.seen)}")
    resumed = wire.a.resume(kept, wire.now)
    wire.b._end(incoming(wire))
    wire.run(1900)
    assert SessionExpired(resumed) in [event for hop, event in wire.events if hop == A_HOP]
    assert resumed.state is SessionState.ENDED


def test_leg_is_taken_up_once() -> None:
    wire = timed_wire()
    session = wire.call()
    wire.run(5)
    with pytest.raises(LocalFault):
        wire.a.resume(take_snapshot(session), wire.now)


def test_snapshot_shows_no_number() -> None:
    wire = timed_wire()
    session = wire.call()
    wire.run(5)
    assert "100@" not in repr(take_snapshot(session))
