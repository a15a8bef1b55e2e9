"""One running engine: SIP endpoint, calls, media plane and books joined; what the calls ask for is carried out here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from engine.b2bua.controller import Controller
from engine.domain.call import milliseconds
from engine.domain.cause import Cause
from engine.domain.cdr import Cdr, CdrState
from engine.domain.facts import AccountFacts, AgentCapFacts, Facts, MoneyRulesFacts
from engine.domain.money.package_minutes import MinutesBucket
from engine.runtime.clock import SteadyClock
from engine.runtime.control.protocol import CutCalls, HangUp, LiveCall
from engine.runtime.credit.lease_desk import LeaseDesk
from engine.runtime.credit.minutes_desk import MinutesDesk
from engine.runtime.monitoring.call_watch import CallWatch
from engine.runtime.records.record_keeper import RecordKeeper
from engine.services.records.left_recording import measure_left_recording
from media.embedded.client import EmbeddedPlane
from media.plane import Dtmf, MediaTimedOut, RecordingFinished, Reply
from media.plane import Event as MediaEvent
from sip.core.events import Event
from sip.core.messages.uri import SipUri
from sip.errors import LocalFault, PeerFault
from sip.transport.resolver import Resolver

TRUNK_TICK_SECONDS = 1.0
UNTOLD_MAX = 10_000
"""As many as a worker keeps events; of the oldest, recordings are lost with a worker that dies before it has told."""

log = structlog.get_logger()


class Switchboard:
    """The transaction user above the SIP endpoint. Every input ends in ``flush``, which sends what came of it."""

    def __init__(
        self,
        *,
        controller: Controller,
        clock: SteadyClock,
        keeper: RecordKeeper,
        recordings_folder: str,
        watch: CallWatch,
    ) -> None:
        self.controller = controller
        self._watch = watch
        self._clock = clock
        self._keeper = keeper
        self._recordings_prefix = recordings_folder.rstrip("/") + "/"
        self._jobs: set[asyncio.Future[None]] = set()
        self._untold: dict[str, Cdr] = {}
        """Ended calls whose recording no media worker has told of yet."""
        self._plane: EmbeddedPlane | None = None
        self._lease_desk: LeaseDesk | None = None
        self._minutes_desk: MinutesDesk | None = None
        self._flush: Callable[[], None] = lambda: None

    def connect(
        self, *, plane: EmbeddedPlane, lease_desk: LeaseDesk, minutes_desk: MinutesDesk, flush: Callable[[], None]
    ) -> None:
        """The parts that answer to us, which could not be made before us."""
        self._plane = plane
        self._lease_desk = lease_desk
        self._minutes_desk = minutes_desk
        self._flush = flush

    # The SIP endpoint's transaction user --------------------------------------------------------------------------

    def receive(self, event: Event, now: float) -> None:
        try:
            self.controller.receive(event, now)
        except PeerFault as fault:
            # A header that only we read: the user agent has answered or will time out; the peer's fault ends nothing.
            self.controller.counters["peer_faults"] += 1
            log.info("request refused", reason=fault.reason)
        except LocalFault:
            self.controller.counters["local_faults"] += 1
            log.exception("our own fault in a call's handling")

    def fire_timers(self, now: float) -> None:
        self.controller.fire_timers(now)

    def next_deadline(self) -> float | None:
        return self.controller.next_deadline()

    def commit(self, now: float) -> None:
        controller = self.controller
        if records := controller.take_records():
            self._keeper.take(records)
            if ended := [record for record in records if record.cdr.state is CdrState.ENDED]:
                self._watch.committed(ended, controller.media.commands, now)
                self.await_recordings(record.cdr for record in ended)
        if heard := controller.take_heard():
            self._keeper.take_heard(heard)
        if controller.media.commands and self._plane is not None:
            commands, controller.media.commands = controller.media.commands, []
            for command in commands:
                self._plane.send(command)
        if controller.minutes.lease_requests and self._minutes_desk is not None:
            wishes, controller.minutes.lease_requests = controller.minutes.lease_requests, []
            self._minutes_desk.request(wishes)
        if controller.minutes.lease_returns and self._minutes_desk is not None:
            unused, controller.minutes.lease_returns = controller.minutes.lease_returns, []
            self._minutes_desk.return_unused(unused)
        if controller.credit.lease_requests and self._lease_desk is not None:
            requests, controller.credit.lease_requests = controller.credit.lease_requests, []
            self._lease_desk.request(requests)
        if controller.credit.lease_returns and self._lease_desk is not None:
            returns, controller.credit.lease_returns = controller.credit.lease_returns, []
            self._lease_desk.give_back(returns)

    # The media plane ----------------------------------------------------------------------------------------------

    def media_replied(self, reply: Reply) -> None:
        self._watch.replied(reply)
        if self.controller.receive_media_reply(reply, self._clock.now()):
            self._flush()

    def media_told(self, event: MediaEvent) -> None:
        match event:
            case MediaTimedOut():
                self.controller.media_timed_out(event.call_id, self._clock.now())
                self._flush()
            case Dtmf():
                self.controller.key_pressed(
                    event.call_id,
                    event.side,
                    event.digit,
                    event.duration_ms,
                    self._clock.now(),
                    relayed=event.relayed,
                )
                self._flush()
            case RecordingFinished():
                self._untold.pop(event.call_id, None)
                event.path = event.path.removeprefix(self._recordings_prefix)
                self._keeper.take_recording(event)

    def media_lost(self, call_ids: list[str]) -> None:
        cdrs = {
            call_id: self.controller.calls[call_id].call.cdr for call_id in call_ids if call_id in self.controller.calls
        }
        cdrs |= {call_id: self._untold[call_id] for call_id in call_ids if call_id in self._untold}
        self.controller.media_lost(call_ids, self._clock.now())
        self._flush()
        self.keep_left_recordings([*cdrs.values()])

    def await_recordings(self, cdrs: Iterable[Cdr]) -> None:
        """Of those that have ended: what their worker does not tell of before it dies is to be measured."""
        for cdr in cdrs:
            if cdr.ended_at_ms is not None and cdr.answered_at_ms is not None and cdr.recording_path is not None:
                self._untold[cdr.id] = cdr
        while len(self._untold) > UNTOLD_MAX:
            del self._untold[next(iter(self._untold))]

    def measure_untold(self, cdrs: Iterable[Cdr]) -> None:
        """Of calls that an engine before us had ended: those that a worker tells of, it has told of by now."""
        held = self._plane.holds if self._plane is not None else lambda call_id: False
        self.keep_left_recordings([cdr for cdr in cdrs if cdr.id in self._untold and not held(cdr.id)])

    def keep_left_recordings(self, cdrs: list[Cdr]) -> None:
        """What the worker of these ended calls had written before it died is measured and recorded."""
        recorded = [cdr for cdr in cdrs if cdr.recording_path is not None]
        for cdr in recorded:
            self._untold.pop(cdr.id, None)
        if recorded:
            self._jobs.add(job := asyncio.ensure_future(self._measure_left_recordings(recorded)))
            job.add_done_callback(self._jobs.discard)

    async def _measure_left_recordings(self, cdrs: list[Cdr]) -> None:
        for cdr in cdrs:
            if cdr.recording_path is None:
                continue
            left = await asyncio.to_thread(
                measure_left_recording, Path(self._recordings_prefix), cdr.recording_path, cdr.id, cdr.talk_ms
            )
            if left is None:
                log.error("recording lost with its media worker", call_id=cdr.id)
            else:
                self._keeper.take_recording(left)

    # Trunks -------------------------------------------------------------------------------------------------------

    async def watch_trunks(self, names: Resolver) -> None:
        """Keeps asking gateways and registering, and their names fresh in ``names``, until cancelled."""
        watch = self.controller.trunk_watch
        watched: dict[str, SipUri] = {}
        while True:
            wanted = {str(uri): uri for uri in watch.named_gateways()}
            for text in watched.keys() - wanted.keys():
                names.unwatch(watched[text])
            for text in wanted.keys() - watched.keys():
                names.watch(wanted[text])
            watched = wanted
            watch.tick(self._clock.now())
            self._flush()
            for change in watch.changes:
                log.warning(change)
            watch.changes.clear()
            await asyncio.sleep(TRUNK_TICK_SECONDS)

    # Facts and money ----------------------------------------------------------------------------------------------

    def apply(self, facts: Iterable[Facts]) -> None:
        facts = list(facts)
        # Not at the first reading: calls of an earlier engine have yet to take up what they hold of its leases.
        known = self.controller.directory.minutes_buckets.keys() & {f.id for f in facts if isinstance(f, MinutesBucket)}
        self.controller.directory.apply(facts)
        now = self._clock.now()
        for fact in facts:
            if isinstance(fact, AccountFacts):
                self.controller.credit.account_told(fact)
                self.controller.account_changed(fact.tenant_id, now)
            elif isinstance(fact, MoneyRulesFacts | AgentCapFacts):
                self.controller.spending.take(fact)
                self.controller.caps_changed(fact.tenant_id, now)
            elif isinstance(fact, MinutesBucket):
                ended = fact.id in known and fact.expires_at_ms <= milliseconds(now)
                wanted_seconds = fact.wanted_seconds if fact.id in known else 0
                self.controller.minutes.bucket_changed(fact.id, ended=ended, wanted_seconds=wanted_seconds)
        self._flush()

    def remove(self, entity: str, entity_id: str) -> None:
        self.controller.directory.remove(entity, entity_id)
        self.controller.spending.remove(entity, entity_id)

    def lease_answered(self, tenant_id: int, granted_micro: int | None) -> None:
        self.controller.lease_answered(tenant_id, granted_micro, self._clock.now())
        self._flush()

    def minutes_answered(self, bucket_id: int, granted_seconds: int | None) -> None:
        self.controller.minutes_answered(bucket_id, granted_seconds, self._clock.now())
        self._flush()

    # The operator -------------------------------------------------------------------------------------------------

    def hang_up(self, command: HangUp) -> bool:
        active = self.controller.calls.get(command.call_id)
        if active is None:
            return False
        cdr = active.call.cdr
        if command.tenant_id is not None and cdr.tenant_id != command.tenant_id:
            return False
        if command.agent_id is not None and cdr.agent_id != command.agent_id:
            return False
        found = self.controller.hang_up(command.call_id, Cause.HUNG_UP_BY_PLATFORM, self._clock.now())
        self._flush()
        return found

    def cut_calls(self, command: CutCalls) -> int:
        """How many calls were ended."""
        cut = 0
        for call_id, active in list(self.controller.calls.items()):
            cdr = active.call.cdr
            if cdr.ended_at_ms is not None or cdr.tenant_id != command.tenant_id:
                continue
            if command.agent_id in (None, cdr.agent_id):
                cut += self.controller.hang_up(call_id, Cause.HUNG_UP_BY_PLATFORM, self._clock.now())
        self._flush()
        return cut

    def hang_up_all(self, cause: Cause) -> None:
        for call_id in list(self.controller.calls):
            self.controller.hang_up(call_id, cause, self._clock.now())
        self._flush()

    def live_calls(self, tenant_id: int | None) -> list[LiveCall]:
        found = []
        for active in self.controller.calls.values():
            cdr = active.call.cdr
            if cdr.ended_at_ms is not None or (tenant_id is not None and cdr.tenant_id != tenant_id):
                continue
            found.append(
                LiveCall(
                    id=cdr.id,
                    tenant_id=cdr.tenant_id,
                    agent_id=cdr.agent_id,
                    line_id=cdr.line_id,
                    state=cdr.state,
                    direction=cdr.direction,
                    a_number=cdr.a_number,
                    x_number=cdr.x_number,
                    b_number=cdr.b_number,
                    started_at_ms=cdr.started_at_ms,
                    ringing_at_ms=cdr.ringing_at_ms,
                    answered_at_ms=cdr.answered_at_ms,
                    held_micro=active.call.held_micro,
                )
            )
        return found
