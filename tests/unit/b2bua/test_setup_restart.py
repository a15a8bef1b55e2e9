"""Calls whose engine dies around their answer: nobody is left on a dead line, and no call is made twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.domain.cause import Cause
from sip.core import events as sip_events
from sip.core.hop import Hop
from tests.sim.engine import ENGINE, DeathPoint
from tests.sim.media_plane import MediaConduct
from tests.sim.phones import SDP
from tests.sim.test_findings import LosesItsAcks, NeverHearsCancel
from tests.sim.vice import Vice
from tests.unit.b2bua.pair import Phone, World


class DropsAcks(Vice):
    def lets_in(self, data: bytes, source: Hop) -> bool:
        return not data.startswith(b"ACK ")


def heard_by(world: World, phone: Phone, since: int) -> list[bytes]:
    """First lines of what the engine has sent it, copies left out."""
    sent = [data for source, to, data in world.network.arrived[since:] if to == phone.node.hop]
    return list(dict.fromkeys(data.split(b"\r\n")[0].removesuffix(b" SIP/2.0") for data in sent))


def heard(phone: Phone, kind: type) -> int:
    return sum(isinstance(event, kind) for event in phone.heard)


def answer(world: World) -> None:
    assert world.b.session is not None
    world.b.node.user_agent.answer(world.b.session, world.timeline.now, SDP)
    world.b.node.flush()


@pytest.mark.parametrize("rings", [False, True])
def test_a_callee_who_answers_an_engine_that_has_died_is_hung_up(world: World, rings: bool) -> None:
    world.b.node.vices.append(NeverHearsCancel())
    world.b.answers = False
    world.call()
    assert world.b.session is not None
    if rings:
        world.b.node.user_agent.progress(world.b.session, 180, world.timeline.now)
        world.b.node.flush()
        world.pass_seconds(0.5)
    world.kill_engine(0.3, 0.2)
    before = len(world.network.arrived)
    answer(world)
    world.pass_seconds(5)
    told = {data.split(b" ")[0] for source, to, data in world.network.arrived[before:] if to == world.b.node.hop}
    assert told == {b"CANCEL", b"ACK", b"BYE"}
    assert heard(world.b, sip_events.SessionEnded) == 1
    (cdr,) = world.engine.records
    assert (cdr.cause, cdr.answered_at_ms, cdr.charge_micro) == (Cause.ENGINE_RESTART, None, 0)
    world.pass_seconds(70)
    assert world.engine.node.user_agent.transactions == (0, 0)


@pytest.mark.parametrize("rings", [False, True])
def test_whoever_waits_when_the_engine_dies_is_told_by_the_next(world: World, rings: bool) -> None:
    world.b.answers = False
    world.call()
    assert world.b.session is not None
    if rings:
        world.b.node.user_agent.progress(world.b.session, 180, world.timeline.now)
        world.b.node.flush()
        world.pass_seconds(0.5)
    before = len(world.network.arrived)
    world.kill_engine(0.3, 0.2)
    assert heard_by(world, world.a, before) == [b"SIP/2.0 500 Server Internal Error"]
    refusal = next(data for _, to, data in world.network.arrived[before:] if to == world.a.node.hop)
    assert b"\r\nRetry-After: 5\r\n" in refusal
    assert b"\r\nReason: Q.850;cause=41" in refusal
    cancel, *more = heard_by(world, world.b, before)
    assert cancel.startswith(b"CANCEL sip:")
    assert [line.split(b" ")[0] for line in more] == [b"ACK"]
    assert heard(world.a, sip_events.InviteFailed) == 1
    assert heard(world.b, sip_events.InviteCancelled) == 1
    (cdr,) = world.engine.records
    assert (cdr.cause, cdr.sip_status) == (Cause.ENGINE_RESTART, 500)
    world.pass_seconds(70)
    assert world.engine.node.user_agent.transactions == (0, 0)
    assert not world.engine.node.user_agent.sessions


def test_a_callee_who_was_called_again_with_another_interval_is_cancelled_by_that_call(world: World) -> None:
    """As one that had asked for credentials: its first INVITE is over."""
    world.b.answers = False
    settings = world.b.node.user_agent.settings
    world.b.node.user_agent.settings = replace(settings, session_expires_seconds_min=3600)
    world.b.node.user_agent._has_timers = True
    world.call()
    assert world.b.session is not None
    world.kill_engine(0.3, 0.2)
    assert heard(world.b, sip_events.InviteCancelled) == 1


def test_who_waits_through_two_deaths_is_told_by_the_third_engine(world: World) -> None:
    world.b.answers = False
    world.call()
    before = len(world.network.arrived)
    world.engine._away = 0.3
    world.engine.die()
    world.timeline.after(0.3, lambda: world.engine.die())
    world.pass_seconds(5)
    assert len(world.engine.chronicle.died_at) == 2
    assert b"SIP/2.0 500 Server Internal Error" in heard_by(world, world.a, before)
    assert heard(world.b, sip_events.InviteCancelled) == 1


def test_a_refusal_that_was_journalled_and_not_sent_is_sent_by_the_next_engine(world: World) -> None:
    world.b.answers = False
    world.call()
    world.engine._away = 0.3
    assert world.b.session is not None
    before = len(world.network.arrived)
    world.engine.process.dies_at_commit = DeathPoint.JOURNALLED
    world.b.node.user_agent.reject(world.b.session, 486, world.timeline.now)
    world.b.node.flush()
    world.pass_seconds(2)
    assert len(world.engine.chronicle.died_at) == 1
    assert heard_by(world, world.a, before) == [b"SIP/2.0 486 Busy Here"]
    assert world.ended().cause is Cause.BUSY


def test_who_has_answered_and_is_not_joined_when_the_engine_dies_is_hung_up(world: World) -> None:
    """He has our ACK, and so sends his 200 no more."""
    world.b.answers = False
    world.call()
    world.engine.media._conduct = MediaConduct(delay_max=2.0)
    answer(world)
    while not heard(world.b, sip_events.InviteAcknowledged):
        world.pass_seconds(0.01)
    world.kill_engine(0.3, 0.2)
    world.pass_seconds(1)
    assert heard(world.b, sip_events.SessionEnded) == 1
    assert heard(world.a, sip_events.InviteFailed) == 1


def test_who_has_our_offer_and_no_answer_of_his_own_in_when_the_engine_dies_is_hung_up(world: World) -> None:
    world.a.node.vices.append(LosesItsAcks(1))
    world.call(b"", seconds=0.5)
    world.kill_engine(0.3, 0.2)
    world.pass_seconds(2)
    assert heard(world.a, sip_events.SessionEnded) == 1
    assert heard(world.b, sip_events.SessionEnded) == 1
    world.pass_seconds(70)
    assert world.engine.node.user_agent.transactions == (0, 0)


def test_an_answer_that_no_engine_of_ours_has_asked_for_gets_nothing(world: World) -> None:
    world.b.answers = False
    world.call()
    world.kill_engine(0.3, 0.2)
    before = len(world.network.arrived)
    world.b.node.send_raw(
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bKx\r\nFrom: <sip:x@x>;tag=stranger\r\n"
        b"To: <sip:y@y>;tag=1\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContact: <sip:y@192.0.2.10>\r\n"
        b"Content-Length: 0\r\n\r\n",
        ENGINE,
    )
    world.pass_seconds(2)
    assert [source for source, _, _ in world.network.arrived[before:] if source == ENGINE] == []


def test_a_callee_whose_ack_was_lost_with_its_engine_gets_it_from_the_next(world: World) -> None:
    world.b.node.vices.append(DropsAcks())
    world.call(seconds=0.3)
    world.kill_engine(0.3, 0.2)
    world.b.node.vices.clear()
    world.pass_seconds(5)
    assert heard(world.b, sip_events.InviteAcknowledged) == 1
    world.pass_seconds(60)
    assert len(world.engine.controller.calls) == 1, "the call goes on"


def test_a_caller_whose_answer_was_journalled_and_not_sent_hears_it_from_the_next_engine(world: World) -> None:
    world.b.answers = False
    world.call()
    world.engine._away = 0.3
    world.engine.media._conduct = MediaConduct(delay_max=2.0)
    answer(world)
    while not heard(world.b, sip_events.InviteAcknowledged):
        world.pass_seconds(0.01)
    world.engine.process.dies_at_commit = DeathPoint.JOURNALLED
    world.pass_seconds(5)
    assert len(world.engine.chronicle.died_at) == 1
    assert heard(world.a, sip_events.InviteAnswered) == 1
    world.pass_seconds(60)
    assert len(world.engine.controller.calls) == 1


def test_a_copy_of_an_answered_invite_makes_no_second_call(world: World) -> None:
    session = world.call()
    invite = next(data for source, _, data in world.network.arrived if data.startswith(b"INVITE ") and source != ENGINE)
    world.kill_engine(0.3, 0.2)
    before = len(world.network.arrived)
    world.a.node.send_raw(invite, ENGINE)
    world.pass_seconds(5)
    answers = [data for source, _, data in world.network.arrived[before:] if source == ENGINE and b" INVITE" in data]
    assert any(data.startswith(b"SIP/2.0 200 ") and session.remote_tag.encode() in data for data in answers)
    assert len(world.engine.controller.calls) == 1
    assert len(world.engine.records) == 1
    assert world.b.requests("INVITE") == []
    world.pass_seconds(60)
    assert len(world.engine.controller.calls) == 1, "its ACK has come"
