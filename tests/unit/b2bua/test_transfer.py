"""Transfers by an agent's softphone: who comes together, who is told what, and what is on the records."""

from __future__ import annotations

import pytest

from engine.domain.cause import Cause, ReleaseSide
from engine.domain.cdr import CdrState
from media import plane
from sip.core import events as sip_events
from tests.sim.engine import ENGINE
from tests.sim.phones import SDP
from tests.sim.world import b_number
from tests.unit.b2bua.office import SECOND_B, SECOND_X, Office, has_ended, outcomes


@pytest.fixture
def office() -> Office:
    return Office()


def test_blind_transfer_joins_the_customer_to_the_colleague(office: Office) -> None:
    assert office.refer("agent2") == 202
    assert outcomes(office.first) == ["100", "200"]
    assert has_ended(office.first)
    assert not has_ended(office.customer)
    (offered,) = office.customer.requests("INVITE")
    assert b"rewritten" in offered.request.body
    (acknowledged,) = [event for event in office.second.heard if isinstance(event, sip_events.InviteAcknowledged)]
    assert b"rewritten" in acknowledged.request.body
    office.pass_seconds(100)
    office.hang_up(office.customer)
    assert has_ended(office.second)
    first, second = office.records()
    assert (first.agent_id, second.agent_id, second.charge_micro) == (1, 2, 0)
    assert (first.release_side, second.release_side) == (ReleaseSide.CALLER, ReleaseSide.CALLER)
    assert first.talk_ms > second.talk_ms > 100_000
    assert first.charge_micro == 2 * 60_000, "the customer's line is charged through the transfer, and once"
    office.assert_nothing_left()


def test_the_colleagues_hang_up_ends_the_customers_call(office: Office) -> None:
    office.refer("agent2")
    office.hang_up(office.second)
    assert has_ended(office.customer)
    first, second = office.records()
    assert (first.release_side, second.release_side) == (ReleaseSide.CALLEE, ReleaseSide.CALLEE)
    office.assert_nothing_left()


def test_transfer_to_a_number_shows_its_own_x_and_charges_its_own_line(office: Office) -> None:
    assert office.refer(SECOND_X) == 202
    (invite,) = [event for event in office.expert.heard if isinstance(event, sip_events.IncomingInvite)]
    assert SECOND_X in invite.request.headers.get("from")
    office.hang_up(office.customer)
    _, second = office.records()
    assert (second.x_number, second.b_number, second.agent_id) == (SECOND_X, SECOND_B, 1)
    assert second.charge_micro == second.billed_seconds // 60 * 60_000 > 0
    seen_by_expert = b"".join(data for _, to, data in office.network.arrived if to == office.expert.node.hop)
    assert b_number(0).removeprefix("+86").encode() not in seen_by_expert
    seen_by_customer = b"".join(data for _, to, data in office.network.arrived if to == office.customer.node.hop)
    assert SECOND_B.removeprefix("+86").encode() not in seen_by_customer
    office.assert_nothing_left()


def test_a_colleague_who_is_busy_leaves_the_call_with_the_agent(office: Office) -> None:
    office.second.refuses = 486
    assert office.refer("agent2") == 202
    assert outcomes(office.first) == ["100", "486"]
    assert not has_ended(office.first)
    assert office.customer.requests("INVITE") == []
    office.second.refuses = 0
    assert office.refer("agent2") == 202, "and may be tried again"
    assert outcomes(office.first)[-1] == "200"
    office.hang_up(office.customer)
    office.assert_nothing_left()


def test_a_callee_who_rings_again_and_again_is_told_of_once(office: Office) -> None:
    office.second.answers = False
    office.refer("agent2")
    session = office.second.session
    assert session is not None
    for _ in range(3):
        office.second.node.user_agent.progress(session, 180, office.timeline.now)
    office.second.node.flush()
    office.pass_seconds(2)
    assert outcomes(office.first) == ["100", "180"]


def test_a_customer_who_refuses_the_new_offer_stays_with_the_agent(office: Office) -> None:
    office.customer.reinvite_status = 488
    office.refer("agent2")
    assert outcomes(office.first) == ["100", "488"]
    assert has_ended(office.second)
    assert not has_ended(office.first)
    assert not has_ended(office.customer)
    office.hang_up(office.customer)
    first, second = office.records()
    assert (first.cause, second.cause, second.answered_at_ms) == (Cause.NORMAL, Cause.INCOMPATIBLE_MEDIA, None)
    office.assert_nothing_left()


def test_an_agent_who_hangs_up_before_the_outcome_leaves_the_customer_to_it(office: Office) -> None:
    office.second.answers = False
    office.refer("agent2")
    office.hang_up(office.first, 5)
    assert not has_ended(office.customer)
    session = office.second.session
    assert session is not None
    office.second.node.user_agent.answer(session, office.timeline.now, SDP)
    office.second.node.flush()
    office.pass_seconds(2)
    assert len(office.customer.requests("INVITE")) == 1
    office.hang_up(office.second)
    office.records()
    office.assert_nothing_left()


def test_a_transfer_that_fails_after_the_agent_left_lets_the_customer_go(office: Office) -> None:
    office.second.answers = False
    office.refer("agent2")
    office.hang_up(office.first, 5)
    session = office.second.session
    assert session is not None
    office.second.node.user_agent.reject(session, 486, office.timeline.now)
    office.second.node.flush()
    office.pass_seconds(70)
    assert has_ended(office.customer)
    first, second = office.records()
    assert (first.cause, second.cause) == (Cause.NORMAL, Cause.BUSY)
    office.assert_nothing_left()


def test_a_customer_who_hangs_up_while_the_colleague_rings_ends_it_all(office: Office) -> None:
    office.second.answers = False
    office.refer("agent2")
    office.hang_up(office.customer)
    assert any(isinstance(event, sip_events.InviteCancelled) for event in office.second.heard)
    assert has_ended(office.first)
    first, second = office.records()
    assert (first.cause, second.cause) == (Cause.NORMAL, Cause.CANCELLED)
    office.assert_nothing_left()


def test_without_a_subscription_nothing_is_told_and_the_agent_is_released(office: Office) -> None:
    assert office.refer("agent2", ("Refer-Sub", "false")) == 202
    assert outcomes(office.first) == []
    assert has_ended(office.first)
    office.hang_up(office.customer)
    office.assert_nothing_left()


def test_the_colleague_may_transfer_on_and_his_record_ends_with_it(office: Office) -> None:
    office.refer("agent2")
    session = office.second.session
    assert session is not None
    target = [("Refer-To", f"<sip:{ENGINE.host}>"), ("Refer-To", "<sip:agent1@x>")]
    office.second.node.user_agent.request(session, "REFER", office.timeline.now, headers=target)
    office.second.node.user_agent.request(session, "REFER", office.timeline.now, headers=target[1:])
    office.second.node.flush()
    office.pass_seconds(2)
    assert sorted(office.second.responses("REFER")) == [202, 400]
    assert has_ended(office.second)
    assert [cdr.agent_id for cdr in office.engine.records if cdr.state is CdrState.ENDED] == [2]
    office.hang_up(office.customer)
    ended = [each for each in office.engine.records if each.state is CdrState.ENDED]
    assert len(ended) == 3
    office.assert_nothing_left()


def test_the_platforms_hang_up_on_the_transfers_call_ends_both(office: Office) -> None:
    office.refer("agent2")
    calls = list(office.engine.controller.calls)
    assert len(calls) == 2
    office.engine.controller.hang_up(calls[1], Cause.HUNG_UP_BY_PLATFORM, office.timeline.now)
    office.engine.node.flush()
    office.pass_seconds(70)
    assert has_ended(office.customer)
    assert has_ended(office.second)
    assert {cdr.cause for cdr in office.records()} == {Cause.HUNG_UP_BY_PLATFORM}
    office.assert_nothing_left()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("agent1", 404),  # himself
        ("agent3", 404),  # of another tenant
        ("+861065600000", 403),  # leads back to the customer
        ("+8613912345678", 404),  # a number, but no X
        ("nobody", 404),
    ],
)
def test_whom_the_agent_may_not_call_it_may_not_transfer_to(office: Office, target: str, status: int) -> None:
    assert office.refer(target) == status
    assert outcomes(office.first) == []
    office.hang_up(office.customer)
    office.assert_nothing_left()


def test_a_trunk_may_not_transfer(office: Office) -> None:
    agent = office.customer.node.user_agent
    target = [("Refer-To", "<sip:agent2@x>")]
    agent.request(office.customers_session, "REFER", office.timeline.now, headers=target)
    office.customer.node.flush()
    office.pass_seconds(2)
    assert office.customer.responses("REFER") == [403]


def test_only_a_call_of_the_agents_own_can_be_replaced(office: Office) -> None:
    session = office.call_second_customer()
    (customers,) = [each for each in office.engine.node.user_agent.sessions.values() if each.hop.port == 5092]
    tags = f"to-tag%3D{customers.local_tag}%3Bfrom-tag%3D{customers.remote_tag}"
    target = [("Refer-To", f"<sip:x@x?Replaces={customers.call_id}%3B{tags}>")]
    office.first.node.user_agent.request(session, "REFER", office.timeline.now, headers=target)
    office.first.node.flush()
    office.pass_seconds(2)
    assert office.first.responses("REFER") == [404]


@pytest.mark.parametrize("glares", [1, 3])
def test_a_transfer_outlives_a_re_invite_of_the_customers_own_that_crosses_it(office: Office, glares: int) -> None:
    """RFC 3261 §14.1: 491, and the same again a little later."""
    office.customer.reinvite_status, office.customer.reinvites_refused_max = 491, glares
    office.refer("agent2")
    office.pass_seconds(10)
    assert outcomes(office.first) == ["100", "200"]
    assert len(office.customer.requests("INVITE")) == glares + 1
    office.hang_up(office.customer)
    office.records()
    office.assert_nothing_left()


def test_a_customer_who_never_takes_the_new_offer_stays_with_the_agent(office: Office) -> None:
    office.customer.reinvite_status = 491
    office.refer("agent2")
    office.pass_seconds(20)
    assert len(office.customer.requests("INVITE")) == 4
    assert outcomes(office.first)[-1] == "488"
    assert not has_ended(office.customer)
    office.hang_up(office.customer)
    office.assert_nothing_left()


def test_a_customer_who_hangs_up_before_the_offer_comes_again_ends_it_all(office: Office) -> None:
    office.customer.reinvite_status = 491
    office.refer("agent2")
    office.hang_up(office.customer)
    assert has_ended(office.first)
    assert has_ended(office.second)
    office.assert_nothing_left()


def test_the_customer_hears_it_ring_until_the_colleague_answers(office: Office) -> None:
    office.second.answers = False
    office.refer("agent2")
    session = office.second.session
    assert session is not None
    office.second.node.user_agent.progress(session, 180, office.timeline.now)
    office.second.node.flush()
    office.pass_seconds(2)
    (call_id,) = office.engine.media.calls
    # He has called, so his is the caller's side.
    assert office.engine.media.tones == {(call_id, plane.Side.CALLER): "ringback"}
    office.second.node.user_agent.answer(session, office.timeline.now, SDP)
    office.second.node.flush()
    office.pass_seconds(2)
    assert office.engine.media.tones == {}
    office.hang_up(office.customer)
    office.records()


def test_a_colleague_who_does_not_answer_stops_ringing(office: Office) -> None:
    office.second.answers = False
    office.refer("agent2")
    session = office.second.session
    assert session is not None
    office.second.node.user_agent.progress(session, 180, office.timeline.now)
    office.second.node.flush()
    office.pass_seconds(2)
    assert office.engine.media.tones
    office.second.node.user_agent.reject(session, 486, office.timeline.now)
    office.second.node.flush()
    office.pass_seconds(2)
    assert outcomes(office.first) == ["100", "180", "486"]
    assert office.engine.media.tones == {}
    office.hang_up(office.customer)
