"""What the simulator has found, each fault by the shortest history that shows it."""

from __future__ import annotations

from collections.abc import Iterable

from engine.domain.cause import Cause
from media import plane
from sip.core.dialogs.session import SessionState
from sip.core.hop import Hop
from tests.sim.calm import CalmPair
from tests.sim.engine import Death, DeathPoint
from tests.sim.invariants import violations
from tests.sim.media_plane import MediaConduct
from tests.sim.phones import TAKES_EVENTS
from tests.sim.vice import Vice


class Deaf(Vice):
    """Nothing reaches it any more, so that nothing of ours is answered."""

    def lets_in(self, data: bytes, source: Hop) -> bool:
        return False


def test_a_talking_call_goes_on_when_its_engine_dies() -> None:
    pair = CalmPair(deaths=(Death(5.0, 1.0, DeathPoint.BETWEEN),))
    pair.timeline.pass_seconds(10.0)
    assert [resumed.call_id for resumed in pair.engine.chronicle.resumed] == list(pair.engine.controller.calls)
    pair.caller.act(pair.caller_session, "BYE")
    history = pair.run_out()
    (cdr,) = history.engine.records
    assert (cdr.cause, round(cdr.talk_ms, -3)) == (Cause.NORMAL, 10_000)
    assert violations(history) == []


def test_the_charge_of_a_call_that_died_with_engine_and_media_leaves_the_lease() -> None:
    """The new engine had read its lease before it knew what the call had cost, and could spend that much twice."""
    pair = CalmPair(
        deaths=(Death(5.0, 1.0, DeathPoint.BETWEEN),), media=MediaConduct(dies_after=5.1, comes_back_after=0.1)
    )
    history = pair.run_out()
    (cdr,) = history.engine.records
    assert cdr.cause is Cause.ENGINE_RESTART
    assert cdr.charge_micro > 0
    assert violations(history) == []


def test_a_key_that_waits_for_its_answer_when_the_call_ends_leaves_no_transaction() -> None:
    pair = CalmPair()
    pair.callee.node.vices.append(Deaf())
    pair.caller.act(pair.caller_session, "INFO")
    pair.timeline.pass_seconds(1.0)
    pair.engine.hang_up_one()
    assert violations(pair.run_out()) == []


def test_a_hold_that_waits_for_its_answer_when_we_hang_up_leaves_no_transaction() -> None:
    pair = CalmPair()
    pair.callee.node.vices.append(Deaf())
    pair.caller.act(pair.caller_session, "INVITE")
    pair.timeline.pass_seconds(1.0)
    pair.engine.hang_up_one()
    pair.timeline.pass_seconds(1.0)
    assert pair.caller_session.state is SessionState.ENDED
    assert violations(pair.run_out()) == []


def test_a_100_to_our_reinvite_that_comes_after_our_bye_leaves_no_transaction() -> None:
    pair = CalmPair()
    sent: list[bytes] = []
    receive = pair.callee.node._receive
    engine_hop = pair.engine.node.hop
    pair.network.attach(pair.callee.node.hop, lambda data, source: sent.append(data))
    pair.caller.act(pair.caller_session, "INVITE")
    pair.timeline.pass_seconds(0.2)
    pair.engine.hang_up_one()
    pair.timeline.pass_seconds(0.2)
    (invite,) = {data for data in sent if data.startswith(b"INVITE ")}
    head = b"".join(
        line + b"\r\n"
        for line in invite.split(b"\r\n")
        if line.startswith((b"Via: ", b"From: ", b"To: ", b"Call-ID: ", b"CSeq: "))
    )
    pair.network.send(b"SIP/2.0 100 Trying\r\n" + head + b"Content-Length: 0\r\n\r\n", pair.callee.node.hop, engine_hop)
    pair.timeline.pass_seconds(0.2)
    pair.network.attach(pair.callee.node.hop, receive)
    assert violations(pair.run_out()) == []


class LosesItsAcks(Vice):
    """So many of its ACKs go into the void, as those do that are sent while no engine is there."""

    def __init__(self, count: int) -> None:
        self._left = count

    def outwards(self, data: bytes, destination: Hop) -> Iterable[tuple[float, bytes]]:
        if data.startswith(b"ACK ") and self._left:
            self._left -= 1
            return ()
        return ((0.0, data),)


def _answers_to(pair: CalmPair) -> list[bytes]:
    """The 200s to its INVITE that the caller has got."""
    return [
        data
        for _, to, data in pair.network.arrived
        if to == pair.caller.node.hop and data.startswith(b"SIP/2.0 200") and b"\r\nCSeq: 1 INVITE\r\n" in data
    ]


def test_who_has_acknowledged_is_not_answered_again_when_the_engine_dies_at_once() -> None:
    """SIPp takes any 200 for the one that it waits for: such a caller's BYE was lost, and the call went on for ever."""
    pair = CalmPair(deaths=(Death(0.9, 1.0, DeathPoint.BETWEEN),))
    assert len(_answers_to(pair)) == 1
    pair.timeline.pass_seconds(2.0)
    assert len(pair.engine.chronicle.resumed) == 1
    pair.timeline.pass_seconds(5.0)
    assert len(_answers_to(pair)) == 1
    pair.caller.act(pair.caller_session, "BYE")
    assert violations(pair.run_out()) == []


def test_who_acknowledged_before_two_deaths_is_not_answered_again() -> None:
    """The second engine's journal begins with the call as the first had left it."""
    pair = CalmPair(deaths=(Death(0.9, 1.0, DeathPoint.BETWEEN), Death(3.0, 1.0, DeathPoint.BETWEEN)))
    pair.timeline.pass_seconds(8.0)
    assert len(pair.engine.chronicle.resumed) == 2
    assert len(_answers_to(pair)) == 1
    pair.caller.act(pair.caller_session, "BYE")
    assert violations(pair.run_out()) == []


def test_an_answer_whose_ack_came_while_no_engine_was_there_is_repeated_until_the_next_ack() -> None:
    pair = CalmPair(deaths=(Death(0.9, 1.0, DeathPoint.BETWEEN),), callers_vices=[LosesItsAcks(2)])
    pair.timeline.pass_seconds(8.0)
    copies = len(_answers_to(pair))
    assert copies == 3  # the first engine's, the next one's, and that after T1
    pair.timeline.pass_seconds(40.0)
    assert len(_answers_to(pair)) == copies
    assert len(pair.engine.controller.calls) == 1
    pair.caller.act(pair.caller_session, "BYE")
    assert violations(pair.run_out()) == []


def test_a_caller_who_never_acknowledges_is_not_charged_for_ever_by_the_next_engine() -> None:
    """He may have heard no answer at all: his call went on as long as the callee liked."""
    pair = CalmPair(deaths=(Death(0.9, 1.0, DeathPoint.BETWEEN),), callers_vices=[LosesItsAcks(10_000)])
    history = pair.run_out()
    (cdr,) = history.engine.records
    assert cdr.cause is Cause.ACK_MISSING
    assert cdr.talk_ms < 40_000
    assert violations(history) == []


class NeverHearsCancel(Vice):
    """As one that has answered already."""

    def lets_in(self, data: bytes, source: Hop) -> bool:
        return not data.startswith(b"CANCEL ")


def test_who_rang_reliably_and_answers_the_next_engine_is_hung_up() -> None:
    """Its PRACK had the CSeq that the next engine's BYE had too: it refused that, and stayed on the line."""
    deaths = (Death(0.3, 0.1, DeathPoint.BETWEEN),)
    pair = CalmPair(deaths=deaths, callees_extensions=("100rel",), callees_vices=[NeverHearsCancel()])
    pair.timeline.pass_seconds(5.0)
    heard = {data.split(b" ")[0] for _, to, data in pair.network.arrived if to == pair.callee.node.hop}
    assert heard == {b"INVITE", b"PRACK", b"CANCEL", b"ACK", b"BYE"}
    assert not pair.callee.node.user_agent.sessions
    assert violations(pair.run_out()) == []


def test_a_hold_whose_ack_is_missing_when_the_engine_dies_does_not_keep_the_call_from_ending() -> None:
    """The next engine took our 200 to the callee's re-INVITE for an answer to a call, and could not hang up."""
    pair = CalmPair(deaths=(Death(3.0, 0.3, DeathPoint.BETWEEN),))
    pair.timeline.pass_seconds(1.0)
    pair.callee.node.vices.append(LosesItsAcks(10_000))
    pair.callee.act_together("INVITE")
    pair.timeline.pass_seconds(3.0)
    assert len(pair.engine.chronicle.resumed) == 1
    pair.caller.act(pair.caller_session, "BYE")
    pair.timeline.pass_seconds(1.0)
    assert not pair.callee.node.user_agent.sessions
    assert violations(pair.run_out()) == []


def _infos_to(pair: CalmPair, hop: Hop) -> list[bytes]:
    return [data for _, to, data in pair.network.arrived if to == hop and data.startswith(b"INFO ")]


def _press(pair: CalmPair) -> None:
    """The caller, by INFO and in its media."""
    (call_id,) = pair.engine.controller.calls
    pair.caller.act(pair.caller_session, "INFO")
    pair.engine.media.press(call_id)
    pair.timeline.pass_seconds(1.0)


def test_keys_by_either_way_reach_a_side_that_takes_no_events_by_info() -> None:
    pair = CalmPair()
    _press(pair)
    infos = _infos_to(pair, pair.callee.node.hop)
    assert [data.partition(b"\r\n\r\n")[2] for data in infos] == [b"Signal=5\r\nDuration=160\r\n"] * 2
    assert pair.engine.media.pressed == []
    pair.caller.act(pair.caller_session, "BYE")
    assert violations(pair.run_out()) == []


def test_a_key_by_info_is_pressed_towards_a_side_that_takes_events() -> None:
    pair = CalmPair(callees_sdp=TAKES_EVENTS)
    _press(pair)
    (call_id,) = pair.engine.controller.calls
    assert _infos_to(pair, pair.callee.node.hop) == []
    assert pair.engine.media.pressed == [(call_id, plane.Side.CALLEE, "5")]
    assert any(data.startswith(b"SIP/2.0 200") and b" INFO\r\n" in data for _, _, data in pair.network.arrived)
    pair.caller.act(pair.caller_session, "BYE")
    assert violations(pair.run_out()) == []
