"""The engine in virtual time: what ``engine.main`` puts together on a real machine, which may die and begin anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from enum import Enum
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
from engine.domain.cause import Cause
from engine.domain.cdr import Cdr
from engine.domain.facts import AccountFacts, Facts
from engine.domain.ids import call_id
from engine.domain.lines.directory import Directory
from engine.runtime.records.recovery import end_interrupted, recover
from media import plane
from sip.core.digest import DigestAuthenticator
from sip.core.events import Event
from sip.core.hop import Hop
from sip.core.registrar import Registrar, RegistrarSettings
from sip.core.transactions.timers import TimerSettings
from sip.core.user_agents.user_agent import UserAgent
from sip.errors import PeerFault
from tests.sim.books import SimulatedBooks
from tests.sim.keeper import SimulatedKeeper
from tests.sim.media_plane import MediaUser, SimulatedPlane
from tests.sim.network import Network
from tests.sim.node import Node
from tests.sim.timeline import Timeline
from tests.sim.world import TENANT

ENGINE = Hop("udp", "203.0.113.1", 5060)
TIMERS = TimerSettings()
REALM = "sim"
WARNING_SECONDS = 10.0
LEASE_MICRO = 1_000_000
LEG_END_SECONDS_MAX = 80.0
"""A BYE that waits for the ACK of our 200 and is then never answered takes twice 64*T1, and a pause or two."""
SHORT_SECONDS = 5.0
START_AGAIN_SECONDS = 1.0
"""What the supervisor waits where an engine cannot begin, since the database is away."""


class DeathPoint(Enum):
    """How far the engine's last commit gets."""

    BETWEEN = "between two commits"
    JOURNALLED = "records are in the journal; no command or datagram of theirs has left"
    COMMANDED = "the media plane has its commands; no datagram has left"
    HANDED_OVER = "it goes of its own accord, and leaves its calls to the next"


@dataclass(frozen=True)
class Death:
    """``after`` is from the history's beginning, ``away`` until the next engine begins; both seconds."""

    after: float
    away: float
    point: DeathPoint


@dataclass(frozen=True)
class EngineConduct:
    """What an operator sets, and what befalls the machine."""

    slice_seconds: int
    calls_max: int
    session_expires_seconds: int
    resumes_at: Callable[[float], float]
    deaths: tuple[Death, ...] = ()


class Softphones(Registration):
    """Agents' registered softphones, without the REGISTERs that brought them."""

    def __init__(
        self, directory: Directory, admission: Admission, registrar: Registrar, hops: dict[int, list[Hop]]
    ) -> None:
        super().__init__(directory, admission, registrar)
        self._hops = hops

    def contacts_of_agent(self, agent_id: int, now: float) -> list[RegisteredContact]:
        return [
            RegisteredContact(f"sip:agent@{hop.host}:{hop.port}", hop, "agent") for hop in self._hops.get(agent_id, [])
        ]


@dataclass(frozen=True)
class Resumed:
    """A call that talked when its engine died, and that the media plane has held."""

    call_id: str
    at_ms: int


@dataclass
class Chronicle:
    """What the invariants want to know of the engine's lives."""

    begun: set[str] = field(default_factory=set)
    """Calls that are in the journal."""
    ends: Counter[str] = field(default_factory=Counter)
    """How often each call ended."""
    lingering: list[str] = field(default_factory=list)
    """Calls with a leg that was still there long after their end."""
    died_at: list[float] = field(default_factory=list)
    resumed: list[Resumed] = field(default_factory=list)
    interrupted: list[tuple[Cdr, float]] = field(default_factory=list)
    """Calls that were ended for a dead engine, and when it died."""
    places_missing: int = 0
    """Under limits, of calls that were taken up."""
    peer_faults: int = 0


class Process:
    """One life of the engine: the driver that ``engine.runtime.switchboard`` is on a real machine."""

    def __init__(self, host: EngineHost, node: Node, controller: Controller, keeper: SimulatedKeeper) -> None:
        self.node = node
        self.controller = controller
        self.keeper = keeper
        self.dies_at_commit: DeathPoint | None = None
        self.charged_micro = 0
        """Of the calls that ended in this life."""
        self._host = host

    def receive(self, event: Event, now: float) -> None:
        try:
            self.controller.receive(event, now)
        except PeerFault:
            self._host.chronicle.peer_faults += 1

    def fire_timers(self, now: float) -> None:
        self.controller.fire_timers(now)

    def next_deadline(self) -> float | None:
        return self.controller.next_deadline()

    def commit(self, now: float) -> None:
        host, controller = self._host, self.controller
        records = controller.take_records()
        if records:
            self.keeper.take(records)
            host.chronicle.begun.update(record.cdr.id for record in records)
        self.keeper.take_heard(controller.take_heard())
        # Of two milestones at once the later one counts: the keeper's batches are by call, too.
        for cdr in {record.cdr.id: record.cdr for record in records}.values():
            if cdr.ended_at_ms is not None:
                host.chronicle.ends[cdr.id] += 1
                self.charged_micro += cdr.charge_micro
                host.timeline.after(LEG_END_SECONDS_MAX, partial(self._look_for_legs, cdr.id))
        if records and self.dies_at_commit is DeathPoint.JOURNALLED:
            host.die()
            return
        commands, controller.media.commands = controller.media.commands, []
        for command in commands:
            host.media.send(command)
        if commands and self.dies_at_commit is DeathPoint.COMMANDED:
            host.die()
            return
        requests, controller.credit.lease_requests = controller.credit.lease_requests, []
        for tenant_id, wanted_micro in requests:
            host.books.request_lease(wanted_micro, partial(self._lease_answered, tenant_id))
        returns, controller.credit.lease_returns = controller.credit.lease_returns, []
        for _, returned_micro in returns:
            host.books.give_back(returned_micro)
        wishes, controller.minutes.lease_requests = controller.minutes.lease_requests, []
        for bucket_id, wanted_seconds in wishes:
            host.books.minutes.request_lease(bucket_id, wanted_seconds, partial(self._minutes_answered, bucket_id))

    def media_user(self) -> MediaUser:
        return MediaUser(self._media_replied, self._media_timed_out, self._media_lost, self._key_pressed)

    def _media_replied(self, reply: plane.Reply) -> None:
        self.controller.receive_media_reply(reply, self._host.timeline.now)
        self.node.flush()

    def _media_timed_out(self, call_id: str) -> None:
        self.controller.media_timed_out(call_id, self._host.timeline.now)
        self.node.flush()

    def _key_pressed(self, key: plane.Dtmf) -> None:
        now = self._host.timeline.now
        self.controller.key_pressed(key.call_id, key.side, key.digit, key.duration_ms, now, relayed=key.relayed)
        self.node.flush()

    def _media_lost(self, call_ids: list[str]) -> None:
        self.controller.media_lost(call_ids, self._host.timeline.now)
        self.node.flush()

    def _lease_answered(self, tenant_id: int, granted_micro: int | None) -> None:
        if self.node.is_dead:
            return
        self.controller.lease_answered(tenant_id, granted_micro, self._host.timeline.now)
        self.node.flush()

    def _minutes_answered(self, bucket_id: int, granted_seconds: int | None) -> None:
        if self.node.is_dead:
            return
        self.controller.minutes_answered(bucket_id, granted_seconds, self._host.timeline.now)
        self.node.flush()

    def _look_for_legs(self, ended_call_id: str) -> None:
        if ended_call_id in self.controller.calls and not self.node.is_dead:
            self._host.chronicle.lingering.append(ended_call_id)


class EngineHost:
    """The machine: what is there before, between and after the engine's lives."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        network: Network,
        random: Random,
        conduct: EngineConduct,
        facts: list[Facts],
        media: SimulatedPlane,
        books: SimulatedBooks,
    ) -> None:
        self.timeline = timeline
        self.media = media
        self.books = books
        self.chronicle = Chronicle()
        self.softphones: dict[int, list[Hop]] = {}
        """Where agents' phones are, by the agent's id."""
        self._network = network
        self._random = random
        self._conduct = conduct
        self._facts = facts
        self._journal: list[bytes] = []
        self._away = 0.0
        self._call_numbers = count(1)
        self._lives = count(1)
        self.process = self._new_process()
        self._read_leases(self.process.controller)
        media.connect(self.process.media_user(), lambda call_id: timeline.now)
        for death in conduct.deaths:
            timeline.after(death.after, partial(self._meet, death))

    @property
    def is_up(self) -> bool:
        return not self.process.node.is_dead

    @property
    def session_expires_seconds(self) -> int:
        """The interval of session timers that it asks for."""
        return self._conduct.session_expires_seconds

    @property
    def may_miss_words(self) -> bool:
        """Whether a session timer may run out: it was away for long."""
        deaths = self._conduct.deaths if self.chronicle.died_at else ()
        return any(death.away > SHORT_SECONDS for death in deaths) or (bool(deaths) and not self.books.is_faithful)

    @property
    def controller(self) -> Controller:
        return self.process.controller

    @property
    def node(self) -> Node:
        return self.process.node

    @property
    def records(self) -> list[Cdr]:
        """The CDRs in the database."""
        return list(self.books.rows.values())

    def account_changed(self) -> None:
        if self.is_up:
            self.process.controller.account_changed(TENANT, self.timeline.now)
            self.process.node.flush()

    def hang_up_one(self) -> None:
        process = self.process
        if self.is_up:
            for each in list(process.controller.calls)[:1]:
                process.controller.hang_up(each, Cause.HUNG_UP_BY_PLATFORM, self.timeline.now)
            process.node.flush()

    # Death and what comes after it --------------------------------------------------------------------------------

    def _meet(self, death: Death) -> None:
        if not self.is_up:
            return
        self._away = death.away
        match death.point:
            case DeathPoint.JOURNALLED | DeathPoint.COMMANDED:
                self.process.dies_at_commit = death.point
            case DeathPoint.HANDED_OVER:
                self.process.keeper.close()
                if self.process.keeper.waiting == 0 and not self.books.is_away:
                    self.books.give_back(self.process.controller.credit.credit_of(TENANT).free_micro)
                    self.books.minutes.give_back(self.process.controller.minutes.free_by_bucket())
                self.die()
            case DeathPoint.BETWEEN:
                self.die()

    def die(self) -> None:
        self.process.node.die()
        self.process.keeper.is_dead = True
        self.media.disconnect()
        self.chronicle.died_at.append(self.timeline.now)
        self.timeline.after(self._away, self._begin_anew)

    def _begin_anew(self) -> None:
        """The steps of ``engine.main.run_engine``, in its order."""
        timeline, chronicle = self.timeline, self.chronicle
        if self.books.is_away:
            timeline.after(START_AGAIN_SECONDS, self._begin_anew)
            return
        recovered = recover(self._journal)
        assert recovered.unreadable == 0
        died_at = chronicle.died_at[-1]
        process = self.process = self._new_process()
        process.keeper.adopt([*recovered.ended, *recovered.talking], recovered.alive_at_ms)
        controller = process.controller
        ended_at = {call_id: at_ms / 1000 for call_id, at_ms in recovered.ended_at_ms.items()}
        earlier = {cdr.id for cdr, _ in chronicle.interrupted}
        for record in recovered.ended:
            if record.cdr.cause is Cause.ENGINE_RESTART and record.cdr.id not in earlier:
                chronicle.ends[record.cdr.id] += 1
                chronicle.interrupted.append((copy(record.cdr), died_at))
        for record in recovered.talking:
            if record.running is not None and record.running.joined is not None:
                ended_at[record.cdr.id] = record.running.joined.at_ms / 1000
        talking = {record.media_call_id for record in recovered.talking}
        self._read_leases(controller)
        self.media.connect(
            process.media_user(), lambda each: None if each in talking else ended_at.get(each, timeline.now)
        )
        held = [record for record in recovered.talking if record.media_call_id in self.media.calls]
        lost = [record for record in recovered.talking if record.media_call_id not in self.media.calls]
        for record in lost:
            end_interrupted(record, recovered.alive_at_ms)
            chronicle.ends[record.cdr.id] += 1
            chronicle.interrupted.append((copy(record.cdr), min(died_at, self.media.died_at or died_at)))
            controller.release(record, timeline.now)
            process.charged_micro += record.cdr.charge_micro
        chronicle.resumed += [Resumed(record.cdr.id, milliseconds(timeline.now)) for record in held]
        controller.abandon(recovered.ended)
        controller.give_up(recovered.left_waiting, timeline.now)
        controller.hang_up_again(recovered.hung_up, timeline.now)
        controller.resume(held, timeline.now)
        chronicle.places_missing += self._places_missing()
        process.keeper.take(lost)
        process.node.flush()

    def _read_leases(self, controller: Controller) -> None:
        controller.credit.credit_of(TENANT).leased_micro = self.books.leases_of_the_dead()
        for bucket_id, seconds in self.books.minutes.leases_of_the_dead().items():
            controller.minutes.minutes_of(bucket_id).leased_seconds = seconds

    def _places_missing(self) -> int:
        taken = self.controller._signalling._reception._limits._calls
        return sum(len(active.route.limits) for active in self.controller.calls.values()) - sum(taken.values())

    def _new_process(self) -> Process:
        life, timeline, conduct = next(self._lives), self.timeline, self._conduct
        node = Node(
            f"engine{life}x",
            ENGINE,
            timeline,
            self._network,
            TIMERS,
            extensions=("100rel", "timer"),
            session_expires_seconds=conduct.session_expires_seconds,
            agent_class=UserAgent,
        )
        node.resumes_at = conduct.resumes_at
        directory = Directory()
        directory.apply(self._facts)
        directory.apply([AccountFacts(TENANT, self.books.balance_micro, self.books.overdraft_limit_micro, 0)])
        numbers = count(1)

        def tokens() -> str:
            return f"token{life}x{next(numbers)}"

        guard = SourceGuard(GuardSettings(), lambda host, port: True)
        admission = Admission(directory, DigestAuthenticator(REALM, b"secret%d" % life), tokens, guard)
        controller = Controller(
            settings=ControllerSettings(
                policy=CallPolicy(60.0, 3600, conduct.slice_seconds, WARNING_SECONDS),
                own_hosts=OwnHosts(ENGINE.host, ""),
                realm=REALM,
                recordings_folder="/recordings",
                calls_max=conduct.calls_max,
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
            registration=Softphones(directory, admission, Registrar(RegistrarSettings()), self.softphones),
            new_call_id=lambda now: call_id(milliseconds(now), next(self._call_numbers).to_bytes(10, "big")),
            locator=GatewayLocator(),
            new_token=tokens,
            random=self._random.random,
            to_monotonic=lambda now: now,
        )
        keeper = SimulatedKeeper(timeline, self.books, self._journal, conduct.resumes_at)
        process = Process(self, node, controller, keeper)
        node.put_above(process)
        return process
