"""Transferred calls whose engine dies: the next one goes on with both records, and with all who are on the line."""

from __future__ import annotations

import pytest

from engine.domain.cause import Cause
from sip.core import events as sip_events
from sip.core.hop import Hop
from tests.sim.invariants import RECORDING_TOLERANCE_SECONDS
from tests.sim.vice import Vice
from tests.unit.b2bua.office import SECOND_X, Office, has_ended, is_acknowledged, outcomes
from tests.unit.b2bua.test_controller import Phone


class Deaf(Vice):
    def lets_in(self, data: bytes, source: Hop) -> bool:
        return False


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.mark.parametrize("deaths", [1, 2])
def test_both_records_of_a_transferred_call_go_on(office: Office, deaths: int) -> None:
    assert office.refer(SECOND_X) == 202
    for _ in range(deaths):
        office.pass_seconds(30)
        office.kill_engine()
    office.pass_seconds(60)
    office.hang_up(office.customer)
    assert has_ended(office.expert)
    first, second = office.records()
    assert (first.cause, second.cause) == (Cause.NORMAL, Cause.NORMAL)
    assert first.ended_at_ms == second.ended_at_ms
    for cdr in (first, second):
        assert cdr.billed_seconds == -(-cdr.talk_ms // 60_000) * 60
        assert cdr.charge_micro == cdr.billed_seconds // 60 * 60_000 > 60_000
    start, end = office.engine.media.recordings[first.id]
    assert abs(end - start - first.talk_ms / 1000) <= RECORDING_TOLERANCE_SECONDS
    office.assert_nothing_left()


def test_the_new_callees_hang_up_after_a_restart_ends_both(office: Office) -> None:
    office.refer("agent2")
    office.kill_engine()
    office.hang_up(office.second)
    assert has_ended(office.customer)
    first, second = office.records()
    assert (first.release_side, second.release_side) == ("callee", "callee")
    assert second.charge_micro == 0
    office.assert_nothing_left()


def test_the_records_of_an_attended_transfer_go_on(office: Office) -> None:
    session = office.call_second_customer()
    replaced = office.first.session
    assert replaced is not None
    assert office.merge(session, replaced) == 202
    office.kill_engine()
    assert len(office.engine.media.calls) == 1
    office.pass_seconds(60)
    office.hang_up(office.customer)
    assert has_ended(office.expert)
    first, second = office.records()
    assert (first.ended_at_ms, second.charge_micro) == (second.ended_at_ms, 2 * 60_000)
    office.assert_nothing_left()


def test_an_agent_may_transfer_after_a_restart(office: Office) -> None:
    office.kill_engine()
    assert office.refer("agent2") == 202
    assert outcomes(office.first) == ["100", "200"]
    office.hang_up(office.customer)
    assert has_ended(office.second)
    office.records()
    office.assert_nothing_left()


def test_a_colleague_may_transfer_on_after_a_restart(office: Office) -> None:
    office.refer("agent2")
    office.kill_engine()
    session = office.second.session
    assert session is not None
    office.second.node.user_agent.request(
        session, "REFER", office.timeline.now, headers=[("Refer-To", "<sip:agent1@x>")]
    )
    office.second.node.flush()
    office.pass_seconds(2)
    assert has_ended(office.second)
    office.hang_up(office.customer)
    office.assert_nothing_left()


def test_a_transferor_who_was_not_told_yet_is_released_by_the_next_engine(office: Office) -> None:
    session = office.first.session
    assert session is not None
    office.customer.is_slow = True
    office.refer("agent2")
    assert not is_acknowledged(office.second)
    office.first.node.vices.append(Deaf())
    office.customer.answer_held(office.timeline.now)
    office.pass_seconds(1)
    assert is_acknowledged(office.second)
    office.engine._away = 0.5
    office.engine.die()
    office.first.node.vices.clear()
    office.pass_seconds(2)
    assert has_ended(office.first)
    office.hang_up(office.customer)
    office.records()
    office.assert_nothing_left()


def test_a_customer_whose_agent_has_left_to_a_transfer_that_died_is_let_go(office: Office) -> None:
    office.second.answers = False
    office.refer("agent2")
    office.hang_up(office.first, 5)
    assert not has_ended(office.customer)
    office.kill_engine()
    assert has_ended(office.customer)
    first, second = office.records()
    assert (first.cause, second.cause, second.answered_at_ms) == (Cause.NORMAL, Cause.ENGINE_RESTART, None)


@pytest.mark.parametrize("deaths", [1, 2])
def test_the_transferor_hears_the_end_of_a_transfer_that_died(office: Office, deaths: int) -> None:
    office.second.answers = False
    office.refer("agent2")
    assert outcomes(office.first) == ["100"]
    for _ in range(deaths):
        office.kill_engine()
    assert outcomes(office.first) == ["100", "500"], "once, by whichever engine"
    last = office.first.requests("NOTIFY")[-1].request.headers
    assert last.get("subscription-state").startswith("terminated")
    assert last.get("event") == office.first.requests("NOTIFY")[0].request.headers.get("event") != ""
    assert not has_ended(office.first), "his call goes on"
    assert heard_cancel(office.second)
    assert office.refer("agent2") == 202, "and he may try again"


def test_an_attended_transfer_that_died_is_told_as_well(office: Office) -> None:
    session = office.call_second_customer()
    office.customer.is_slow = True
    first = office.first.session
    assert first is not None
    office.merge(first, session)
    assert outcomes(office.first) == ["100"]
    office.kill_engine()
    assert outcomes(office.first) == ["100", "500"]


def test_nobody_is_told_of_a_transfer_that_had_failed_before_its_engine_died(office: Office) -> None:
    office.second.refuses = 486
    office.refer("agent2")
    assert outcomes(office.first) == ["100", "486"]
    office.kill_engine()
    assert outcomes(office.first) == ["100", "486"]


def heard_cancel(phone: Phone) -> bool:
    return any(isinstance(event, sip_events.InviteCancelled) for event in phone.heard)
