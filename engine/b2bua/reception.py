"""What becomes of an INVITE before there is a call: a stranger is challenged, a call turned away, or it may begin."""

from __future__ import annotations

from dataclasses import dataclass

from engine.b2bua.admission import Admission, Refusal
from engine.domain.call import milliseconds
from engine.domain.cause import Cause
from engine.domain.lines.call_limits import CallLimits
from engine.domain.lines.directory import Directory
from engine.domain.lines.routing import NoRoute, Parties, Route, route_axb
from sip.core.events import IncomingInvite
from sip.errors import PeerFault


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A caller whom we know, a call that cannot be: it gets a record. ``limited_by`` names the limit, if it was one."""

    parties: Parties
    cause: Cause
    limited_by: str | None = None


@dataclass(slots=True)
class Admitted:
    """A call that may begin; it has its place under every limit."""

    route: Route
    behind_nat: bool
    srtp: str
    """What the caller's trunk says of SRTP."""
    agent_id: int | None
    """Whose softphone calls, if it is one."""


class Reception:
    def __init__(self, directory: Directory, admission: Admission, calls_max: int) -> None:
        self._directory = directory
        self._admission = admission
        self._calls_max = calls_max
        self._limits = CallLimits()

    def receive(self, event: IncomingInvite, calls: int, now: float) -> Refusal | TurnedAway | Admitted:
        """``calls`` is how many there are already. A header that only we read may be malformed: that is a refusal."""
        try:
            caller = self._admission.identify(event.request, event.source, now)
        except PeerFault as fault:
            return Refusal(fault.status, reason=fault.reason)
        if isinstance(caller, Refusal):
            return caller
        route = route_axb(self._directory, caller=caller.number, dialled=caller.dialled, now_ms=milliseconds(now))
        if isinstance(route, NoRoute):
            return TurnedAway(route.parties, route.cause)
        limited_by = self.limited_by(route, calls, now)
        if limited_by is not None:
            return TurnedAway(route.parties, Cause.CAPACITY, limited_by)
        return Admitted(route, caller.behind_nat, caller.srtp, caller.agent_id)

    def limited_by(self, route: Route, calls: int, now: float) -> str | None:
        """The limit that keeps a call out; None, and its places are taken, where none does."""
        return "engine" if calls >= self._calls_max else self._limits.begin(route.limits, now)

    def rejoin(self, route: Route) -> None:
        """A call that was let in before this engine began takes its places again, whatever the limits are by now."""
        self._limits.enter(limit.key for limit in route.limits)

    def leave(self, route: Route) -> None:
        """The call is over: its places are free."""
        self._limits.end(limit.key for limit in route.limits)
