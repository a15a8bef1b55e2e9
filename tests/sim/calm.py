"""A world without bad days, for tests that bring their own: one pair, plenty of money, a network that loses nothing."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from engine.domain.facts import RateFacts, TrunkFacts
from sip.core.dialogs.session import Session
from sip.core.hop import Hop
from tests.sim.books import BooksConduct, SimulatedBooks
from tests.sim.engine import ENGINE, TIMERS, Death, EngineConduct, EngineHost
from tests.sim.history import History, Pair
from tests.sim.media_plane import MediaConduct, SimulatedPlane
from tests.sim.minutes import SimulatedMinutes
from tests.sim.network import Network, Weather
from tests.sim.node import Node
from tests.sim.phones import SDP, CalleeConduct, CalleePhone, CallerConduct, CallerPhone
from tests.sim.timeline import Timeline
from tests.sim.vice import Vice
from tests.sim.world import RATE_ID, a_number, draw_facts, host, x_number

CALM_MICRO = 100_000_000
RATE = RateFacts(RATE_ID, 60_000, 60, 60, 0)


def calm_trunk(index: int) -> TrunkFacts:
    """The callee's trunk of a pair."""
    return TrunkFacts(index + 10, "t", host(index), 5080, (), "e164", 1000, "active")


def calm_engine(
    timeline: Timeline,
    network: Network,
    *,
    trunk: TrunkFacts | None = None,
    deaths: tuple[Death, ...] = (),
    media: MediaConduct | None = None,
    balance_micro: int = CALM_MICRO,
    rate: RateFacts = RATE,
    minutes: dict[int, int] | None = None,
) -> EngineHost:
    """An engine that knows the first pair of phones, over ``trunk``; what else is given are its bad days.

    ``minutes`` are the package seconds that the tenant has bought, by bucket, in the order of use.
    """
    random = Random(0)
    books = SimulatedBooks(timeline, random, BooksConduct(), balance_micro, overdraft_limit_micro=0)
    books.minutes = SimulatedMinutes(timeline, Random(0), minutes or {})
    return EngineHost(
        timeline=timeline,
        network=network,
        random=random,
        conduct=EngineConduct(60, 1000, 1800, lambda now: now, deaths),
        facts=[*draw_facts(random, rate, 1), trunk or calm_trunk(0), *books.minutes.facts],
        media=SimulatedPlane(timeline, random, media or MediaConduct()),
        books=books,
    )


TALKS = CallerConduct(
    cancel_after=None, hang_up_after=None, holds_after=None, offers=True, answers_offers=True, crossing=None
)
ANSWERS = CalleeConduct(
    ring_after=0.1,
    rings=1,
    early_media=False,
    answer_after=0.5,
    fail_status=None,
    hang_up_after=None,
    answers_without_sdp=False,
)


class CalmPair:
    """A calls B, who answers, and both talk until the test says something else."""

    def __init__(
        self,
        *,
        deaths: tuple[Death, ...] = (),
        media: MediaConduct | None = None,
        rate: RateFacts = RATE,
        minutes: dict[int, int] | None = None,
        callers_vices: Iterable[Vice] = (),
        callees_vices: Iterable[Vice] = (),
        callees_extensions: tuple[str, ...] = (),
        callees_sdp: bytes = b"",
    ) -> None:
        """``callees_sdp`` are lines for the end of the callee's descriptions; the caller takes voice and no more."""
        random = Random(0)
        self.timeline = Timeline()
        self.network = Network(self.timeline, random, Weather())
        self._rate = rate
        self.engine = calm_engine(self.timeline, self.network, deaths=deaths, media=media, rate=rate, minutes=minutes)
        callee = self._node("callee", 5080, callees_extensions)
        self.callee = CalleePhone(callee, self.timeline, random, ANSWERS)
        self.caller = CallerPhone(self._node("caller", 5070), self.timeline, random, self.callee.act_together, TALKS)
        self.caller.node.vices += callers_vices
        self.callee.node.vices += callees_vices
        self.caller.sdp, self.callee.sdp = SDP, SDP + callees_sdp
        self.caller.refuses = self.callee.refuses = False
        self.caller.call(a_number(0), x_number(0), ENGINE)
        self.timeline.pass_seconds(1.0)

    def _node(self, name: str, port: int, extensions: tuple[str, ...] = ()) -> Node:
        return Node(name, Hop("udp", host(0), port), self.timeline, self.network, TIMERS, extensions=extensions)

    @property
    def caller_session(self) -> Session:
        assert self.caller.session is not None
        return self.caller.session

    def run_out(self) -> History:
        """Lets all happen that is still to happen."""
        history = History(0, self.engine, self.network, Weather(), self._rate, pause_seconds=0.0)
        history.pairs = [Pair(self.caller, [self.caller, self.callee])]
        history.is_at_rest = self.timeline.run()
        return history
