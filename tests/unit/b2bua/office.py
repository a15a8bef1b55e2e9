"""An office for transfers: a customer, two agents, an expert at a trunk, and what each has heard."""

from __future__ import annotations

from engine.domain.cdr import Cdr, CdrState
from engine.domain.facts import (
    AgentFacts,
    BindingFacts,
    Facts,
    LineFacts,
    SipAccountFacts,
    TrunkFacts,
    XNumberFacts,
)
from sip.core import events as sip_events
from sip.core.dialogs.session import Session
from sip.core.hop import Hop
from sip.core.transactions.server_transaction import ServerTransaction
from tests.sim.engine import ENGINE
from tests.sim.phones import SDP
from tests.sim.world import TENANT, a_number, b_number, host
from tests.unit.b2bua.pair import Phone, World, X

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
        self.customers_session = self.customer.dial(X, b_number(0))
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
        self.expert.dial(SECOND_X, SECOND_B)
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


def outcomes(phone: Phone) -> list[str]:
    return [event.request.body.decode().split(" ")[1] for event in phone.requests("NOTIFY")]


def is_acknowledged(phone: Phone) -> bool:
    return any(isinstance(event, sip_events.InviteAcknowledged) for event in phone.heard)


def has_ended(phone: Phone) -> bool:
    return any(isinstance(event, sip_events.SessionEnded) for event in phone.heard)
