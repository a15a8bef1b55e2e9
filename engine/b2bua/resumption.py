"""Takes up the calls of an engine that is gone: they go on as if nothing had been.

The media plane has held them meanwhile. What they had held of their tenants' credit is held again before any of them
asks for more, so that none loses to another what was already its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.call_executor import CallExecutor
from engine.b2bua.carrier_account import accounts_of
from engine.b2bua.outcome import reason_header
from engine.b2bua.reception import Reception
from engine.b2bua.running_call import CallRecord, JoinedCall, RunningCall
from engine.b2bua.transfer import Transfer, notify
from engine.domain.call import Call, CallPolicy, milliseconds
from engine.domain.cause import CODES, Cause
from engine.domain.cdr import Cdr
from engine.domain.events import HungUp, Leg
from engine.domain.facts import TrunkFacts
from engine.domain.lines.directory import Directory
from engine.domain.lines.routing import Direction, Parties, Route
from sip.core.dialogs.session import SessionState
from sip.core.dialogs.session_snapshot import SessionSnapshot
from sip.core.user_agents.user_agent import UserAgent


class Resumption:
    """``leg_made`` is told each SIP dialog of a call, the caller's first."""

    def __init__(
        self,
        *,
        user_agent: UserAgent,
        directory: Directory,
        executor: CallExecutor,
        reception: Reception,
        policy: CallPolicy,
        retry_after_seconds: int,
        leg_made: Callable[[str, str], None],
    ) -> None:
        self._retry_after_seconds = retry_after_seconds
        self._user_agent = user_agent
        self._directory = directory
        self._executor = executor
        self._reception = reception
        self._policy = policy
        self._leg_made = leg_made

    def resume(self, records: Iterable[CallRecord], now: float) -> None:
        """Goes on with calls that were talking; each record's CDR is the call's from here on."""
        running = {record.cdr.id: (record, record.running) for record in records if record.running is not None}
        joined = {call_id: running.joined for call_id, (_, running) in running.items() if running.joined is not None}
        trunks = {(each.first_id, each.leg): self._trunk(running[call_id][0].cdr) for call_id, each in joined.items()}
        resumed = {call_id: self._rebuild(*each, trunks, now) for call_id, each in running.items()}
        for call_id, each in joined.items():
            self._join(resumed[each.first_id], resumed[call_id], each, now)
        for active in resumed.values():
            self._executor.resume(active, now)
        for call_id, (_, before) in running.items():
            self._end_subscription(resumed[call_id], before, now)
        for active in resumed.values():
            if active.transfer is None and (active.caller is None or active.callee is None):
                # Its party had left it to a transfer, which has died with its engine.
                gone = Leg.CALLER if active.caller is None else Leg.CALLEE
                self._executor.feed(active, HungUp(gone), now)

    def _end_subscription(self, active: ActiveCall, running: RunningCall, now: float) -> None:
        """A transfer that was being made has died with its engine; who asked for it has his call still."""
        leg, event = running.subscription or (None, "")
        session = active.session(leg) if leg is not None else None
        if session is not None and session.state < SessionState.ENDING:
            notify(self._user_agent, session, event, CODES[Cause.ENGINE_RESTART].sip_status, now)

    def _join(self, first: ActiveCall, call: ActiveCall, joined: JoinedCall, now: float) -> None:
        transfer = Transfer(
            self._user_agent,
            self._executor,
            first=first,
            leg=joined.leg,
            event="",
            call=call,
            new_leg=joined.new_leg,
        )
        transfer.rejoin(joined.at_ms)
        self._bye(joined.leaving, now)

    def abandon(self, record: CallRecord) -> None:
        """Nobody is there any more for those who were being called."""
        self._user_agent.abandon(record.dialled)

    def give_up(self, record: CallRecord, now: float) -> None:
        """Tells everybody of a call that is not made: its caller as its record has it, those who ring by CANCEL."""
        setup, cdr = record.setup, record.cdr
        if setup is None:
            return
        cause = cdr.cause or Cause.ENGINE_RESTART
        headers = [reason_header(cause)]
        for sent in setup.callees:
            self._user_agent.cancel_earlier(sent, now, headers)
        for snapshot in setup.answered:
            session = self._user_agent.resume(snapshot, now)
            self._user_agent.answer_again(session, snapshot, now)  # it may not have heard even that
            self._user_agent.bye(session, now, headers)
        if setup.caller is not None:
            status = cdr.sip_status if cdr.sip_status is not None and cdr.sip_status >= 300 else CODES[cause].sip_status
            if cause is Cause.ENGINE_RESTART:
                headers.append(("Retry-After", str(self._retry_after_seconds)))
            self._user_agent.refuse_earlier(setup.caller, status if status >= 300 else 500, now, headers)

    def release(self, record: CallRecord, now: float) -> None:
        """Hangs up both legs of a call that could not be taken up, and has its whole record already.

        What it cost goes out of the leases here, as it does in the books with its record: else it would be spent twice.
        """
        cdr = record.cdr
        if record.running is None or cdr.tenant_id is None:
            return
        credit, minutes = self._executor.credit.credit_of(cdr.tenant_id), self._executor.minutes
        charged_micro = credit.hold(cdr.charge_micro, 0) or 0
        credit.post(charged_micro, charged_micro)
        ended_at_ms = cdr.ended_at_ms or milliseconds(now)
        self._executor.spending.post(cdr.tenant_id, cdr.agent_id, 0, cdr.charge_micro, ended_at_ms)
        used = minutes.hold_again(cdr.minutes_used)
        minutes.post(used, used)
        self.hang_up(record.running, now)

    def hang_up(self, running: RunningCall, now: float) -> None:
        """BYE to the legs of a call that is over. Who has had one answers 481, which is the end of it."""
        leaving = running.joined.leaving if running.joined is not None else ()
        self._bye((running.caller, running.callee, *leaving), now)

    def _bye(self, snapshots: Iterable[SessionSnapshot | None], now: float) -> None:
        for snapshot in snapshots:
            if snapshot is not None:
                self._user_agent.bye(self._user_agent.resume(snapshot, now), now)

    def _trunk(self, cdr: Cdr) -> TrunkFacts:
        return self._directory.trunks.get(cdr.trunk_id or 0) or _removed_trunk(cdr.trunk_id or 0)

    def _rebuild(
        self,
        record: CallRecord,
        running: RunningCall,
        trunks: Mapping[tuple[str, Leg], TrunkFacts],
        now: float,
    ) -> ActiveCall:
        """``trunks`` are those of the legs that a transfer has brought over another one than the call's own."""
        cdr = record.cdr
        assert record.tariff is not None  # a call that talks has both
        assert cdr.tenant_id is not None
        trunk = self._trunk(cdr)
        route = Route(
            parties=Parties(
                tenant_id=cdr.tenant_id,
                agent_id=cdr.agent_id,
                line_id=cdr.line_id,
                trunk_id=cdr.trunk_id,
                binding_id=cdr.binding_id,
                direction=cdr.direction,
                a_number=cdr.a_number,
                x_number=cdr.x_number,
                b_number=cdr.b_number,
            ),
            tenant_id=cdr.tenant_id,
            callee_number=running.callee_number,
            callee_agent_id=running.callee_agent_id,
            trunk=trunk,
            tariff=record.tariff,
            recording=cdr.recording_path is not None,
            limits=running.limits,
        )
        agent_leg = Leg.CALLER if cdr.direction is Direction.A_TO_B else Leg.CALLEE
        call = Call.resumed(
            cdr,
            tariff=route.tariff,
            policy=self._policy,
            agent_leg=running.warning_leg or agent_leg,
            granted_seconds=running.granted_seconds,
        )
        active = ActiveCall(cdr.id, call, route, None, running.max_forwards)
        active.softphones.update(running.softphones)
        active.media_needs.update(running.media_needs)
        for leg, snapshot in ((Leg.CALLER, running.caller), (Leg.CALLEE, running.callee)):
            if snapshot is not None:
                has_account = snapshot.outgoing and leg not in active.softphones
                accounts = accounts_of(trunks.get((cdr.id, leg), trunk)) if has_account else None
                session = self._user_agent.resume(snapshot, now, accounts)
                session.owner = active
                active.put(leg, session)
                self._user_agent.answer_again(session, snapshot, now)
                self._leg_made(active.call_id, session.call_id)
        self._reception.rejoin(route)
        return active


def _removed_trunk(trunk_id: int) -> TrunkFacts:
    """Stands for a trunk that was deleted under a running call, which needs no more of it than its id."""
    return TrunkFacts(trunk_id, "", "", 0, (), "e164", 0, "removed")
