"""The callee's side of every call: who is rung, over which gateway, and who else is tried after a failure."""

from __future__ import annotations

from collections.abc import Callable

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.call_timers import CallTimers
from engine.b2bua.dialler import Dialler
from engine.b2bua.redirection import redirect_targets
from engine.domain.call import CallState
from engine.domain.cause import Cause
from engine.domain.events import Leg, TimerKind
from engine.domain.lines.gateways import FAILOVER_CAUSES
from sip.core.dialogs.session import Session
from sip.core.events import InviteFailed
from sip.core.transactions.states import State as TransactionState
from sip.core.user_agents.user_agent import UserAgent

CALLEES_OWN = frozenset({Cause.BUSY, Cause.REJECTED, Cause.NO_ANSWER})
"""What the customer himself has come to: he is the same in every place that a trunk may name for him."""
GLOBAL_FAILURE = 600
"""A status from here on speaks for all of a callee's phones (RFC 3261 §16.7 step 5)."""


class CalleeLeg:
    """``dialled(active, session)`` is told each session that is made towards a callee."""

    def __init__(
        self,
        user_agent: UserAgent,
        dialler: Dialler,
        timers: CallTimers,
        gateway_silence_seconds: float,
        dialled: Callable[[ActiveCall, Session], None],
    ) -> None:
        self.failovers = 0
        self._user_agent = user_agent
        self._dialler = dialler
        self._timers = timers
        self._gateway_silence_seconds = gateway_silence_seconds
        self._dialled = dialled

    def plan(self, active: ActiveCall, now: float) -> None:
        """Looks up where the callee is; before its offer is made, which depends on that."""
        self._dialler.plan(active, now)

    def dial(self, active: ActiveCall, media: bytes, now: float) -> None:
        """Calls the callee: all of an agent's softphones, or the first gateway. Raises Unreachable."""
        self._dialler.dial(active, media, now)
        self._watch(active, now)

    def cancel(self, active: ActiveCall, now: float) -> None:
        """Gives up the call before it was answered."""
        self._cancel_forks(active, now, but=active.callee)
        if active.callee is not None:
            self._user_agent.cancel(active.callee, now)

    def heard(self, active: ActiveCall) -> None:
        """The far end has spoken of the callee: from here on another gateway could only disturb."""
        if active.gateway is not None:
            self._dialler.health.answered(active.gateway)
            active.offer = b""
            active.gateways_left = []
            active.redirect_targets, active.redirects_left = [], 0

    def redirected(self, active: ActiveCall, event: InviteFailed, now: float) -> bool:
        """A gateway leads the call elsewhere; True if that is followed."""
        if active.gateway is None or not active.redirects_left or event.response is None:
            return False
        # What this one names comes before what an earlier one has: it has been led further.
        active.redirect_targets = redirect_targets(event.response, active.route.trunk) + active.redirect_targets
        return self._goes_on(active, event.session, now)

    def answered(self, active: ActiveCall, session: Session, now: float) -> None:
        """The first phone to answer has the call; the others stop ringing."""
        self.heard(active)
        active.callee = session
        if active.contacts and active.route.callee_agent_id is not None:
            active.softphones[Leg.CALLEE] = active.route.callee_agent_id
        self._cancel_forks(active, now, but=session)

    def failed(self, active: ActiveCall, session: Session, status: int, cause: Cause, now: float) -> bool:
        """A session came to nothing; True if that was the callee's last word, and no phone or gateway is left."""
        if status < GLOBAL_FAILURE and cause not in CALLEES_OWN and self._goes_on(active, session, now):
            return False
        if self._others_ring_on(active, session, status) or self._fails_over(active, cause, now):
            session.owner = None
            return False
        if active.forks:
            active.callee = session
        self._cancel_forks(active, now, but=session)
        return True

    def gateway_silent(self, active: ActiveCall, now: float) -> None:
        """Not even a 100: the next gateway gets the call long before timer B would say so (RFC 3261 §17.1.1.2)."""
        session = active.callee
        if session is None or session.client is None or session.client.state is not TransactionState.CALLING:
            return
        if self._goes_on(active, session, now) or self._fails_over(active, Cause.TIMEOUT, now):
            session.owner = None
            self._user_agent.cancel(session, now)

    def _goes_on(self, active: ActiveCall, session: Session, now: float) -> bool:
        """To the next place that the trunk has named."""
        if active.call.state is not CallState.DIALLING or not self._dialler.redirect(active, now):
            return False
        session.owner = None
        self._watch(active, now)
        return True

    def _others_ring_on(self, active: ActiveCall, session: Session, status: int) -> bool:
        """One of several softphones has declined, or is not there."""
        if session not in active.forks or active.call.state is CallState.ENDED or status >= GLOBAL_FAILURE:
            return False
        active.forks.remove(session)
        if not active.forks:
            return False
        if session is active.callee:
            active.callee = active.forks[0]
        return True

    def _cancel_forks(self, active: ActiveCall, now: float, *, but: Session | None) -> None:
        """The other softphones stop ringing; what they answer still is no affair of the call."""
        forks, active.forks = active.forks, []
        for session in forks:
            if session is not but:
                session.owner = None
                self._user_agent.cancel(session, now)

    def _fails_over(self, active: ActiveCall, cause: Cause, now: float) -> bool:
        if cause not in FAILOVER_CAUSES or active.call.state is not CallState.DIALLING:
            return False
        if not self._dialler.fail_over(active, now):
            return False
        self.failovers += 1
        self._watch(active, now)
        return True

    def _watch(self, active: ActiveCall, now: float) -> None:
        """An INVITE has gone to each of the callee's phones, or to the next gateway towards him."""
        sessions = active.forks or ([active.callee] if active.callee is not None else [])
        for session in sessions:
            self._dialled(active, session)
        if active.gateways_left or active.redirect_targets:
            self._timers.set(active, TimerKind.GATEWAY, now + self._gateway_silence_seconds)
