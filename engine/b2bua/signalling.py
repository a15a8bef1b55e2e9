"""What the user agent tells, put into the words of the call machine; no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.admission import Refusal
from engine.b2bua.call_executor import CallExecutor
from engine.b2bua.callee_leg import CalleeLeg
from engine.b2bua.controller_settings import ControllerSettings
from engine.b2bua.info_relay import InfoRelay
from engine.b2bua.media_desk import media_needs
from engine.b2bua.outcome import cause_of_failure, q850_cause_of
from engine.b2bua.reception import Admitted, Reception, TurnedAway
from engine.b2bua.referrals import Referrals
from engine.b2bua.registration import Registration
from engine.b2bua.renegotiation import METHODS as RENEGOTIATION_METHODS
from engine.b2bua.renegotiation import Renegotiator
from engine.b2bua.running_call import AnswerHeard, CallRecord
from engine.b2bua.transfer import Transfer
from engine.b2bua.trunk_watch import TrunkWatch
from engine.domain import events as call_events
from engine.domain.call import Call, CallState, milliseconds
from engine.domain.cause import CODES, Cause, ReleaseSide
from engine.domain.cdr import Cdr, CdrState, Unrecorded
from engine.domain.events import Leg
from engine.domain.lines.routing import Direction
from sip.core import events as sip_events
from sip.core.dialogs.session import Session
from sip.core.user_agents.user_agent import UserAgent

DAY_SECONDS = 24 * 3600
ALLOWED = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, UPDATE, INFO, REFER"


class Signalling:
    """``leg_made`` is told each SIP dialog that becomes part of a call, the caller's first."""

    def __init__(
        self,
        *,
        settings: ControllerSettings,
        user_agent: UserAgent,
        executor: CallExecutor,
        callee_leg: CalleeLeg,
        reception: Reception,
        registration: Registration,
        trunk_watch: TrunkWatch,
        renegotiator: Renegotiator,
        referrals: Referrals,
        counters: Counter[str],
        new_call_id: Callable[[float], str],
        leg_made: Callable[[str, str], None],
    ) -> None:
        self._policy = settings.policy
        self._user_agent = user_agent
        self._executor = executor
        self._callee_leg = callee_leg
        self._reception = reception
        self._registration = registration
        self._trunk_watch = trunk_watch
        self._renegotiator = renegotiator
        self._referrals = referrals
        self._info_relay = InfoRelay(user_agent, executor.media)
        self.key_unheard = self._info_relay.pressed
        self.key_played = self._info_relay.played
        self._counters = counters
        self._new_call_id = new_call_id
        self._leg_made = leg_made
        self.has_recording_room = True

    def receive(self, event: sip_events.Event, now: float) -> None:
        """Takes what the user agent has to tell."""
        SIP_HANDLERS[type(event)](self, event, now)

    # Calls ------------------------------------------------------------------------------------------------------------

    def _incoming_invite(self, event: sip_events.IncomingInvite, now: float) -> None:
        session = event.session
        match self._reception.receive(event, len(self._executor.calls), now):
            case Refusal() as refusal:
                # A stranger, or a phone that has not shown its credentials yet: no call, so no record.
                self._counters["invites_challenged_or_refused"] += 1
                self._user_agent.reject(
                    session, refusal.status, now, headers=refusal.headers, reason_phrase=refusal.reason, once=True
                )
            case TurnedAway() as turned_away:
                if turned_away.limited_by is not None:
                    self._counters[f"limited_by_{turned_away.limited_by}"] += 1
                self._turn_away(session, turned_away, now)
            case Admitted() as admitted:
                session.use_source = admitted.behind_nat
                self._start(event, self._new_call_id(now), admitted, now)

    def _start(self, event: sip_events.IncomingInvite, call_id: str, admitted: Admitted, now: float) -> None:
        route = admitted.route
        cdr = Cdr.started(call_id, route.parties, milliseconds(now))
        cdr.trunk_id = route.trunk.id
        if route.recording and not self.has_recording_room:
            cdr.unrecorded_because = Unrecorded.DISK_FULL
        elif route.recording:
            cdr.recording_path = f"{_day_folder(int(now // DAY_SECONDS))}/{call_id}.wav"
        agent_leg = Leg.CALLER if route.parties.direction is Direction.A_TO_B else Leg.CALLEE
        call = Call(cdr, tariff=route.tariff, policy=self._policy, agent_leg=agent_leg, offer=event.request.body)
        active = ActiveCall(call_id, call, route, event.session, event.request.max_forwards - 1)
        active.media_needs[Leg.CALLER] = media_needs([event.session.source.host], admitted.srtp)
        if admitted.agent_id is not None:
            active.softphones[Leg.CALLER] = admitted.agent_id
        event.session.owner = active
        self._leg_made(call_id, event.session.call_id)
        self._executor.begin(active, now)

    def _turn_away(self, session: Session, turned_away: TurnedAway, now: float) -> None:
        """Refuses a call before it has begun, and records that."""
        call_id, cause = self._new_call_id(now), turned_away.cause
        self._leg_made(call_id, session.call_id)
        cdr = Cdr.started(call_id, turned_away.parties, milliseconds(now))
        cdr.state = CdrState.ENDED
        cdr.ended_at_ms = cdr.started_at_ms
        cdr.cause, cdr.release_side = cause, ReleaseSide.PLATFORM
        cdr.sip_status, cdr.q850_cause = CODES[cause]
        self._executor.records.append(CallRecord(cdr))
        self._executor.attempted(turned_away.parties, now)
        self._executor.reject(session, cause, now)

    def _progress(self, event: sip_events.InviteProgress, now: float) -> None:
        active = event.session.owner
        if isinstance(active, ActiveCall):
            self._callee_leg.heard(active)
            # Of several phones that ring, none has the floor yet: the caller hears his own ringing tone.
            media = b"" if active.forks else event.response.body
            self._executor.feed(active, call_events.CalleeRinging(media), now)

    def _answered(self, event: sip_events.InviteAnswered, now: float) -> None:
        session = event.session
        active = session.owner
        if not isinstance(active, ActiveCall) or active.call.state is CallState.ENDED:
            # It crossed our CANCEL (RFC 3261 §9.1), or is a gateway's that we had given up.
            self._user_agent.bye(session, now)
            return
        if session.local_sdp:
            self._user_agent.acknowledge(session, now)  # otherwise with the answer to the offer that this one holds
        self._callee_leg.answered(active, session, now)
        self._executor.feed(active, call_events.CalleeAnswered(event.response.body), now)
        if active.call.state is CallState.CONNECTING:
            self._executor.note(active)  # who has our ACK asks for it no more: only a BYE will tell him

    def _failed(self, event: sip_events.InviteFailed, now: float) -> None:
        active = event.session.owner
        if not isinstance(active, ActiveCall):
            return
        if 300 <= event.status < 400 and self._callee_leg.redirected(active, event, now):
            return
        cause = cause_of_failure(event.status, timed_out=event.response is None and event.status == 408)
        if self._callee_leg.failed(active, event.session, event.status, cause, now):
            self._executor.feed(
                active, call_events.CalleeFailed(cause, event.status, q850_cause_of(event.response)), now
            )
            self._executor.session_over(active, event.session)

    def _cancelled(self, event: sip_events.InviteCancelled, now: float) -> None:
        active = event.session.owner
        if isinstance(active, ActiveCall):
            self._executor.feed(active, call_events.CallerCancelled(q850_cause_of(event.request)), now)
            self._executor.session_over(active, event.session)

    def _acknowledged(self, event: sip_events.InviteAcknowledged, now: float) -> None:
        """It holds the answer where the offer was in our 200; else nobody waits for it."""
        active = event.session.owner
        if not isinstance(active, ActiveCall):
            return
        self._executor.heard.append(AnswerHeard(active.call_id, event.session.local_tag))
        if not self._renegotiator.acknowledged(active, event, now):
            self._executor.feed(active, call_events.CallerAnswered(event.request.body), now)

    def _ack_missing(self, event: sip_events.AckMissing, now: float) -> None:
        active = event.session.owner
        if isinstance(active, ActiveCall) and active.call.state is not CallState.ENDED:
            self._executor.feed(active, call_events.AckMissing(), now)
        else:
            self._user_agent.bye(event.session, now)

    def _prack_missing(self, event: sip_events.PrackMissing, now: float) -> None:
        """The caller does not hear us; its INVITE has been refused already (RFC 3262 §3)."""
        active = event.session.owner
        if isinstance(active, ActiveCall):
            self._executor.session_over(active, event.session)
            self._executor.feed(active, call_events.PlatformHangUp(Cause.ACK_MISSING), now)

    def _session_expired(self, event: sip_events.SessionExpired, now: float) -> None:
        """One leg has died without a word (RFC 4028 §10)."""
        active = event.session.owner
        if isinstance(active, ActiveCall) and active.call.state is not CallState.ENDED:
            self._executor.feed(active, call_events.PlatformHangUp(Cause.SESSION_EXPIRED), now)
        else:
            self._user_agent.bye(event.session, now)

    def _reliable_offer(self, event: sip_events.ReliableOffer, now: float) -> None:
        pass  # our INVITEs without an offer do not allow for reliable responses, which would need an answer at once

    def _session_ended(self, event: sip_events.SessionEnded, now: float) -> None:
        active = event.session.owner
        if not isinstance(active, ActiveCall):
            return
        leg, q850_cause = active.leg_of(event.session), q850_cause_of(event.request)
        transfer = active.referral.transfer if active.referral is not None else None
        if transfer is not None and leg is transfer.leg:
            transfer.transferor_left()
        elif leg is Leg.CALLER and active.call.state not in (CallState.TALKING, CallState.ENDED):
            self._executor.feed(
                active, call_events.CallerCancelled(q850_cause), now
            )  # BYE in an early dialog (RFC 3261 §15)
        else:
            self._executor.feed(active, call_events.HungUp(leg, q850_cause), now)
        self._executor.session_over(active, event.session)
        if transfer is not None and active.call.state is CallState.TALKING:
            self._executor.note(active)  # another engine must not take it for a call that both are in

    # Requests ---------------------------------------------------------------------------------------------------------

    def _dialog_request(self, event: sip_events.DialogRequest, now: float) -> None:
        method = event.request.method
        active = event.session.owner if isinstance(event.session.owner, ActiveCall) else None
        if method == "OPTIONS":
            self._user_agent.respond(event.transaction, 200, now)
        elif method in RENEGOTIATION_METHODS:
            self._renegotiator.asked(active, event, now)
        elif method == "INFO":
            self._info_relay.asked(active, event, now)
        elif method == "REFER":
            self._referrals.asked(active, event, now)
        else:
            self._user_agent.respond(event.transaction, 405, now, headers=[("Allow", ALLOWED)])

    def _dialog_response(self, event: sip_events.DialogResponse, now: float) -> None:
        active = event.session.owner
        if isinstance(active, Transfer) and event.method == "NOTIFY":
            active.notified(event.session, now)
        if not isinstance(active, ActiveCall):
            return
        transfer = active.referral.transfer if active.referral is not None else None
        if event.method == "INVITE" and active.merger is not None:
            active.merger.answered(event, now)
        elif event.method == "BYE":
            # Answered or timed out: the session is over either way (RFC 3261 §15.1.1).
            self._executor.session_over(active, event.session)
        elif transfer is not None and event.method == "INVITE" and transfer.answered(event, now):
            pass
        elif event.method in RENEGOTIATION_METHODS:
            self._renegotiator.answered(active, event, now)
            if active.renegotiation is None and event.status < 300 and event.session.client is not None:
                # An offer that nobody waits for any more still wants its answer: what stood before (RFC 3261 §14.1).
                self._user_agent.acknowledge(event.session, now, event.session.local_sdp)
        elif event.method == "INFO":
            self._info_relay.answered(active, event, now)

    def _incoming_request(self, event: sip_events.IncomingRequest, now: float) -> None:
        method = event.request.method
        if method == "REGISTER":
            answer = self._registration.receive(event.request, event.source, now)
            self._user_agent.respond(event.transaction, answer.status, now, headers=answer.headers)
        elif method == "OPTIONS":
            self._user_agent.respond(event.transaction, 200, now)
        else:
            self._user_agent.respond(event.transaction, 405, now, headers=[("Allow", ALLOWED)])

    def _request_completed(self, event: sip_events.RequestCompleted, now: float) -> None:
        self._trunk_watch.completed(event, now)


@lru_cache(maxsize=2)
def _day_folder(day: int) -> str:
    """Of the recordings that begin on that day (in UTC, counted from the epoch)."""
    return f"{datetime.fromtimestamp(day * DAY_SECONDS, UTC):%Y/%m/%d}"


SIP_HANDLERS: dict[type, Callable[..., None]] = {
    sip_events.IncomingInvite: Signalling._incoming_invite,
    sip_events.InviteProgress: Signalling._progress,
    sip_events.InviteAnswered: Signalling._answered,
    sip_events.InviteFailed: Signalling._failed,
    sip_events.InviteCancelled: Signalling._cancelled,
    sip_events.InviteAcknowledged: Signalling._acknowledged,
    sip_events.AckMissing: Signalling._ack_missing,
    sip_events.SessionEnded: Signalling._session_ended,
    sip_events.PrackMissing: Signalling._prack_missing,
    sip_events.SessionExpired: Signalling._session_expired,
    sip_events.ReliableOffer: Signalling._reliable_offer,
    sip_events.DialogRequest: Signalling._dialog_request,
    sip_events.DialogResponse: Signalling._dialog_response,
    sip_events.IncomingRequest: Signalling._incoming_request,
    sip_events.RequestCompleted: Signalling._request_completed,
}
