"""The media plane and the ledger as the engine sees them, each with bad days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from media import plane
from tests.sim.timeline import Timeline


@dataclass(frozen=True)
class MediaConduct:
    delay_max: float = 0.005
    refuses: float = 0.0
    """The chance that an offer or an answer is refused."""
    times_out: float = 0.0
    """The chance that a call's media falls silent ten seconds after its answer."""
    dies_after: float | None = None
    """Seconds after which the worker is gone, its calls with it."""


class SimulatedPlane:
    """Rewrites SDP into its own words, so that an address of one side in the other's message is a leak."""

    def __init__(self, timeline: Timeline, random: Random, conduct: MediaConduct) -> None:
        self.calls: dict[str, bool] = {}
        """Call → whether it is recorded."""
        self.recordings: dict[str, tuple[float, float]] = {}
        """Call → (start, end) of its recording, in seconds."""
        self.replied: Callable[[plane.Reply], None] = lambda reply: None
        self.timed_out: Callable[[str], None] = lambda call_id: None
        self.lost: Callable[[list[str]], None] = lambda call_ids: None
        self._timeline = timeline
        self._random = random
        self._conduct = conduct
        self._is_dead = False
        self._in_order_at = 0.0
        self._started: dict[str, float] = {}
        if conduct.dies_after is not None:
            timeline.after(conduct.dies_after, self._die)

    def send(self, command: plane.Command) -> None:
        reply = self._execute(command)
        # A connection keeps its order, however long each reply takes.
        self._in_order_at = max(
            self._in_order_at, self._timeline.now + self._random.uniform(0.0001, self._conduct.delay_max)
        )
        self._timeline.at(self._in_order_at, lambda: self.replied(reply))

    def _execute(self, command: plane.Command) -> plane.Reply:
        if self._is_dead:
            return plane.Refused(command.cookie, plane.Refusal.UNREACHABLE, "dead")
        match command:
            case plane.Offer():
                if self._random.random() < self._conduct.refuses:
                    return plane.Refused(command.cookie, plane.Refusal.NO_COMMON_CODEC, "drawn")
                self.calls.setdefault(command.call_id, False)
            case plane.Delete():
                if self.calls.pop(command.call_id, None) is None:
                    return plane.Refused(command.cookie, plane.Refusal.UNKNOWN_CALL, "")
                started = self._started.pop(command.call_id, None)
                if started is not None:
                    self.recordings[command.call_id] = (started, command.at)
                return plane.Accepted(command.cookie)
            case plane.ListCalls():
                return plane.Accepted(command.cookie, call_ids=list(self.calls))
            case _:
                if command.call_id not in self.calls:
                    return plane.Refused(command.cookie, plane.Refusal.UNKNOWN_CALL, "")
        match command:
            case plane.Answer():
                if self._random.random() < self._conduct.refuses:
                    return plane.Refused(command.cookie, plane.Refusal.BAD_SDP, "drawn")
                if self._random.random() < self._conduct.times_out:
                    call_id = command.call_id
                    self._timeline.after(10.0, lambda: self.timed_out(call_id))
            case plane.StartRecording():
                self._started[command.call_id] = command.at
        return plane.Accepted(command.cookie, sdp=b"v=0\r\ns=rewritten\r\nm=audio 30000 RTP/AVP 8\r\n")

    def _die(self) -> None:
        self._is_dead = True
        call_ids = list(self.calls)
        self.calls.clear()
        self._started.clear()
        self.lost(call_ids)


@dataclass(frozen=True)
class LedgerConduct:
    delay_max: float = 0.01
    silent: float = 0.0
    """The chance that the database does not answer."""


class SimulatedLedger:
    """One account: what the database would say to requests for leases."""

    def __init__(
        self, timeline: Timeline, random: Random, conduct: LedgerConduct, balance_micro: int, overdraft_limit_micro: int
    ) -> None:
        self.balance_micro = balance_micro
        self.overdraft_limit_micro = overdraft_limit_micro
        self.leased_micro = 0
        self.answered: Callable[[int, int | None], None] = lambda tenant_id, granted: None
        self._timeline = timeline
        self._random = random
        self._conduct = conduct

    def request(self, tenant_id: int, wanted_micro: int) -> None:
        granted: int | None = None
        if self._random.random() >= self._conduct.silent:
            free = self.balance_micro + self.overdraft_limit_micro - self.leased_micro
            granted = max(0, min(free, wanted_micro))
            self.leased_micro += granted
        delay = self._random.uniform(0.0001, self._conduct.delay_max)
        self._timeline.after(delay, lambda: self.answered(tenant_id, granted))

    def settle(self, charge_micro: int) -> None:
        self.balance_micro -= charge_micro
        self.leased_micro -= charge_micro
