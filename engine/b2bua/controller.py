"""Joins SIP sessions, media and money through the call machine: events of all three in, outputs out; no I/O.

The driver calls the ``receive_…`` and ``fire_timers`` methods with the time and then carries out what lies in
``media.commands``, ``take_records``, ``take_heard``, ``credit.lease_requests`` and the user agent's datagrams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from engine.b2bua.active_call import ActiveCall
from engine.b2bua.admission import Admission
from engine.b2bua.call_executor import CallExecutor
from engine.b2bua.call_timers import CallTimers
from engine.b2bua.callee_leg import CalleeLeg
from engine.b2bua.controller_settings import ControllerSettings
from engine.b2bua.dialler import Dialler
from engine.b2bua.gateway_locator import GatewayLocator
from engine.b2bua.reception import Reception
from engine.b2bua.referrals import Referrals
from engine.b2bua.registration import Registration
from engine.b2bua.renegotiation import Renegotiator
from engine.b2bua.resumption import Resumption
from engine.b2bua.running_call import AnswerHeard, CallRecord, RunningCall
from engine.b2bua.signalling import Signalling
from engine.b2bua.source_guard import SourceGuard
from engine.b2bua.trunk_watch import TrunkWatch
from engine.domain import events as call_events
from engine.domain.call import CallState
from engine.domain.cause import Cause
from engine.domain.cdr import Unrecorded
from engine.domain.events import Leg, TimerKind
from engine.domain.lines.directory import Directory
from media import plane
from sip.core.dialogs.session import Session
from sip.core.user_agents.user_agent import UserAgent

__all__ = ["Controller", "ControllerSettings"]


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
        self.guard = guard
        self.registration = registration
        self.counters: Counter[str] = Counter()
        self.leg_made: Callable[[str, str], None] = lambda call_id, sip_call_id: None
        """Told each SIP dialog that becomes part of a call, the caller's first."""
        self._timers = CallTimers()
        self.next_deadline = self._timers.next_deadline
        user_agent.on_invited_again = self._invited_again
        dialler = Dialler(user_agent, registration, settings.own_hosts, settings.realm, locator, random)
        self._callee_leg = CalleeLeg(
            user_agent,
            dialler,
            self._timers,
            settings.gateway_silence_seconds,
            dialled=self._dialled,
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
        reception = Reception(directory, admission, settings.calls_max)
        self._executor = CallExecutor(
            settings=settings,
            user_agent=user_agent,
            callee_leg=self._callee_leg,
            timers=self._timers,
            left=reception.leave,
            to_monotonic=to_monotonic,
            random=random,
        )
        self.calls = self._executor.calls
        self.credit = self._executor.credit
        self.minutes = self._executor.minutes
        self.spending = self._executor.spending
        self.velocity = self._executor.velocity
        self.media = self._executor.media
        self._renegotiator = Renegotiator(
            user_agent,
            self.media,
            changed=self._executor.note,
            hang_up=lambda active, cause, now: self._executor.feed(active, call_events.PlatformHangUp(cause), now),
        )
        self._resumption = Resumption(
            user_agent=user_agent,
            directory=directory,
            executor=self._executor,
            reception=reception,
            policy=settings.policy,
            retry_after_seconds=settings.retry_after_seconds,
            leg_made=lambda call_id, sip_call_id: self.leg_made(call_id, sip_call_id),
        )
        self._signalling = Signalling(
            settings=settings,
            user_agent=user_agent,
            executor=self._executor,
            callee_leg=self._callee_leg,
            reception=reception,
            registration=registration,
            trunk_watch=self.trunk_watch,
            renegotiator=self._renegotiator,
            referrals=Referrals(
                user_agent=user_agent,
                executor=self._executor,
                directory=directory,
                reception=reception,
                policy=settings.policy,
                new_call_id=new_call_id,
            ),
            counters=self.counters,
            new_call_id=new_call_id,
            leg_made=lambda call_id, sip_call_id: self.leg_made(call_id, sip_call_id),
        )
        self.receive = self._signalling.receive
        """Takes what the user agent has to tell, with the time."""

    def recording_room_changed(self, has_room: bool) -> None:
        """Whether new calls are recorded, where they should be; those that are being recorded go on."""
        self._signalling.has_recording_room = has_room

    def receive_media_reply(self, reply: plane.Reply, now: float) -> bool:
        """False where nothing comes of it: of what was accepted, only some commands are waited for."""
        awaited = self.media.claim(reply)
        if awaited is None:
            self.counters["media_replies_unexpected"] += 1
            return False
        active, command = awaited
        if isinstance(reply, plane.Accepted) and command not in _WAITED_FOR:
            return False
        if command is plane.PlayDtmf:
            self._signalling.key_played(active, isinstance(reply, plane.Accepted), now)
        elif isinstance(reply, plane.Refused):
            self.counters[f"media_refused_{reply.refusal}"] += 1
            if active.merger is not None and command in (plane.Offer, plane.Answer):
                active.merger.refused(now)
            elif active.renegotiation is not None and command in (plane.Offer, plane.Answer):
                self._renegotiator.refused(active, now)
            elif command is plane.StartRecording and reply.refusal is plane.Refusal.STORAGE:
                # Known at the answer, and the call goes on: its CDR says so from its next milestone.
                active.call.cdr.recording_path, active.call.cdr.unrecorded_because = None, Unrecorded.STORAGE
            elif command in (plane.Offer, plane.Answer):
                self._executor.feed(active, call_events.MediaRefused(_MEDIA_CAUSES[reply.refusal]), now)
        elif active.merger is not None and command in (plane.Offer, plane.Answer):
            active.merger.written(reply.sdp, now)
        elif active.renegotiation is not None and command in (plane.Offer, plane.Answer):
            self._renegotiator.written(active, reply.sdp, now)
        elif command is plane.Offer:
            self._executor.feed(active, call_events.MediaOffered(reply.sdp), now)
        elif command is plane.Answer:
            self._executor.feed(active, call_events.MediaAnswered(reply.sdp), now)
        return True

    def media_timed_out(self, call_id: str, now: float) -> None:
        active = self.calls.get(call_id)
        if active is not None:
            self._executor.feed(active, call_events.MediaTimedOut(), now)

    def key_pressed(
        self, call_id: str, side: plane.Side, key: str, duration_ms: int, now: float, *, relayed: bool = True
    ) -> None:
        """The plane has heard a key (RFC 4733), which it relays by itself; without ``relayed`` the other side, which
        takes no such events, is told of it by INFO."""
        active = self.calls.get(call_id)
        if active is not None:
            self.counters["keys_pressed"] += 1
            self._executor.feed(active, call_events.KeyPressed(Leg(side), key, duration_ms), now)
            if not relayed:
                self._signalling.key_unheard(active, Leg(side), key, duration_ms, now)

    def media_lost(self, call_ids: list[str], now: float) -> None:
        """A media worker is gone, and these calls' speech with it."""
        for call_id in call_ids:
            self.hang_up(call_id, Cause.MEDIA_FAILURE, now)

    def lease_answered(self, tenant_id: int, granted_micro: int | None, now: float) -> None:
        """Brings a lease; None where the database did not answer."""
        for active, held_micro in self.credit.lease_answered(tenant_id, granted_micro):
            self._executor.credit_answered(active, held_micro, now)

    def minutes_answered(self, bucket_id: int, granted_seconds: int | None, now: float) -> None:
        """Brings a lease of package minutes; None where the database did not answer."""
        for active, parts in self.minutes.lease_answered(bucket_id, granted_seconds):
            self._executor.feed(active, call_events.MinutesGranted(parts), now)

    def account_changed(self, tenant_id: int, now: float) -> None:
        """Money came or went: calls in their final unit may go on."""
        self.credit.account_changed(tenant_id)
        self.caps_changed(tenant_id, now)

    def caps_changed(self, tenant_id: int, now: float) -> None:
        """Calls in their final unit ask again."""
        for active in list(self._executor.calls_by_tenant.get(tenant_id, {}).values()):
            self._executor.feed(active, call_events.CreditChanged(), now)

    def resume(self, records: Iterable[CallRecord], now: float) -> None:
        """Goes on with the talking calls of an engine that is gone; the plane holds them, and ``credit`` the leases."""
        self._resumption.resume(records, now)

    def abandon(self, records: Iterable[CallRecord]) -> None:
        """Calls that were being set up when their engine died: who answers one now is hung up."""
        for record in records:
            self._resumption.abandon(record)

    def give_up(self, records: Iterable[CallRecord], now: float) -> None:
        """Whoever still waits for a call that their engine was setting up is told that it comes to nothing."""
        for record in records:
            self._resumption.give_up(record, now)

    def _dialled(self, active: ActiveCall, session: Session) -> None:
        self.leg_made(active.call_id, session.call_id)
        self._executor.note(active)  # who answers an engine that has died meanwhile is known by this

    def _invited_again(self, session: Session) -> None:
        """With credentials, or another session interval: a CANCEL is for this INVITE from here on."""
        active = session.owner
        if isinstance(active, ActiveCall) and active.call.state is not CallState.ENDED:
            self._executor.note(active)

    def release(self, record: CallRecord, now: float) -> None:
        """Hangs up both legs of a call of an engine that is gone; its record is complete."""
        self._resumption.release(record, now)

    def hang_up_again(self, calls: Iterable[RunningCall], now: float) -> None:
        """Calls that ended as their engine died, which may have told neither leg; their records are complete."""
        for running in calls:
            self._resumption.hang_up(running, now)

    def hang_up(self, call_id: str, cause: Cause, now: float) -> bool:
        """Ends a call from our side; False if there is none of this id."""
        active = self.calls.get(call_id)
        if active is None:
            return False
        self._executor.feed(active, call_events.PlatformHangUp(cause), now)
        return True

    def fire_timers(self, now: float) -> None:
        while (due := self._timers.pop_due(now)) is not None:
            active, kind = due
            if kind is TimerKind.GATEWAY:
                self._callee_leg.gateway_silent(active, now)
            elif kind is TimerKind.GLARE:
                transfer = active.merger or (active.referral.transfer if active.referral is not None else None)
                if transfer is not None:
                    transfer.ask_again(now)
            else:
                self._executor.feed(active, call_events.TimerFired(kind), now)

    def take_records(self) -> list[CallRecord]:
        """Of calls with a new milestone, oldest first; each is given once."""
        records, self._executor.records = self._executor.records, []
        return records

    def take_heard(self) -> list[AnswerHeard]:
        """Legs that have acknowledged our answer; to be kept after the records of the same turn."""
        heard, self._executor.heard = self._executor.heard, []
        return heard

    @property
    def gateway_failovers(self) -> int:
        """Calls that went on to another gateway."""
        return self._callee_leg.failovers


_WAITED_FOR = frozenset((plane.Offer, plane.Answer, plane.PlayDtmf))
_MEDIA_CAUSES = {
    plane.Refusal.BAD_SDP: Cause.INCOMPATIBLE_MEDIA,
    plane.Refusal.NO_COMMON_CODEC: Cause.INCOMPATIBLE_MEDIA,
    plane.Refusal.INSECURE: Cause.INCOMPATIBLE_MEDIA,
    plane.Refusal.CAPACITY: Cause.CAPACITY,
    plane.Refusal.UNREACHABLE: Cause.CAPACITY,
    plane.Refusal.UNKNOWN_CALL: Cause.MEDIA_FAILURE,
    plane.Refusal.WRONG_STATE: Cause.MEDIA_FAILURE,
    plane.Refusal.STORAGE: Cause.MEDIA_FAILURE,
}
