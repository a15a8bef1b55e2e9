"""Joins SIP sessions, media and money through the call machine: events of all three in, outputs out; no I/O.

The driver calls the ``receive_…`` and ``fire_timers`` methods with the time and then carries out what lies in
``media.commands``, ``records``, ``credit.lease_requests`` and the user agent's datagrams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.admission import Admission, Refusal
from engine.b2bua.call_timers import CallTimers
from engine.b2bua.callee_leg import CalleeLeg
from engine.b2bua.dialler import Dialler, OwnHosts, Unreachable
from engine.b2bua.gateway_locator import GatewayLocator
from engine.b2bua.info_relay import InfoRelay
from engine.b2bua.media_desk import MediaDesk
from engine.b2bua.outcome import REFUSAL_TEXTS, cause_of_failure, reason_header
from engine.b2bua.reception import Admitted, Reception, TurnedAway
from engine.b2bua.registration import Registration
from engine.b2bua.renegotiation import METHODS as RENEGOTIATION_METHODS
from engine.b2bua.renegotiation import Renegotiator
from engine.b2bua.source_guard import SourceGuard
from engine.b2bua.trunk_watch import TrunkWatch
from engine.domain import events as call_events
from engine.domain.call import Call, CallPolicy, CallState, milliseconds
from engine.domain.cause import CODES, Cause, ReleaseSide
from engine.domain.cdr import Cdr, CdrState
from engine.domain.charging import Rate
from engine.domain.credit_book import REFUSED, CreditBook
from engine.domain.directory import Directory
from engine.domain.events import CallEvent, CallOutput, Leg, TimerKind
from engine.domain.routing import Direction, Route
from media import plane
from sip.core import events as sip_events
from sip.core.session import Session, SessionState
from sip.core.user_agent import UserAgent


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """``recordings_folder`` is absolute."""

    policy: CallPolicy
    own_hosts: OwnHosts
    realm: str
    recordings_folder: str
    calls_max: int
    gateway_ping_seconds: float
    gateway_silence_seconds: float
    """How long a gateway may say nothing at all before the next one is tried."""
    retry_after_seconds: int
    warning_tone_ms: int
    lease_micro: int


class Controller:
    """All calls of one engine."""

    def __init__(
        self,
        *,
        settings: ControllerSettings,
        user_agent: UserAgent,
        directory: Directory,
        guard: SourceGuard,
        admission: Admission,
        registration: Registration,
        new_call_id: Callable[[float], str],
        locator: GatewayLocator,
        new_token: Callable[[], str],
        random: Callable[[], float],
        to_monotonic: Callable[[float], float],
    ) -> None:
        self.directory = directory
        self.credit: CreditBook[ActiveCall] = CreditBook(settings.lease_micro)
        self.calls: dict[str, ActiveCall] = {}
        self.media = MediaDesk()
        self.records: list[tuple[Cdr, Rate | None]] = []
        """CDRs with a new milestone, oldest first, and the rate that the call began with; the driver takes them."""
        self.counters: Counter[str] = Counter()
        self.leg_made: Callable[[str, str], None] = lambda call_id, sip_call_id: None
        """Told each SIP dialog that becomes part of a call, the caller's first."""
        self._settings = settings
        self._user_agent = user_agent
        self.guard = guard
        self.registration = registration
        self._new_call_id = new_call_id
        self._to_monotonic = to_monotonic
        self._timers = CallTimers()
        self._reception = Reception(directory, admission, settings.calls_max)
        self._calls_by_tenant: dict[int, dict[str, ActiveCall]] = {}
        dialler = Dialler(user_agent, registration, settings.own_hosts, settings.realm, locator, random)
        self._callee_leg = CalleeLeg(
            user_agent,
            dialler,
            self._timers,
            settings.gateway_silence_seconds,
            dialled=lambda active, session: self.leg_made(active.call_id, session.call_id),
        )
        self.trunk_watch = TrunkWatch(
            user_agent=user_agent,
            directory=directory,
            health=dialler.health,
            locator=locator,
            ping_seconds=settings.gateway_ping_seconds,
            own_host=settings.own_hosts.towards,
            new_token=new_token,
        )
        self._renegotiator = Renegotiator(user_agent, self.media)
        self._info_relay = InfoRelay(user_agent)

    # Inputs -------------------------------------------------------------------------------------------------------

    def receive(self, event: sip_events.Event, now: float) -> None:
        """Takes what the user agent has to tell."""
        SIP_HANDLERS[type(event)](self, event, now)

    def receive_media_reply(self, reply: plane.Reply, now: float) -> None:
        awaited = self.media.claim(reply)
        if awaited is None:
            self.counters["media_replies_unexpected"] += 1
            return
        active, command = awaited
        if isinstance(reply, plane.Refused):
            self.counters[f"media_refused_{reply.refusal}"] += 1
            if active.renegotiation is not None and command in (plane.Offer, plane.Answer):
                self._renegotiator.end(active, 488, now)
            elif command in (plane.Offer, plane.Answer):
                self._feed(active, call_events.MediaRefused(_MEDIA_CAUSES[reply.refusal]), now)
        elif active.renegotiation is not None and command in (plane.Offer, plane.Answer):
            self._renegotiator.written(active, reply.sdp, now)
        elif command is plane.Offer:
            self._feed(active, call_events.MediaOffered(reply.sdp), now)
        elif command is plane.Answer:
            self._feed(active, call_events.MediaAnswered(reply.sdp), now)

    def media_timed_out(self, call_id: str, now: float) -> None:
        active = self.calls.get(call_id)
        if active is not None:
            self._feed(active, call_events.MediaTimedOut(), now)

    def media_lost(self, call_ids: list[str], now: float) -> None:
        """A media worker is gone, and these calls' speech with it."""
        for call_id in call_ids:
            self.hang_up(call_id, Cause.MEDIA_FAILURE, now)

    def lease_answered(self, tenant_id: int, granted_micro: int | None, now: float) -> None:
        """Brings a lease; None where the database did not answer."""
        for active, held_micro in self.credit.lease_answered(tenant_id, granted_micro):
            self._feed(active, _credit_event(held_micro), now)

    def account_changed(self, tenant_id: int, now: float) -> None:
        """Money came or went: calls in their final unit may go on."""
        self.credit.account_changed(tenant_id)
        for active in list(self._calls_by_tenant.get(tenant_id, {}).values()):
            self._feed(active, call_events.CreditChanged(), now)

    def hang_up(self, call_id: str, cause: Cause, now: float) -> bool:
        """Ends a call from our side; False if there is none of this id."""
        active = self.calls.get(call_id)
        if active is None:
            return False
        self._feed(active, call_events.PlatformHangUp(cause), now)
        return True

    def fire_timers(self, now: float) -> None:
        while (due := self._timers.pop_due(now)) is not None:
            active, kind = due
            if kind is TimerKind.GATEWAY:
                self._callee_leg.gateway_silent(active, now)
            else:
                self._feed(active, call_events.TimerFired(kind), now)

    @property
    def gateway_failovers(self) -> int:
        """Calls that went on to another gateway."""
        return self._callee_leg.failovers

    def next_deadline(self) -> float | None:
        return self._timers.next_deadline()

    # SIP events ---------------------------------------------------------------------------------------------------

    def _incoming_invite(self, event: sip_events.IncomingInvite, now: float) -> None:
        session = event.session
        match self._reception.receive(event, len(self.calls), now):
            case Refusal() as refusal:
                # A stranger, or a phone that has not shown its credentials yet: no call, so no record.
                self.counters["invites_challenged_or_refused"] += 1
                self._user_agent.reject(
                    session, refusal.status, now, headers=refusal.headers, reason_phrase=refusal.reason, once=True
                )
            case TurnedAway() as turned_away:
                if turned_away.limited_by is not None:
                    self.counters[f"limited_by_{turned_away.limited_by}"] += 1
                self._turn_away(session, turned_away, now)
            case Admitted(route=route, behind_nat=behind_nat):
                session.use_source = behind_nat
                self._start(event, self._new_call_id(now), route, now)

    def _start(self, event: sip_events.IncomingInvite, call_id: str, route: Route, now: float) -> None:
        cdr = Cdr.started(call_id, route.parties, milliseconds(now))
        cdr.trunk_id = route.trunk.id
        if route.recording:
            cdr.recording_path = f"{datetime.fromtimestamp(now, UTC):%Y/%m/%d}/{call_id}.wav"
        agent_leg = Leg.CALLER if route.parties.direction is Direction.A_TO_B else Leg.CALLEE
        call = Call(cdr, rate=route.rate, policy=self._settings.policy, agent_leg=agent_leg, offer=event.request.body)
        active = ActiveCall(call_id, call, route, event.session, event.request.max_forwards - 1)
        event.session.owner = active
        self.leg_made(call_id, event.session.call_id)
        self.calls[call_id] = active
        self._calls_by_tenant.setdefault(route.tenant_id, {})[call_id] = active
        self._perform(active, call.start(now), now)

    def _turn_away(self, session: Session, turned_away: TurnedAway, now: float) -> None:
        """Refuses a call before it has begun, and records that."""
        call_id, cause = self._new_call_id(now), turned_away.cause
        self.leg_made(call_id, session.call_id)
        cdr = Cdr.started(call_id, turned_away.parties, milliseconds(now))
        cdr.state = CdrState.ENDED
        cdr.ended_at_ms = cdr.started_at_ms
        cdr.cause, cdr.release_side = cause, ReleaseSide.PLATFORM
        cdr.sip_status, cdr.q850_cause = CODES[cause]
        self.records.append((cdr, None))
        self._reject(session, cause, now)

    def _reject(self, session: Session, cause: Cause, now: float) -> None:
        headers = [reason_header(cause, REFUSAL_TEXTS.get(cause, ""))]
        if cause is Cause.CAPACITY:
            headers.append(("Retry-After", str(self._settings.retry_after_seconds)))
        self._user_agent.reject(session, CODES[cause].sip_status, now, headers=headers)

    def _progress(self, event: sip_events.InviteProgress, now: float) -> None:
        active = event.session.owner
        if isinstance(active, ActiveCall):
            self._callee_leg.heard(active)
            # Of several phones that ring, none has the floor yet: the caller hears his own ringing tone.
            media = b"" if active.forks else event.response.body
            self._feed(active, call_events.CalleeRinging(media), now)

    def _answered(self, event: sip_events.InviteAnswered, now: float) -> None:
        session = event.session
        self._user_agent.acknowledge(session, now)
        active = session.owner
        if not isinstance(active, ActiveCall) or active.call.state is CallState.ENDED:
            # It crossed our CANCEL (RFC 3261 §9.1), or is a gateway's that we had given up.
            self._user_agent.bye(session, now)
            return
        self._callee_leg.answered(active, session, now)
        self._feed(active, call_events.CalleeAnswered(event.response.body), now)

    def _failed(self, event: sip_events.InviteFailed, now: float) -> None:
        active = event.session.owner
        if not isinstance(active, ActiveCall):
            return
        cause = cause_of_failure(event.status, timed_out=event.response is None and event.status == 408)
        if self._callee_leg.failed(active, event.session, event.status, cause, now):
            self._feed(active, call_events.CalleeFailed(cause, event.status), now)
            self._session_over(active, event.session)

    def _cancelled(self, event: sip_events.InviteCancelled, now: float) -> None:
        active = event.session.owner
        if isinstance(active, ActiveCall):
            self._feed(active, call_events.CallerCancelled(), now)
            self._session_over(active, event.session)

    def _acknowledged(self, event: sip_events.InviteAcknowledged, now: float) -> None:
        pass  # the offer came in the INVITE, so the ACK says nothing that the call waits for

    def _ack_missing(self, event: sip_events.AckMissing, now: float) -> None:
        active = event.session.owner
        if isinstance(active, ActiveCall) and active.call.state is not CallState.ENDED:
            self._feed(active, call_events.AckMissing(), now)
        else:
            self._user_agent.bye(event.session, now)

    def _prack_missing(self, event: sip_events.PrackMissing, now: float) -> None:
        """The caller does not hear us; its INVITE has been refused already (RFC 3262 §3)."""
        active = event.session.owner
        if isinstance(active, ActiveCall):
            self._session_over(active, event.session)
            self._feed(active, call_events.PlatformHangUp(Cause.ACK_MISSING), now)

    def _session_expired(self, event: sip_events.SessionExpired, now: float) -> None:
        """One leg has died without a word (RFC 4028 §10)."""
        active = event.session.owner
        if isinstance(active, ActiveCall) and active.call.state is not CallState.ENDED:
            self._feed(active, call_events.PlatformHangUp(Cause.SESSION_EXPIRED), now)
        else:
            self._user_agent.bye(event.session, now)

    def _reliable_offer(self, event: sip_events.ReliableOffer, now: float) -> None:
        pass  # it answers an INVITE without an offer, and ours have one

    def _session_ended(self, event: sip_events.SessionEnded, now: float) -> None:
        active = event.session.owner
        if not isinstance(active, ActiveCall):
            return
        leg = active.leg_of(event.session)
        if leg is Leg.CALLER and active.call.state not in (CallState.TALKING, CallState.ENDED):
            self._feed(active, call_events.CallerCancelled(), now)  # BYE in an early dialog (RFC 3261 §15)
        else:
            self._feed(active, call_events.HungUp(leg), now)
        self._session_over(active, event.session)

    def _dialog_request(self, event: sip_events.DialogRequest, now: float) -> None:
        method = event.request.method
        active = event.session.owner if isinstance(event.session.owner, ActiveCall) else None
        if method == "OPTIONS":
            self._user_agent.respond(event.transaction, 200, now)
        elif method in RENEGOTIATION_METHODS:
            self._renegotiator.asked(active, event, now)
        elif method == "INFO":
            self._info_relay.asked(active, event, now)
        else:
            self._user_agent.respond(event.transaction, 405, now, headers=[("Allow", ALLOWED)])

    def _dialog_response(self, event: sip_events.DialogResponse, now: float) -> None:
        active = event.session.owner
        if not isinstance(active, ActiveCall):
            return
        if event.method == "BYE":
            # Answered or timed out: the session is over either way (RFC 3261 §15.1.1).
            self._session_over(active, event.session)
        elif event.method in RENEGOTIATION_METHODS:
            self._renegotiator.answered(active, event, now)
        elif event.method == "INFO":
            self._info_relay.answered(active, event, now)

    def _incoming_request(self, event: sip_events.IncomingRequest, now: float) -> None:
        method = event.request.method
        if method == "REGISTER":
            answer = self.registration.receive(event.request, event.source, now)
            self._user_agent.respond(event.transaction, answer.status, now, headers=answer.headers)
        elif method == "OPTIONS":
            self._user_agent.respond(event.transaction, 200, now)
        else:
            self._user_agent.respond(event.transaction, 405, now, headers=[("Allow", ALLOWED)])

    def _request_completed(self, event: sip_events.RequestCompleted, now: float) -> None:
        self.trunk_watch.completed(event, now)

    # Feeding the machine and carrying out what it asks ------------------------------------------------------------

    def _feed(self, active: ActiveCall, event: CallEvent, now: float) -> None:
        self._perform(active, active.call.receive(event, now), now)

    def _perform(self, active: ActiveCall, outputs: list[CallOutput], now: float) -> None:
        for output in outputs:
            PERFORMERS[type(output)](self, active, output, now)
        if active.call.state is CallState.ENDED and active.caller is None and active.callee is None:
            self._forget(active)

    def _milestone(self, active: ActiveCall, output: call_events.Milestone, now: float) -> None:
        self.records.append((active.call.cdr, active.route.rate))

    def _hold_credit(self, active: ActiveCall, output: call_events.HoldCredit, now: float) -> None:
        held = self.credit.hold(active.route.tenant_id, output.wanted_micro, output.least_micro, active)
        if held is not None:
            self._feed(active, _credit_event(held), now)

    def _post_credit(self, active: ActiveCall, output: call_events.PostCredit, now: float) -> None:
        self.credit.post(active.route.tenant_id, output.held_micro, output.charge_micro)

    def _offer_media(self, active: ActiveCall, output: call_events.OfferMedia, now: float) -> None:
        self.media.offer(active, Leg.CALLER, output.media)

    def _answer_media(self, active: ActiveCall, output: call_events.AnswerMedia, now: float) -> None:
        self.media.answer(active, Leg.CALLEE, output.media)

    def _start_recording(self, active: ActiveCall, output: call_events.StartRecording, now: float) -> None:
        path = f"{self._settings.recordings_folder}/{active.call.cdr.recording_path}"
        self.media.start_recording(active, path, self._to_monotonic(output.at))

    def _play_warning(self, active: ActiveCall, output: call_events.PlayWarning, now: float) -> None:
        self.media.play_warning(active, output.leg, self._settings.warning_tone_ms)

    def _delete_media(self, active: ActiveCall, output: call_events.DeleteMedia, now: float) -> None:
        self.media.delete(active, self._to_monotonic(output.at))

    def _dial(self, active: ActiveCall, output: call_events.Dial, now: float) -> None:
        try:
            self._callee_leg.dial(active, output.media, now)
        except Unreachable:
            self._feed(active, call_events.CalleeFailed(Cause.TRUNK_FAILURE), now)

    def _cancel_dial(self, active: ActiveCall, output: call_events.CancelDial, now: float) -> None:
        self._callee_leg.cancel(active, now)

    def _ring(self, active: ActiveCall, output: call_events.Ring, now: float) -> None:
        if active.caller is None:
            return
        if output.media:
            self._user_agent.progress(active.caller, 183, now, body=output.media)
        else:
            self._user_agent.progress(active.caller, 180, now)

    def _accept(self, active: ActiveCall, output: call_events.Accept, now: float) -> None:
        if active.caller is not None:
            self._user_agent.answer(active.caller, now, output.media)

    def _refuse_caller(self, active: ActiveCall, output: call_events.Refuse, now: float) -> None:
        if active.caller is not None:
            self._reject(active.caller, output.cause, now)
            active.caller.owner = None
            active.caller = None

    def _release(self, active: ActiveCall, output: call_events.Release, now: float) -> None:
        session = active.session(output.leg)
        if session is not None:
            self._user_agent.bye(session, now, headers=[reason_header(output.cause)])
            if session.state is SessionState.ENDED:
                # Our answer waited for a PRACK, so that the end was a refusal, and no BYE's answer will come.
                self._session_over(active, session)

    def _set_timer(self, active: ActiveCall, output: call_events.SetTimer, now: float) -> None:
        self._timers.set(active, output.kind, output.at)

    def _clear_timers(self, active: ActiveCall, output: call_events.ClearTimers, now: float) -> None:
        self._timers.clear(active)

    def _session_over(self, active: ActiveCall, session: Session) -> None:
        session.owner = None
        if session is active.caller:
            active.caller = None
        elif session is active.callee:
            active.callee = None
        if active.call.state is CallState.ENDED and active.caller is None and active.callee is None:
            self._forget(active)

    def _forget(self, active: ActiveCall) -> None:
        if self.calls.pop(active.call_id, None) is None:
            return
        tenant_id = active.route.tenant_id
        self._reception.leave(active.route)
        tenant_calls = self._calls_by_tenant[tenant_id]
        del tenant_calls[active.call_id]
        if not tenant_calls:
            del self._calls_by_tenant[tenant_id]


ALLOWED = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, UPDATE, INFO"


def _credit_event(held_micro: int) -> CallEvent:
    if held_micro == REFUSED:
        return call_events.CreditRefused()
    return call_events.CreditGranted(held_micro)


_MEDIA_CAUSES = {
    plane.Refusal.BAD_SDP: Cause.INCOMPATIBLE_MEDIA,
    plane.Refusal.NO_COMMON_CODEC: Cause.INCOMPATIBLE_MEDIA,
    plane.Refusal.CAPACITY: Cause.CAPACITY,
    plane.Refusal.UNREACHABLE: Cause.CAPACITY,
    plane.Refusal.UNKNOWN_CALL: Cause.MEDIA_FAILURE,
    plane.Refusal.WRONG_STATE: Cause.MEDIA_FAILURE,
    plane.Refusal.STORAGE: Cause.MEDIA_FAILURE,
}

SIP_HANDLERS: dict[type, Callable[..., None]] = {
    sip_events.IncomingInvite: Controller._incoming_invite,
    sip_events.InviteProgress: Controller._progress,
    sip_events.InviteAnswered: Controller._answered,
    sip_events.InviteFailed: Controller._failed,
    sip_events.InviteCancelled: Controller._cancelled,
    sip_events.InviteAcknowledged: Controller._acknowledged,
    sip_events.AckMissing: Controller._ack_missing,
    sip_events.SessionEnded: Controller._session_ended,
    sip_events.PrackMissing: Controller._prack_missing,
    sip_events.SessionExpired: Controller._session_expired,
    sip_events.ReliableOffer: Controller._reliable_offer,
    sip_events.DialogRequest: Controller._dialog_request,
    sip_events.DialogResponse: Controller._dialog_response,
    sip_events.IncomingRequest: Controller._incoming_request,
    sip_events.RequestCompleted: Controller._request_completed,
}

PERFORMERS: dict[type, Callable[..., None]] = {
    call_events.Milestone: Controller._milestone,
    call_events.HoldCredit: Controller._hold_credit,
    call_events.PostCredit: Controller._post_credit,
    call_events.OfferMedia: Controller._offer_media,
    call_events.AnswerMedia: Controller._answer_media,
    call_events.StartRecording: Controller._start_recording,
    call_events.PlayWarning: Controller._play_warning,
    call_events.DeleteMedia: Controller._delete_media,
    call_events.Dial: Controller._dial,
    call_events.CancelDial: Controller._cancel_dial,
    call_events.Ring: Controller._ring,
    call_events.Accept: Controller._accept,
    call_events.Refuse: Controller._refuse_caller,
    call_events.Release: Controller._release,
    call_events.SetTimer: Controller._set_timer,
    call_events.ClearTimers: Controller._clear_timers,
}
