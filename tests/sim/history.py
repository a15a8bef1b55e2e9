"""One seed's history: an engine, some pairs of phones, one account, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from engine.domain.facts import RateFacts, SipAccountFacts
from sip.core.authorization import Account, Accounts
from sip.core.digest import digest_ha1
from sip.core.hop import Hop
from tests.sim.books import BooksConduct, Outage, SimulatedBooks
from tests.sim.engine import ENGINE, REALM, TIMERS, Death, DeathPoint, EngineConduct, EngineHost
from tests.sim.media_plane import MediaConduct, SimulatedPlane
from tests.sim.minutes import draw_minutes
from tests.sim.network import Network, Weather
from tests.sim.node import Node
from tests.sim.phones import TRANSFERS_AFTER, CalleeConduct, CalleePhone, CallerConduct, CallerPhone, Phone
from tests.sim.timeline import Timeline
from tests.sim.vices import OF_CALLEES, OF_CALLERS, FallsSilent, draw_vices
from tests.sim.world import X, a_number, b_number, draw_facts, draw_rate, host, stream, x_number

PAUSE_PERIOD_SECONDS = 10.0
BUSY_OFFICES = 0.25
LONG_TALKS = 0.15
"""Of the others: nobody hangs up for minutes, sessions are refreshed each 45 seconds, and engines die in between.
Nothing else befalls them, as what ends a call early hides what becomes of its session."""
RICH_MICRO = 100_000_000
"""More than all calls of a history can cost."""


@dataclass
class Pair:
    """A caller and the callee of one binding, and all phones that are there for either."""

    caller: CallerPhone
    phones: list[Phone]

    @property
    def has_vices(self) -> bool:
        return any(phone.node.vices or phone.refuses for phone in self.phones)


@dataclass
class History:
    """All that the invariants look at, after the last thing has happened."""

    seed: int
    engine: EngineHost
    network: Network
    weather: Weather
    rate: RateFacts
    pause_seconds: float
    pairs: list[Pair] = field(default_factory=list)
    forbidden_by_hop: dict[Hop, str] = field(default_factory=dict)
    """Whose number may not arrive at which phone: the other party's."""
    is_at_rest: bool = False

    @property
    def attempts(self) -> int:
        return len(self.pairs)


def play(seed: int) -> History:
    """Draws a world from the seed and lets it run until nothing is left to happen."""
    random, timeline = stream(seed, "world"), Timeline()
    is_busy_office = stream(seed, "office").random() < BUSY_OFFICES
    is_long = not is_busy_office and stream(seed, "long talks").random() < LONG_TALKS
    weather = _draw_weather(random)
    if is_long:
        weather = replace(weather, loss=0.0)
    network = Network(timeline, stream(seed, "network"), weather)
    rate, pairs = draw_rate(random), random.randint(1, 6)
    if is_busy_office:
        pairs = 6
    facts = [*draw_facts(random, rate, pairs), *(_softphone_account(index) for index in range(pairs))]
    pause_seconds = random.choice((0.0, 0.0, 0.5, 3.0, 5.0))
    conduct = _draw_engine_conduct(stream(seed, "engine's conduct"), pause_seconds)
    media_conduct = _draw_media_conduct(stream(seed, "media's conduct"), conduct.deaths)
    if is_long:
        conduct = _lengthened(stream(seed, "long engine"), conduct)
        media_conduct = MediaConduct(delay_max=media_conduct.delay_max)
    books = _draw_books(timeline, seed, has_bad_days=not is_long)
    books.minutes = draw_minutes(timeline, stream(seed, "minutes"))
    facts += books.minutes.facts
    engine = EngineHost(
        timeline=timeline,
        network=network,
        random=stream(seed, "engine"),
        conduct=conduct,
        facts=facts,
        media=SimulatedPlane(timeline, stream(seed, "media"), media_conduct),
        books=books,
    )
    history = History(seed, engine, network, weather, rate, pause_seconds)
    for index in range(pairs):
        draws = stream(seed, f"pair {index}")
        _add_pair(history, draws, timeline, index, is_busy_office=is_busy_office, is_long=is_long)
    if random.random() < 0.3:
        _top_up(timeline, engine, random.choice((5.0, 55.0, 90.0)))
    if random.random() < 0.2:
        timeline.after(random.uniform(0.5, 20.0), engine.hang_up_one)
    history.is_at_rest = timeline.run()
    return history


def _draw_weather(random: Random) -> Weather:
    return random.choice(
        (
            Weather(),
            Weather(delay_max=0.2),
            Weather(loss=0.1, doubling=0.05),
            Weather(loss=0.3, doubling=0.2, delay_max=0.4),
        )
    )


def _draw_engine_conduct(random: Random, pause_seconds: float) -> EngineConduct:
    deaths: tuple[Death, ...] = ()
    if random.random() < 0.4:
        times = sorted(random.uniform(0.0, random.choice((15.0, 70.0, 140.0))) for _ in range(2))
        deaths = tuple(
            Death(after, random.choice((0.3, 1.0, 5.0, 40.0)), random.choice(list(DeathPoint)))
            for after in times[: random.choice((1, 1, 2))]
        )
    return EngineConduct(
        slice_seconds=random.choice((60, 6)),
        calls_max=random.choice((2,) + (1000,) * 9),
        session_expires_seconds=random.choice((90, 1800)),
        resumes_at=_pauses(random, pause_seconds),
        deaths=deaths,
    )


def _lengthened(random: Random, conduct: EngineConduct) -> EngineConduct:
    times = sorted(random.uniform(8.0, 60.0) for _ in range(random.choice((0, 1, 1, 2))))
    deaths = tuple(Death(after, random.choice((0.3, 1.0)), random.choice(list(DeathPoint))) for after in times)
    return replace(conduct, session_expires_seconds=90, deaths=deaths)


def _pauses(random: Random, pause_seconds: float) -> Callable[[float], float]:
    """A machine with too much to do: in each ten seconds the engine's process stands still for a while."""
    phase = random.uniform(0.0, PAUSE_PERIOD_SECONDS)

    def resumes_at(now: float) -> float:
        since = (now + phase) % PAUSE_PERIOD_SECONDS
        return now + pause_seconds - since if since < pause_seconds else now

    return resumes_at


def _draw_media_conduct(random: Random, deaths: tuple[Death, ...]) -> MediaConduct:
    dies_after = random.choice((*(None,) * 7, random.uniform(0.0, 6.0), random.uniform(0.0, 60.0)))
    if deaths and random.random() < 0.4:
        dies_after = deaths[-1].after + random.choice((0.0, 0.1))  # a power cut
    return MediaConduct(
        delay_max=random.choice((0.001, 0.3)),
        refuses=random.choice((0.0, 0.0, 0.0, 0.0, 0.1)),
        times_out=random.choice((0.0, 0.1)),
        dies_after=dies_after,
        comes_back_after=random.choice((None, 0.05, 1.0, 10.0)),
        answers_late=random.random() < 0.5,
    )


def _draw_books(timeline: Timeline, seed: int, *, has_bad_days: bool) -> SimulatedBooks:
    random = stream(seed, "books' conduct")
    outages: tuple[Outage, ...] = ()
    if random.random() < 0.3:
        after, seconds = random.choice((0.0, random.uniform(0.0, 70.0))), random.choice((0.5, 3.0, 30.0, 200.0))
        outages = (Outage(after, seconds, hangs=random.random() < 0.5),)
    conduct = BooksConduct(
        delay_max=random.choice((0.001, 2.0)),
        silent=random.choice((0.0, 0.0, 0.2)),
        loses_answers=random.choice((0.0, 0.0, 0.1)),
        outages=outages,
    )
    balance_micro = random.choice((0, 60_000, 125_000, 250_000, 370_000, 1_000_000, *(RICH_MICRO,) * 6))
    if not has_bad_days:
        conduct, balance_micro = BooksConduct(), RICH_MICRO
    return SimulatedBooks(
        timeline,
        stream(seed, "books"),
        conduct,
        balance_micro=balance_micro,
        overdraft_limit_micro=random.choice((0, 0, 500_000)),
    )


def _extensions(random: Random) -> tuple[str, ...]:
    return random.choice(((), ("100rel",), ("timer",), ("100rel", "timer")))


def _add_pair(
    history: History, random: Random, timeline: Timeline, index: int, *, is_busy_office: bool, is_long: bool
) -> None:
    """Puts a caller and a callee of one binding on the network; in half the pairs it is B who calls A.

    In a busy office most agents have softphones, and transfer most of their calls. In a long talk both phones know of
    session timers, and one may fall silent.
    """
    network, engine = history.network, history.engine

    def phone_node(name: str, hop: Hop) -> Node:
        interval_min = random.choice((90, 90, 90, 3600))  # with 3600 it answers 422 to what we ask for
        extensions = _extensions(random)
        if is_long:
            interval_min, extensions = 90, ("100rel", "timer") if "100rel" in extensions else ("timer",)
        return Node(
            name,
            hop,
            timeline,
            network,
            TIMERS,
            extensions=extensions,
            session_expires_seconds=max(1800, interval_min),
            session_expires_seconds_min=interval_min,
        )

    a, b = a_number(index), b_number(index)
    is_softphone = random.random() < (0.7 if is_busy_office else 0.25)
    caller_number, callee_number = (a, b) if is_softphone or random.random() < 0.5 else (b, a)
    caller_hop = Hop("udp", f"198.18.0.{index + 1}" if is_softphone else host(index), 5070)
    callee_hop = Hop("udp", host(index), 5080)
    long_callee = replace(CalleeConduct.draw(random), hang_up_after=None) if is_long else None
    callee = CalleePhone(phone_node(f"callee{index}", callee_hop), timeline, random, long_callee)
    conduct = CallerConduct.draw(random)
    if is_long:
        conduct = replace(conduct, cancel_after=None, hang_up_after=None)
    if is_busy_office and is_softphone:
        conduct = replace(conduct, crossing=(random.choice(TRANSFERS_AFTER), "REFER", "OPTIONS"))
    caller = CallerPhone(phone_node(f"caller{index}", caller_hop), timeline, random, callee.act_together, conduct)
    if is_long and random.random() < 0.5:
        silent = random.choice((callee.node, caller.node))
        silent.vices.append(FallsSilent(silent, timeline, random))
    else:
        draw_vices(callee.node, timeline, random, OF_CALLEES)
        draw_vices(caller.node, timeline, random, OF_CALLERS)
    dialled = x_number(index) if random.random() < 0.97 else X
    accounts = _accounts(index) if is_softphone else None
    timeline.after(random.uniform(0.0, 5.0), lambda: caller.call(caller_number, dialled, ENGINE, accounts))
    history.forbidden_by_hop[caller_hop] = callee_number
    history.forbidden_by_hop[callee_hop] = caller_number
    history.pairs.append(Pair(caller, [caller, callee]))
    if random.random() < (0.9 if is_busy_office else 0.3):
        engine.softphones[index + 1] = hops = [
            Hop("udp", host(index), 5090 + number) for number in range(random.randint(1, 3))
        ]
        for hop in hops:
            node, transfers = phone_node(f"soft{index}x{hop.port}", hop), 0.7 if is_busy_office else 0.0
            phone = CalleePhone(node, timeline, random, transfers=transfers)
            draw_vices(phone.node, timeline, random, OF_CALLEES)
            history.pairs[-1].phones.append(phone)
            history.forbidden_by_hop[hop] = b


def _accounts(index: int) -> Accounts:
    account = Account(f"agent{index}", {"MD5": _ha1("MD5", index), "SHA-256": _ha1("SHA-256", index)})
    return lambda realm: account if realm == REALM else None


def _softphone_account(index: int) -> SipAccountFacts:
    return SipAccountFacts(
        index + 1, index + 1, f"agent{index}", REALM, _ha1("MD5", index), _ha1("SHA-256", index), "active"
    )


def _ha1(algorithm: str, index: int) -> str:
    return digest_ha1(algorithm, f"agent{index}", REALM, "secret")


def _top_up(timeline: Timeline, engine: EngineHost, after_seconds: float) -> None:
    def top_up() -> None:
        engine.books.pay_in(1_000_000)
        engine.account_changed()

    timeline.after(after_seconds, top_up)
