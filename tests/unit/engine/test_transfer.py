"""Transfers by an agent's softphone: who comes together, who is told what, and what is on the records."""

from __future__ import annotations

import pytest

from engine.domain.cause import Cause, ReleaseSide
from engine.domain.cdr import Cdr, CdrState
from engine.domain.facts import AgentFacts, BindingFacts, Facts, LineFacts, SipAccountFacts, TrunkFacts, XNumberFacts
from media import plane
from sip.core import events as sip_events
from sip.core.hop import Hop
from sip.core.session import Session
from sip.core.transactions.server_transaction import ServerTransaction
from tests.sim.engine import ENGINE
from tests.sim.phones import SDP
from tests.sim.world import TENANT, a_number, b_number, host
from tests.unit.engine.test_controller import Phone, World

SECOND_X = "+861065600777"
SECOND_B = "+8613900007777"


class SlowPhone(Phone):
    """Answers a re-INVITE when it is told to."""

    is_slow = False
    held: ServerTransaction | None = None

    def receive(self, event: sip_events.Event, now: float) -> None:
        if self.is_slow and isinstance(event, sip_events.DialogRequest) and event.request.method == "INVITE":
            self.held = event.transaction
        else:
            super().receive(event, now)

    def answer_held(self, now: float) -> None:
        assert self.held is not None
        self.node.user_agent.respond(self.held, 200, now, body=SDP)
        self.node.flush()


class Office(World):
    """Customer B rings agent 1's softphone over X and is put through; agent 2 sits beside, expert C at a trunk."""

    def __init__(self) -> None:
        super().__init__()
        own_host = host(0)
        self.first, self.second, self.expert = (
            SlowPhone(name, Hop("udp", own_host, port), self.timeline, self.network)
            for name, port in (("s1", 5090), ("s2", 5091), ("c", 5092))
        )
        self.engine.softphones.update({1: [self.first.node.hop], 2: [self.second.node.hop]})
        accounts = [SipAccountFacts(each, each, f"agent{each}", "sim", "", "", "active") for each in (1, 2, 3)]
        self.learn(
            [
                *accounts,
                AgentFacts(2, TENANT, "+8613800000002", "active"),
                AgentFacts(3, TENANT + 1, "+8613800000003", "active"),
                TrunkFacts(20, "t", own_host, 5092, (), "e164", 1000, "active"),
                LineFacts(20, 20, 1, True, "active", carrier_id=1),
                XNumberFacts(20, SECOND_X, 20, TENANT, None, "refuse", "active"),
                BindingFacts("b20", TENANT, 1, 20, a_number(0), SECOND_B, "both", True, None, None),
            ]
        )
        self.customer = SlowPhone("b", self.b.node.hop, self.timeline, self.network)
        self.customers_session = self.customer.node.user_agent.invite(
            target=f"sip:+861065600000@{ENGINE.host}",
            hop=ENGINE,
            from_=f"<sip:{b_number(0)}@{own_host}>",
            to=f"<sip:x@{ENGINE.host}>",
            now=self.timeline.now,
            body=SDP,
        )
        self.customer.node.flush()
        self.pass_seconds(2)

    def refer(self, target: str, *headers: tuple[str, str]) -> int:
        """Agent 1 transfers; returns what the REFER was answered."""
        session = self.first.session
        assert session is not None
        pairs = [("Refer-To", f"<sip:{target}@{ENGINE.host}>"), *headers]
        self.first.node.user_agent.request(session, "REFER", self.timeline.now, headers=pairs)
        self.first.node.flush()
        self.pass_seconds(2)
        return self.first.responses("REFER")[-1]

    def call_second_customer(self) -> Session:
        """The expert calls agent 1 over the second X; returns agent 1's session of the first call."""
        first = self.first.session
        assert first is not None
        self.expert.node.user_agent.invite(
            target=f"sip:{SECOND_X}@{ENGINE.host}",
            hop=ENGINE,
            from_=f"<sip:{SECOND_B}@{host(0)}>",
            to=f"<sip:x@{ENGINE.host}>",
            now=self.timeline.now,
            body=SDP,
        )
        self.expert.node.flush()
        self.pass_seconds(30)
        assert self.first.session is not first
        return first

    def merge(self, session: Session, replaced: Session) -> int:
        replaces = f"{replaced.call_id}%3Bto-tag%3D{replaced.remote_tag}%3Bfrom-tag%3D{replaced.local_tag}"
        target = [("Refer-To", f"<sip:x@{ENGINE.host}?Replaces={replaces}>")]
        self.first.node.user_agent.request(session, "REFER", self.timeline.now, headers=target)
        self.first.node.flush()
        self.pass_seconds(2)
        return self.first.responses("REFER")[-1]

    def learn(self, facts: list[Facts]) -> None:
        """For this engine and those to come."""
        self.engine.controller.directory.apply(facts)
        self.engine._facts += facts

    def kill_engine(self, away_seconds: float = 1.0) -> None:
        """The next engine has taken up the calls when this returns."""
        self.engine._away = away_seconds
        self.engine.die()
        self.pass_seconds(away_seconds + 1)

    def hang_up(self, phone: Phone, then_seconds: float = 70) -> None:
        session = self.customers_session if phone is self.customer else phone.session
        assert session is not None
        phone.node.user_agent.bye(session, self.timeline.now)
        phone.node.flush()
        self.pass_seconds(then_seconds)

    def records(self) -> tuple[Cdr, Cdr]:
        """The first call's and the transfer's, both ended once."""
        ended = [each for each in self.engine.records if each.state is CdrState.ENDED]
        assert len(ended) == 2
        first, second = sorted(ended, key=lambda cdr: cdr.id)
        assert (first.transferred_from, second.transferred_from) == (None, first.id)
        return first, second

    def assert_nothing_left(self) -> None:
        controller = self.engine.controller
        assert not controller.calls
        assert not self.engine.media.calls
        assert not self.engine.node.user_agent.sessions
        assert controller.next_deadline() is None
        assert controller.credit.credit_of(TENANT).held_micro == 0


@pytest.fixture
def office() -> Office:
    return Office()


def outcomes(phone: Phone) -> list[str]:
    return [event.request.body.decode().split(" ")[1] for event in phone.requests("NOTIFY")]


def is_acknowledged(phone: Phone) -> bool:
    return any(isinstance(event, sip_events.InviteAcknowledged) for event in phone.heard)


def has_ended(phone: Phone) -> bool:
    return any(isinstance(event, sip_events.SessionEnded) for event in phone.heard)


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
