"""The database as the engine sees it: one account, the engine's lease on it, and the CDRs. It has bad days too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from random import Random

from engine.domain.cdr import Cdr, CdrState
from tests.sim.minutes import SimulatedMinutes
from tests.sim.timeline import START, Timeline


@dataclass(frozen=True)
class Outage:
    """The database is away for so many seconds, so long after the history's beginning.

    Who asks meanwhile is refused at once, or, where it ``hangs``, hears of it when the outage is over.
    """

    after: float
    seconds: float
    hangs: bool

    @property
    def ends_at(self) -> float:
        return START + self.after + self.seconds

    def covers(self, now: float) -> bool:
        return START + self.after <= now < self.ends_at


@dataclass(frozen=True)
class BooksConduct:
    delay_max: float = 0.01
    silent: float = 0.0
    """The chance that a lease is not granted, since the database does not answer."""
    loses_answers: float = 0.0
    """The chance that a lease is granted, and the connection gone before the answer is back."""
    outages: tuple[Outage, ...] = ()


class SimulatedBooks:
    """What ``engine.store`` keeps; ``faults`` are what no database should have been asked for."""

    def __init__(
        self, timeline: Timeline, random: Random, conduct: BooksConduct, balance_micro: int, overdraft_limit_micro: int
    ) -> None:
        self.minutes = SimulatedMinutes(timeline, random, {})
        self.balance_micro = balance_micro
        self.overdraft_limit_micro = overdraft_limit_micro
        self.paid_in_micro = balance_micro
        self.leased_micro = 0
        self.stranded_micro = 0
        """Leased, without the engine having heard of it; the next engine will."""
        self.charges: dict[str, int] = {}
        self.rows: dict[str, Cdr] = {}
        self.faults: list[str] = []
        self._timeline = timeline
        self._random = random
        self._conduct = conduct

    @property
    def is_away(self) -> bool:
        return self._outage() is not None

    @property
    def is_faithful(self) -> bool:
        """Whether it always answers."""
        conduct = self._conduct
        return not (conduct.outages or conduct.silent or conduct.loses_answers)

    def _outage(self) -> Outage | None:
        return next((outage for outage in self._conduct.outages if outage.covers(self._timeline.now)), None)

    # Money --------------------------------------------------------------------------------------------------------

    def pay_in(self, amount_micro: int) -> None:
        self.balance_micro += amount_micro
        self.paid_in_micro += amount_micro

    def request_lease(self, wanted_micro: int, answered: Callable[[int | None], None]) -> None:
        """Tells ``answered`` what was granted; None where nobody can say."""
        outage, random = self._outage(), self._random
        delay = random.uniform(0.0001, self._conduct.delay_max)
        if outage is not None and outage.hangs:
            delay += outage.ends_at - self._timeline.now
        granted: int | None = None
        if (outage is None or outage.hangs) and random.random() >= self._conduct.silent:
            free = self.balance_micro + self.overdraft_limit_micro - self.leased_micro
            granted = max(0, min(free, wanted_micro))
            self.leased_micro += granted
            if random.random() < self._conduct.loses_answers:
                self.stranded_micro += granted
                granted = None
        self._timeline.after(delay, lambda: answered(granted))

    def leases_of_the_dead(self) -> int:
        """What an engine that begins finds leased to it."""
        self.stranded_micro = 0
        return self.leased_micro

    def give_back(self, amount_micro: int) -> None:
        self.leased_micro -= amount_micro

    # Records ------------------------------------------------------------------------------------------------------

    def store(self, cdrs: Iterable[Cdr]) -> bool:
        """One transaction; False, and nothing stored, where the database is away."""
        if self.is_away:
            return False
        for cdr in cdrs:
            earlier = self.rows.get(cdr.id)
            if earlier is not None and earlier.state is CdrState.ENDED and earlier != cdr:
                self.faults.append(f"call {cdr.id}'s record changed after its end")
            if cdr.state is CdrState.ENDED and (earlier is None or earlier.state is not CdrState.ENDED):
                self.minutes.settle(cdr.minutes_used, cdr.id)
            self.rows[cdr.id] = copy(cdr)
            if cdr.state is CdrState.ENDED and cdr.charge_micro and cdr.id not in self.charges:
                self._settle(cdr)
        return True

    def _settle(self, cdr: Cdr) -> None:
        self.charges[cdr.id] = cdr.charge_micro
        self.balance_micro -= cdr.charge_micro
        covered = min(cdr.charge_micro, self.leased_micro)
        self.leased_micro -= covered
        if covered < cdr.charge_micro:
            self.faults.append(f"call {cdr.id} was charged {cdr.charge_micro - covered} beyond the lease")
