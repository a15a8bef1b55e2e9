"""One seed's history: an engine, ten pairs of phones, one account, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random

from engine.b2bua.admission import Admission
from engine.b2bua.controller import Controller, ControllerSettings
from engine.b2bua.dialler import OwnHosts
from engine.b2bua.gateway_locator import GatewayLocator
from engine.b2bua.registration import RegisteredContact, Registration
from engine.b2bua.source_guard import GuardSettings, SourceGuard
from engine.domain.call import CallPolicy, milliseconds
from engine.domain.cdr import Cdr
from engine.domain.directory import Directory
from engine.domain.facts import (
    AccountFacts,
    AgentFacts,
    BindingFacts,
    GatewayFacts,
    LineFacts,
    RateFacts,
    TenantFacts,
    TrunkFacts,
    XNumberFacts,
)
from engine.domain.ids import call_id
from sip.core.digest import DigestAuthenticator
from sip.core.events import Event
from sip.core.hop import Hop
from sip.core.registrar import Registrar, RegistrarSettings
from sip.core.timers import TimerSettings
from tests.sim.network import Network, Weather
from tests.sim.node import Node
from tests.sim.phones import CalleePhone, CallerConduct, CallerPhone
from tests.sim.surroundings import LedgerConduct, MediaConduct, SimulatedLedger, SimulatedPlane
from tests.sim.timeline import Timeline

ENGINE = Hop("udp", "203.0.113.1", 5060)
TENANT = 1
X = "+861065500001"
TIMERS = TimerSettings()
WARNING_SECONDS = 10.0
LEASE_MICRO = 1_000_000
PAUSE_PERIOD_SECONDS = 10.0
LEG_END_SECONDS_MAX = 80.0
"""A BYE that waits for the ACK of our 200 and is then never answered takes twice 64*T1, and a pause or two."""


def a_number(index: int) -> str:
    return f"+861380000{index:04d}"


def b_number(index: int) -> str:
    return f"+861390000{index:04d}"


class Softphones(Registration):
    """Agents' registered softphones, without the REGISTERs that brought them."""

    def __init__(self, directory: Directory, admission: Admission, registrar: Registrar) -> None:
        super().__init__(directory, admission, registrar)
        self.hops: dict[int, list[Hop]] = {}
        """By the agent's id."""

    def contacts_of_agent(self, agent_id: int, now: float) -> list[RegisteredContact]:
        return [
            RegisteredContact(f"sip:agent@{hop.host}:{hop.port}", hop, "agent") for hop in self.hops.get(agent_id, [])
        ]


@dataclass
class Engine:
    """The engine's driver in virtual time: what ``engine.runtime.switchboard`` is on a real machine."""

    node: Node
    controller: Controller
    media: SimulatedPlane
    ledger: SimulatedLedger
    timeline: Timeline
    records: list[Cdr] = field(default_factory=list)
    lingering: list[str] = field(default_factory=list)
    """Calls with a leg that was still there long after their end."""

    def receive(self, event: Event, now: float) -> None:
        self.controller.receive(event, now)

    def fire_timers(self, now: float) -> None:
        self.controller.fire_timers(now)

    def next_deadline(self) -> float | None:
        return self.controller.next_deadline()

    def commit(self, now: float) -> None:
        # Of two milestones at once the later one counts: the keeper's batches are by call, too.
        for cdr in {record.cdr.id: record.cdr for record in self.controller.take_records()}.values():
            self.records.append(copy(cdr))
            if cdr.ended_at_ms is not None:
                self.ledger.settle(cdr.charge_micro)
                self.timeline.after(LEG_END_SECONDS_MAX, partial(self._look_for_legs, cdr.id))
        commands, self.controller.media.commands = self.controller.media.commands, []
        for command in commands:
            self.media.send(command)
        requests, self.controller.credit.lease_requests = self.controller.credit.lease_requests, []
        for tenant_id, wanted_micro in requests:
            self.ledger.request(tenant_id, wanted_micro)

    def _look_for_legs(self, ended_call_id: str) -> None:
        if ended_call_id in self.controller.calls:
            self.lingering.append(ended_call_id)


@dataclass
class History:
    """All that the invariants look at, after the last thing has happened."""

    seed: int
    engine: Engine
    network: Network
    rate: RateFacts
    attempts: int
    overdraft_limit_micro: int
    numbers_by_hop: dict[Hop, str]
    """Whose number may not arrive at which phone: the other party's."""
    is_at_rest: bool


def play(seed: int) -> History:
    """Draws a world from the seed and lets it run until nothing is left to happen."""
    random = Random(seed)
    timeline = Timeline()
    network = Network(timeline, random, _weather(random))
    rate = RateFacts(1, random.choice((60_000, 120_000, 1)), *random.choice(((60, 60), (6, 6), (1, 1), (30, 6))), 0)
    pairs = random.randint(1, 6)
    overdraft_limit_micro = random.choice((0, 0, 500_000))
    engine = _engine(random, timeline, network, rate, pairs, overdraft_limit_micro)
    numbers_by_hop: dict[Hop, str] = {}
    attempts = 0
    for index in range(pairs):
        forbidden = (a_number(index), b_number(index))
        attempts += _add_pair(random, timeline, network, index, numbers_by_hop, forbidden)
        if random.random() < 0.3:
            _add_softphones(random, timeline, network, index, numbers_by_hop, engine)
    if random.random() < 0.3:
        _top_up(timeline, engine, random.choice((5.0, 55.0, 90.0)))
    if random.random() < 0.2:
        timeline.after(random.uniform(0.5, 20.0), lambda: _hang_up_one(engine, timeline))
    is_at_rest = timeline.run()
    return History(seed, engine, network, rate, attempts, overdraft_limit_micro, numbers_by_hop, is_at_rest)


def _weather(random: Random) -> Weather:
    return random.choice(
        (
            Weather(),
            Weather(delay_max=0.2),
            Weather(loss=0.1, doubling=0.05),
            Weather(loss=0.3, doubling=0.2, delay_max=0.4),
        )
    )


def _engine(
    random: Random, timeline: Timeline, network: Network, rate: RateFacts, pairs: int, overdraft_limit_micro: int
) -> Engine:
    directory = Directory()
    sources = tuple(_host(index) for index in range(pairs))
    directory.apply(
        [
            TenantFacts(TENANT, "sim", "active"),
            RateFacts(1, 0, 1, 1, 0) if random.random() < 0.05 else rate,
            LineFacts(1, 1, 1, True, "active"),
            XNumberFacts(1, X, 1, TENANT, None, "refuse", "active"),
            # Every callee stands at a trunk of its own, which is also where the caller of its pair comes from.
            TrunkFacts(1, "sim", _host(0), 5080, sources, "e164", random.choice((1, 1000)), "active"),
        ]
    )
    for index in range(pairs):
        x = f"+86106560{index:04d}"
        directory.apply(
            [
                AgentFacts(index + 1, TENANT, a_number(index), "active"),
                _trunk(random, index),
                LineFacts(index + 10, index + 10, 1, True, "active"),
                XNumberFacts(index + 10, x, index + 10, TENANT, None, "refuse", "active"),
                BindingFacts(
                    f"b{index}",
                    TENANT,
                    index + 1,
                    index + 10,
                    a_number(index),
                    b_number(index),
                    "both",
                    True,
                    None,
                    None,
                ),
            ]
        )
    node = Node(
        "engine",
        ENGINE,
        timeline,
        network,
        TIMERS,
        extensions=("100rel", "timer"),
        session_expires_seconds=random.choice((90, 1800)),
    )
    node.resumes_at = _pauses(random)
    guard = SourceGuard(GuardSettings(), lambda host, port: True)
    admission = Admission(directory, DigestAuthenticator("sim", b"secret"), lambda: "nonce", guard)
    registration = Softphones(directory, admission, Registrar(RegistrarSettings()))
    ids = count(1)
    controller = Controller(
        settings=ControllerSettings(
            policy=CallPolicy(60.0, 3600, random.choice((60, 6)), WARNING_SECONDS),
            own_hosts=OwnHosts(ENGINE.host, ""),
            realm="sim",
            recordings_folder="/recordings",
            calls_max=random.choice((2, 1000, 1000, 1000)),
            gateway_ping_seconds=0.0,
            gateway_silence_seconds=4.0,
            retry_after_seconds=5,
            warning_tone_ms=600,
            lease_micro=LEASE_MICRO,
        ),
        user_agent=node.user_agent,
        directory=directory,
        guard=guard,
        admission=admission,
        registration=registration,
        new_call_id=lambda now: call_id(milliseconds(now), next(ids).to_bytes(10, "big")),
        locator=GatewayLocator(),
        new_token=lambda: "token",
        random=random.random,
        to_monotonic=lambda now: now,
    )
    media = SimulatedPlane(
        timeline,
        random,
        MediaConduct(
            delay_max=random.choice((0.001, 0.3)),
            refuses=random.choice((0.0, 0.0, 0.0, 0.0, 0.1)),
            times_out=random.choice((0.0, 0.1)),
            dies_after=random.choice((None,) * 8 + (2.0, 20.0)),
        ),
    )
    ledger = SimulatedLedger(
        timeline,
        random,
        LedgerConduct(delay_max=random.choice((0.001, 2.0)), silent=random.choice((0.0, 0.2))),
        balance_micro=random.choice((0, 60_000, 125_000, 250_000, 370_000, 1_000_000, 100_000_000)),
        overdraft_limit_micro=overdraft_limit_micro,
    )
    engine = Engine(node, controller, media, ledger, timeline)
    node.put_above(engine)

    def then_flush(happen: object) -> None:
        node.flush()

    media.replied = lambda reply: then_flush(controller.receive_media_reply(reply, timeline.now))
    media.timed_out = lambda each: then_flush(controller.media_timed_out(each, timeline.now))
    media.lost = lambda each: then_flush(controller.media_lost(each, timeline.now))
    ledger.answered = lambda tenant, granted: then_flush(controller.lease_answered(tenant, granted, timeline.now))
    directory.apply([AccountFacts(TENANT, ledger.balance_micro, overdraft_limit_micro, 0)])
    return engine


def _trunk(random: Random, index: int) -> TrunkFacts:
    """The callee's trunk; some have a first gateway that nobody stands at, some the callee at both."""
    first = random.choice((_host(index), _host(index), f"198.51.100.{index}"))
    second = random.choice(((), (GatewayFacts(_host(index), 5080, priority=1),)))
    return TrunkFacts(
        index + 10,
        f"sim{index}",
        first,
        5080,
        (),
        "e164",
        1000,
        "active",
        gateways=second,
        caller_display=random.choice(("from", "pai", "both")),
        dial_prefix=random.choice(("", "9")),
    )


def _pauses(random: Random) -> Callable[[float], float]:
    """A machine with too much to do: in each ten seconds the engine's process stands still for a while."""
    length = random.choice((0.0, 0.5, 3.0, 5.0))
    phase = random.uniform(0.0, PAUSE_PERIOD_SECONDS)

    def resumes_at(now: float) -> float:
        since = (now + phase) % PAUSE_PERIOD_SECONDS
        return now + length - since if since < length else now

    return resumes_at


def _extensions(random: Random) -> tuple[str, ...]:
    return random.choice(((), (), ("100rel",), ("timer",), ("100rel", "timer")))


def _host(index: int) -> str:
    return f"192.0.2.{index + 10}"


def _add_pair(
    random: Random,
    timeline: Timeline,
    network: Network,
    index: int,
    numbers_by_hop: dict[Hop, str],
    forbidden: tuple[str, str],
) -> int:
    """Puts a caller and a callee of one binding on the network; in half the pairs it is B who calls A."""
    caller_hop, callee_hop = Hop("udp", _host(index), 5070), Hop("udp", _host(index), 5080)
    a, b = forbidden
    caller_number, callee_number = (a, b) if random.random() < 0.5 else (b, a)
    callee_node = Node(f"callee{index}", callee_hop, timeline, network, TIMERS, extensions=_extensions(random))
    CalleePhone(callee_node, timeline, random)
    caller_node = Node(f"caller{index}", caller_hop, timeline, network, TIMERS, extensions=_extensions(random))
    caller = CallerPhone(caller_node, timeline, CallerConduct.draw(random))
    dialled = f"+86106560{index:04d}" if random.random() < 0.95 else X
    timeline.after(random.uniform(0.0, 5.0), lambda: caller.call(caller_number, dialled, ENGINE))
    numbers_by_hop[caller_hop] = callee_number
    numbers_by_hop[callee_hop] = caller_number
    return 1


def _add_softphones(
    random: Random,
    timeline: Timeline,
    network: Network,
    index: int,
    numbers_by_hop: dict[Hop, str],
    engine: Engine,
) -> None:
    """One to three phones that ring together when B calls this agent; B's number may not arrive at any."""
    registration = engine.controller.registration
    assert isinstance(registration, Softphones)
    hops = [Hop("udp", _host(index), 5090 + number) for number in range(random.randint(1, 3))]
    registration.hops[index + 1] = hops
    for hop in hops:
        CalleePhone(Node(f"soft{index}x{hop.port}", hop, timeline, network, TIMERS), timeline, random)
        numbers_by_hop[hop] = b_number(index)


def _top_up(timeline: Timeline, engine: Engine, after_seconds: float) -> None:
    def top_up() -> None:
        engine.ledger.balance_micro += 1_000_000
        engine.controller.account_changed(TENANT, timeline.now)
        engine.node.flush()

    timeline.after(after_seconds, top_up)


def _hang_up_one(engine: Engine, timeline: Timeline) -> None:
    from engine.domain.cause import Cause

    for each in list(engine.controller.calls)[:1]:
        engine.controller.hang_up(each, Cause.HUNG_UP_BY_PLATFORM, timeline.now)
    engine.node.flush()
