"""REFER from softphones in a call: who may transfer to whom, and the call that a transfer makes."""

from __future__ import annotations

from collections.abc import Callable

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.call_executor import CallExecutor
from engine.b2bua.merger import Merger
from engine.b2bua.reception import Reception
from engine.b2bua.transfer import Transfer
from engine.domain.call import Call, CallPolicy, CallState, milliseconds
from engine.domain.cause import CODES
from engine.domain.cdr import Cdr
from engine.domain.events import Leg
from engine.domain.lines.directory import Directory
from engine.domain.lines.number import InvalidNumber, normalise
from engine.domain.lines.routing import NoRoute, Route
from engine.domain.transfer import route_transfer
from sip.core.dialogs.refer import Referral, Replaces, read_referral
from sip.core.events import DialogRequest
from sip.core.user_agents.user_agent import UserAgent
from sip.errors import PeerFault


class Referrals:
    def __init__(
        self,
        *,
        user_agent: UserAgent,
        executor: CallExecutor,
        directory: Directory,
        reception: Reception,
        policy: CallPolicy,
        new_call_id: Callable[[float], str],
    ) -> None:
        self._user_agent = user_agent
        self._executor = executor
        self._directory = directory
        self._reception = reception
        self._policy = policy
        self._new_call_id = new_call_id

    def asked(self, active: ActiveCall | None, event: DialogRequest, now: float) -> None:
        """A REFER has come; ``active`` is None where its call is over."""
        agent_id = active.softphones.get(active.leg_of(event.session)) if active is not None else None
        if active is None or agent_id is None:
            self._user_agent.respond(event.transaction, 403, now)  # a trunk has nobody to transfer
            return
        try:
            referral = read_referral(event.request)
        except PeerFault as fault:
            self._user_agent.respond(event.transaction, fault.status, now, reason_phrase=fault.reason)
            return
        if not _is_free(active):
            self._user_agent.respond(event.transaction, 491, now)
            return
        if referral.replaces is not None:
            self._merge(active, event, agent_id, referral, referral.replaces, now)
            return
        route = self._route(active, agent_id, referral, now)
        if isinstance(route, NoRoute):
            self._user_agent.respond(event.transaction, CODES[route.cause].sip_status, now)
        elif self._reception.limited_by(route, len(self._executor.calls), now) is not None:
            self._user_agent.respond(event.transaction, 503, now)
        else:
            self._begin(active, event, route, self._accept(event, referral, now), now)

    def _accept(self, event: DialogRequest, referral: Referral, now: float) -> str:
        """Returns the Event of the subscription, "" where none is wanted."""
        headers = [] if referral.is_subscribed else [("Refer-Sub", "false")]
        self._user_agent.respond(event.transaction, 202, now, headers=headers)
        # Of several REFERs in one dialog each must be told apart (RFC 3515 §2.4.6).
        return f"refer;id={event.request.cseq_number}" if referral.is_subscribed else ""

    def _merge(
        self,
        first: ActiveCall,
        event: DialogRequest,
        agent_id: int,
        referral: Referral,
        replaces: Replaces,
        now: float,
    ) -> None:
        """An attended transfer: ``replaces`` names another call of the same agent's, and of nobody else's."""
        session = self._user_agent.sessions.get(replaces.local_tag)
        second = session.owner if session is not None else None
        if (
            session is None
            or (session.call_id, session.remote_tag) != (replaces.call_id, replaces.remote_tag)
            or not isinstance(second, ActiveCall)
            or second is first
            or second.softphones.get(second.leg_of(session)) != agent_id
        ):
            self._user_agent.respond(event.transaction, 404, now)
        elif not _is_free(second) or first.renegotiation is not None or second.renegotiation is not None:
            self._user_agent.respond(event.transaction, 491, now)
        else:
            merger = Merger(
                self._user_agent,
                self._executor,
                first=first,
                leg=first.leg_of(event.session),
                event=self._accept(event, referral, now),
                call=second,
                new_leg=second.leg_of(session).other,
            )
            merger.begin(now)

    def _route(self, active: ActiveCall, agent_id: int, referral: Referral, now: float) -> Route | NoRoute:
        dialled = referral.target.user_unescaped.partition(";")[0]
        try:
            number = normalise(dialled)
        except InvalidNumber:
            number = None
        return route_transfer(
            self._directory,
            first=active.route,
            agent_id=agent_id,
            account=dialled,
            number=number,
            now_ms=milliseconds(now),
        )

    def _begin(self, first: ActiveCall, event: DialogRequest, route: Route, subscription: str, now: float) -> None:
        call_id = self._new_call_id(now)
        cdr = Cdr.started(call_id, route.parties, milliseconds(now))
        cdr.trunk_id = None if route.softphones_only else route.trunk.id
        cdr.transferred_from = first.call_id
        call = Call(cdr, tariff=route.tariff, policy=self._policy, agent_leg=Leg.CALLEE, offer=b"")
        transfer = Transfer(
            self._user_agent,
            self._executor,
            first=first,
            leg=first.leg_of(event.session),
            event=subscription,
            call=ActiveCall(call_id, call, route, None, first.max_forwards),
        )
        transfer.begin(now)


def _is_free(active: ActiveCall) -> bool:
    return active.call.state is CallState.TALKING and active.referral is None and active.merger is None
