"""Attended transfers: of an agent's two calls the other two parties come together."""

from __future__ import annotations

import pytest

from engine.domain.cause import Cause
from sip.core import events as sip_events
from tests.unit.b2bua.office import Office, has_ended, is_acknowledged, outcomes
from tests.unit.b2bua.pair import Phone


@pytest.fixture
def office() -> Office:
    return Office()


def test_attended_transfer_joins_the_agents_two_other_parties(office: Office) -> None:
    session = office.call_second_customer()
    replaced = office.first.session
    assert replaced is not None
    assert office.merge(session, replaced) == 202
    assert outcomes(office.first) == ["100", "200"]
    assert sum(isinstance(event, sip_events.SessionEnded) for event in office.first.heard) == 2
    assert not has_ended(office.customer)
    assert not has_ended(office.expert)
    assert [request.request.body for request in office.expert.requests("INVITE")] == [b""]
    assert (
        b"rewritten"
        in [e for e in office.expert.heard if isinstance(e, sip_events.InviteAcknowledged)][-1].request.body
    )
    assert b"rewritten" in office.customer.requests("INVITE")[0].request.body
    assert len(office.engine.media.calls) == 1
    office.pass_seconds(60)
    office.hang_up(office.customer)
    assert has_ended(office.expert)
    first, second = office.records()
    assert first.ended_at_ms == second.ended_at_ms
    assert (second.charge_micro, second.billed_seconds) == (2 * 60_000, 120), "its line is charged to the end, and once"
    office.assert_nothing_left()


def test_an_attended_transfer_that_the_customer_refuses_leaves_both_calls(office: Office) -> None:
    session = office.call_second_customer()
    replaced = office.first.session
    assert replaced is not None
    office.customer.reinvite_status = 488
    assert office.merge(session, replaced) == 202
    assert outcomes(office.first) == ["100", "488"]
    for phone in (office.first, office.customer, office.expert):
        assert not has_ended(phone)
    assert len(office.engine.media.calls) == 2
    office.pass_seconds(40)
    assert is_acknowledged(office.expert), "the offer that came to nothing"
    office.hang_up(office.customer)
    assert len(office.engine.controller.calls) == 1
    office.engine.controller.hang_up(next(iter(office.engine.controller.calls)), Cause.NORMAL, office.timeline.now)
    office.engine.node.flush()
    office.pass_seconds(70)
    office.assert_nothing_left()


def test_a_customer_who_hangs_up_during_an_attended_transfer_leaves_the_other_to_the_agent(office: Office) -> None:
    session = office.call_second_customer()
    replaced = office.first.session
    assert replaced is not None
    office.expert.is_slow = True
    assert office.merge(session, replaced) == 202
    office.hang_up(office.customer, 5)
    office.expert.answer_held(office.timeline.now)
    office.pass_seconds(5)
    assert is_acknowledged(office.expert), "the offer that nobody waits for"
    assert not has_ended(office.expert)
    assert len(office.engine.controller.calls) == 1
    assert not next(iter(office.engine.controller.calls.values())).merger


@pytest.mark.parametrize("who", ["customer", "expert"])
def test_an_attended_transfer_outlives_a_re_invite_that_crosses_it(office: Office, who: str) -> None:
    session = office.call_second_customer()
    replaced = office.first.session
    assert replaced is not None
    party: Phone = getattr(office, who)
    party.reinvite_status, party.reinvites_refused_max = 491, 2
    assert office.merge(session, replaced) == 202
    office.pass_seconds(15)
    assert outcomes(office.first) == ["100", "200"]
    office.hang_up(office.customer)
    office.records()
    office.assert_nothing_left()
