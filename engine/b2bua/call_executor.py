"""Carries out what a call's machine asks for: money, media, SIP, timers and records; no I/O.

What it leaves to do lies in ``media.commands``, ``records``, ``credit.lease_requests`` and the user agent's datagrams.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.call_timers import CallTimers
from engine.b2bua.callee_leg import CalleeLeg
from engine.b2bua.controller_settings import ControllerSettings
from engine.b2bua.dialler import Unreachable
from engine.b2bua.media_desk import MediaDesk
from engine.b2bua.outcome import REFUSAL_TEXTS, reason_header
from engine.b2bua.running_call import AnswerHeard, CallRecord, record_of
from engine.domain import events as call_events
from engine.domain.call import CallState, milliseconds
from engine.domain.cause import CODES, Cause
from engine.domain.events import CallEvent, CallOutput, Leg, TimerKind
from engine.domain.lines.routing import Direction, Parties, Route
from engine.domain.money.credit_book import REFUSED, CreditBook
from engine.domain.money.package_minutes import MinutesBook
from engine.domain.money.spend_cap import SpendBook
from engine.domain.money.velocity import VelocityBook
from sip.core.dialogs.session import Session, SessionState
from sip.core.user_agents.user_agent import UserAgent

GLARE_SECONDS_AS_CALLER, GLARE_SECONDS_AS_CALLEE = (2.1, 4.0), (0.0, 2.0)
MINUTES_LEASE_SECONDS = 3600
"""Package seconds asked of the database at a time: an hour of talk for each asking."""


class CallExecutor:
    """All calls of one engine, and what each has asked for."""

    def __init__(
        self,
        *,
        settings: ControllerSettings,
        user_agent: UserAgent,
        callee_leg: CalleeLeg,
        timers: CallTimers,
        left: Callable[[Route], None],
        to_monotonic: Callable[[float], float],
        random: Callable[[], float],
    ) -> None:
        self.credit: CreditBook[ActiveCall] = CreditBook(settings.lease_micro)
        self.minutes: MinutesBook[ActiveCall] = MinutesBook(MINUTES_LEASE_SECONDS)
        self.spending = SpendBook()
        self.velocity = VelocityBook()
        self.calls: dict[str, ActiveCall] = {}
        self.calls_by_tenant: dict[int, dict[str, ActiveCall]] = {}
        self.media = MediaDesk()
        self.records: list[CallRecord] = []
        """Of calls with a new milestone, oldest first."""
        self.heard: list[AnswerHeard] = []
        self._settings = settings
        self._user_agent = user_agent
        self._callee_leg = callee_leg
        self._timers = timers
        self._left = left
        self._to_monotonic = to_monotonic
        self._random = random

    def begin(self, active: ActiveCall, now: float) -> None:
        """A new call; ``left`` is told its route when it is over."""
        self.calls[active.call_id] = active
        self.calls_by_tenant.setdefault(active.route.tenant_id, {})[active.call_id] = active
        self.attempted(active.route.parties, now)
        self._perform(active, active.call.start(now), now)

    def resume(self, active: ActiveCall, now: float) -> None:
        """A call of an earlier engine holds again what it had held: the lease, which outlived that engine, has it."""
        self.calls[active.call_id] = active
        self.calls_by_tenant.setdefault(active.route.tenant_id, {})[active.call_id] = active
        tariff = active.route.tariff
        if tariff.held:
            tariff.held = dict(self.minutes.hold_again(tariff.held.items()))
        if missing_seconds := tariff.minutes_wanted(active.call.talked_seconds(now)):
            tariff.hold(self.minutes.hold_leased(tariff.buckets, missing_seconds))
        held = self.credit.credit_of(active.route.tenant_id).hold(active.call.held_before_micro(now), 0)
        self.spending.hold(active.route.tenant_id, active.route.parties.agent_id, held or 0)
        self._perform(active, active.call.resume(held or 0), now)
        self.note(active)

    def attempted(self, parties: Parties, now: float) -> None:
        """Only what the tenant's own side calls: whoever dials X from outside must not raise his alarm."""
        if parties.tenant_id is not None and parties.direction is Direction.A_TO_B:
            self.velocity.attempted(parties.tenant_id, parties.agent_id, milliseconds(now))

    def note(self, active: ActiveCall) -> None:
        """Something of the call has changed that must outlive the process."""
        self.records.append(record_of(active))

    def feed(self, active: ActiveCall, event: CallEvent, now: float) -> None:
        """Tells the machine, and carries out what it asks."""
        self._perform(active, active.call.receive(event, now), now)

    def wait_out_glare(self, active: ActiveCall, session: Session, now: float) -> None:
        """The call's GLARE timer, at the time that RFC 3261 §14.1 gives whoever began the dialog, or did not."""
        earliest, latest = GLARE_SECONDS_AS_CALLER if session.outgoing else GLARE_SECONDS_AS_CALLEE
        self._timers.set(active, TimerKind.GLARE, now + earliest + (latest - earliest) * self._random())

    def reject(self, session: Session, cause: Cause, now: float) -> None:
        """Refuses an INVITE for a cause of the domain's."""
        headers = [reason_header(cause, REFUSAL_TEXTS.get(cause, ""))]
        if cause is Cause.CAPACITY:
            headers.append(("Retry-After", str(self._settings.retry_after_seconds)))
        self._user_agent.reject(session, CODES[cause].sip_status, now, headers=headers)

    def end_media(self, active: ActiveCall, now: float) -> None:
        """The call's own media and recording end, while its record goes on: its party speaks in another call."""
        self.media.delete(active, self._to_monotonic(now))

    def session_over(self, active: ActiveCall, session: Session) -> None:
        """No request or response comes by this session any more."""
        session.owner = None
        if session is active.caller:
            active.caller = None
        elif session is active.callee:
            active.callee = None
        if active.call.state is CallState.ENDED and active.caller is None and active.callee is None:
            self._forget(active)

    def _end_with(self, active: ActiveCall, now: float) -> None:
        """Calls that a transfer has tied to this one end with it."""
        if active.merger is not None:
            active.merger.given_up(now)
        referral, active.referral = active.referral, None
        if referral is not None:
            self.feed(referral, call_events.CallerCancelled(), now)
        joined, active.joined = active.joined, None
        if joined is not None and joined.transfer is not None:
            self.feed(joined, joined.transfer.end_of_first(), now)

    def _perform(self, active: ActiveCall, outputs: list[CallOutput], now: float) -> None:
        if active.call.state is CallState.ENDED:
            self._answer_pending_requests(active, now)
        for output in outputs:
            PERFORMERS[type(output)](self, active, output, now)
        if active.call.state is CallState.ENDED:
            self._end_with(active, now)
            if active.caller is None and active.callee is None:
                self._forget(active)

    def _answer_pending_requests(self, active: ActiveCall, now: float) -> None:
        """What one side has asked of the other in mid-call is not answered any more (RFC 3261 §15.1.2)."""
        pending = [key.transaction for key in active.keys if key.transaction is not None]
        active.keys.clear()
        if active.renegotiation is not None:
            pending.append(active.renegotiation.transaction)
            active.renegotiation = None
        for transaction in pending:
            self._user_agent.respond(transaction, 487, now)

    def _milestone(self, active: ActiveCall, output: call_events.Milestone, now: float) -> None:
        self.note(active)

    def _hold_credit(self, active: ActiveCall, output: call_events.HoldCredit, now: float) -> None:
        tenant_id, agent_id = active.route.tenant_id, active.route.parties.agent_id
        room_micro = self.spending.room_micro(tenant_id, agent_id, milliseconds(now))
        wanted_micro = output.wanted_micro if room_micro is None else min(output.wanted_micro, room_micro)
        if wanted_micro < output.least_micro:
            self.feed(active, call_events.CreditRefused(Cause.SPEND_CAP), now)
            return
        # Counted while the database is asked, or calls that wait together would go beyond the cap together.
        self._hold_spending(tenant_id, agent_id, wanted_micro, now)
        active.asked_micro, active.is_capped = wanted_micro, wanted_micro < output.wanted_micro
        held_micro = self.credit.hold(tenant_id, wanted_micro, output.least_micro, active)
        if held_micro is not None:
            self.credit_answered(active, held_micro, now)

    def credit_answered(self, active: ActiveCall, held_micro: int, now: float) -> None:
        """What the call asked for was held, some of it, or REFUSED."""
        asked_micro, active.asked_micro = active.asked_micro, 0
        is_refused = held_micro == REFUSED
        unheld_micro = asked_micro - (0 if is_refused else held_micro)
        if unheld_micro:
            self._hold_spending(active.route.tenant_id, active.route.parties.agent_id, -unheld_micro, now)
        if is_refused:
            self.feed(active, call_events.CreditRefused(), now)
        else:
            self.feed(active, call_events.CreditGranted(held_micro, active.is_capped and not unheld_micro), now)

    def _post_credit(self, active: ActiveCall, output: call_events.PostCredit, now: float) -> None:
        tenant_id, agent_id = active.route.tenant_id, active.route.parties.agent_id
        self.credit.post(tenant_id, output.held_micro, output.charge_micro)
        self.spending.post(tenant_id, agent_id, output.held_micro, output.charge_micro, milliseconds(now))
        self.velocity.spent(tenant_id, agent_id, output.charge_micro - output.held_micro, milliseconds(now))

    def _hold_spending(self, tenant_id: int, agent_id: int | None, micro: int, now: float) -> None:
        """Also with an amount below 0: less was held than was asked for."""
        self.spending.hold(tenant_id, agent_id, micro)
        self.velocity.spent(tenant_id, agent_id, micro, milliseconds(now))

    def _hold_minutes(self, active: ActiveCall, output: call_events.HoldMinutes, now: float) -> None:
        parts = self.minutes.hold(output.buckets, output.wanted_seconds, active)
        if parts is not None:
            self.feed(active, call_events.MinutesGranted(parts), now)

    def _post_minutes(self, active: ActiveCall, output: call_events.PostMinutes, now: float) -> None:
        self.minutes.post(output.held, output.used)

    def _offer_media(self, active: ActiveCall, output: call_events.OfferMedia, now: float) -> None:
        if active.transfer is not None and not active.transfer.may_offer:
            self.feed(active, call_events.MediaRefused(Cause.UNAVAILABLE), now)
            return
        if output.leg is Leg.CALLER:
            self._callee_leg.plan(active, now)
        self.media.offer(active, output.leg, output.media)

    def _answer_media(self, active: ActiveCall, output: call_events.AnswerMedia, now: float) -> None:
        self.media.answer(active, output.leg, output.media)

    def _start_recording(self, active: ActiveCall, output: call_events.StartRecording, now: float) -> None:
        if active.transfer is not None:
            return  # what its party says is recorded by the first call
        path = f"{self._settings.recordings_folder}/{active.call.cdr.recording_path}"
        self.media.start_recording(active, path, self._to_monotonic(output.at))

    def _play_warning(self, active: ActiveCall, output: call_events.PlayWarning, now: float) -> None:
        self.media.play_warning(active, output.leg, self._settings.warning_tone_ms)

    def _delete_media(self, active: ActiveCall, output: call_events.DeleteMedia, now: float) -> None:
        if active.transfer is None:  # otherwise the media are the first call's, which goes on
            self.media.delete(active, self._to_monotonic(output.at))

    def _dial(self, active: ActiveCall, output: call_events.Dial, now: float) -> None:
        if not output.media:
            self._callee_leg.plan(active, now)  # with an offer, it was planned before that was written
        try:
            self._callee_leg.dial(active, output.media, now)
        except Unreachable:
            cause = Cause.UNAVAILABLE if active.route.softphones_only else Cause.TRUNK_FAILURE
            self.feed(active, call_events.CalleeFailed(cause), now)

    def _cancel_dial(self, active: ActiveCall, output: call_events.CancelDial, now: float) -> None:
        self._callee_leg.cancel(active, now)

    def _ring(self, active: ActiveCall, output: call_events.Ring, now: float) -> None:
        if active.transfer is not None:
            active.transfer.ringing(now)
        elif active.caller is None:
            return
        elif output.media:
            self._user_agent.progress(active.caller, 183, now, body=output.media)
        else:
            self._user_agent.progress(active.caller, 180, now)

    def _accept(self, active: ActiveCall, output: call_events.Accept, now: float) -> None:
        if active.transfer is not None:
            active.transfer.offered(output.media, now)
        elif active.caller is not None:
            self._user_agent.answer(active.caller, now, output.media)
            if active.call.state is CallState.CONFIRMING:
                self.note(active)  # answered, and not talking yet

    def _confirm(self, active: ActiveCall, output: call_events.Confirm, now: float) -> None:
        if active.callee is not None:
            self._user_agent.acknowledge(active.callee, now, output.media)
        if active.transfer is not None:
            active.transfer.join(now)

    def _refuse_caller(self, active: ActiveCall, output: call_events.Refuse, now: float) -> None:
        if active.transfer is not None:
            active.transfer.failed(output.cause, now)
        elif active.caller is not None:
            self.reject(active.caller, output.cause, now)
            active.caller.owner = None
            active.caller = None

    def _release(self, active: ActiveCall, output: call_events.Release, now: float) -> None:
        session = active.session(output.leg)
        if active.transfer is not None and session is None:
            active.transfer.failed(output.cause, now)
        elif session is not None:
            self._user_agent.bye(session, now, headers=[reason_header(output.cause)])
            if session.state is SessionState.ENDED:
                # Our answer waited for a PRACK, so that the end was a refusal, and no BYE's answer will come.
                self.session_over(active, session)

    def _set_timer(self, active: ActiveCall, output: call_events.SetTimer, now: float) -> None:
        self._timers.set(active, output.kind, output.at)

    def _clear_timers(self, active: ActiveCall, output: call_events.ClearTimers, now: float) -> None:
        self._timers.clear(active)

    def _forget(self, active: ActiveCall) -> None:
        if self.calls.pop(active.call_id, None) is None:
            return
        tenant_id = active.route.tenant_id
        self._left(active.route)
        tenant_calls = self.calls_by_tenant[tenant_id]
        del tenant_calls[active.call_id]
        if not tenant_calls:
            del self.calls_by_tenant[tenant_id]


PERFORMERS: dict[type, Callable[..., None]] = {
    call_events.Milestone: CallExecutor._milestone,
    call_events.HoldCredit: CallExecutor._hold_credit,
    call_events.PostCredit: CallExecutor._post_credit,
    call_events.HoldMinutes: CallExecutor._hold_minutes,
    call_events.PostMinutes: CallExecutor._post_minutes,
    call_events.OfferMedia: CallExecutor._offer_media,
    call_events.AnswerMedia: CallExecutor._answer_media,
    call_events.StartRecording: CallExecutor._start_recording,
    call_events.PlayWarning: CallExecutor._play_warning,
    call_events.DeleteMedia: CallExecutor._delete_media,
    call_events.Dial: CallExecutor._dial,
    call_events.CancelDial: CallExecutor._cancel_dial,
    call_events.Ring: CallExecutor._ring,
    call_events.Accept: CallExecutor._accept,
    call_events.Confirm: CallExecutor._confirm,
    call_events.Refuse: CallExecutor._refuse_caller,
    call_events.Release: CallExecutor._release,
    call_events.SetTimer: CallExecutor._set_timer,
    call_events.ClearTimers: CallExecutor._clear_timers,
}
