"""The one place where an engine is put together."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import secrets
import signal
import time
from dataclasses import asdict

import structlog

from engine.archive.disk import RoomLimits, free_percent
from engine.b2bua.admission import Admission
from engine.b2bua.controller import Controller, ControllerSettings
from engine.b2bua.dialler import OwnHosts
from engine.b2bua.gateway_locator import GatewayLocator
from engine.b2bua.registration import Registration
from engine.b2bua.source_guard import GuardSettings, SourceGuard
from engine.domain.call import CallPolicy, milliseconds
from engine.domain.cause import Cause
from engine.domain.directory import Directory
from engine.domain.ids import call_id
from engine.runtime.call_journal import end_interrupted, recover
from engine.runtime.change_follower import ChangeFollower
from engine.runtime.clock import ClockWatch, SteadyClock, read_boot_id
from engine.runtime.control.server import ControlServer
from engine.runtime.lease_desk import LeaseDesk
from engine.runtime.listeners import open_listeners, user_agent_settings
from engine.runtime.minutes_desk import MinutesDesk
from engine.runtime.observation import Observation, metrics_server
from engine.runtime.operator import Operator
from engine.runtime.record_keeper import RecordKeeper
from engine.runtime.registration_keeper import RegistrationKeeper, read_registrations
from engine.runtime.room_watch import RoomWatch
from engine.runtime.spend_desk import SpendDesk
from engine.runtime.switchboard import Switchboard
from engine.runtime.velocity_watch import VelocityWatch
from engine.settings import Settings
from engine.store.database import open_database, reading
from engine.store.journal import Journal, read_journal
from engine.store.keyring import Keyring
from engine.store.lease_store import leases
from engine.store.migrations import upgrade
from engine.store.minutes_store import minutes_leases
from media.embedded.client import EmbeddedPlane
from sip.core.digest import ALGORITHMS, DigestAuthenticator
from sip.core.registrar import Registrar, RegistrarSettings
from sip.core.user_agent import UserAgent
from sip.endpoint import Endpoint
from sip.transport.resolver import Resolver, SystemLookup

REGISTRAR_SWEEP_SECONDS = 60.0
KEEP_ALIVE_TICK_SECONDS = 0.1
LEFT_RECORDINGS_SECONDS = 5.0
"""A media worker that lives has told by then of the recordings that it had closed while no engine was there."""
FAREWELL_SECONDS = 2.0
"""How long a stopping engine waits for the answers to its BYEs."""
GARBAGE_COLLECTION_THRESHOLDS = (50_000, 20, 100)
"""Calls free themselves by reference counting, so that the collector, which looks at every live call, finds nothing."""

log = structlog.get_logger()


async def run_engine(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT. Raises OSError where a port is taken, SQLAlchemyError without a database."""
    loop = asyncio.get_running_loop()
    # What a crash left undone is read before a new segment is begun, and is in that segment before the old one goes.
    recovered = recover(read_journal(settings.journal_folder) if settings.journal_folder.exists() else ())
    boot_id = read_boot_id()
    clock = SteadyClock.as_it_was(recovered.clock if recovered.goes_on else None, recovered.alive_at_ms, boot_id)
    clock_watch = ClockWatch(clock.now)
    clock_watch.look()
    started_at_ms = milliseconds(clock.now())
    await upgrade(settings.database_url)
    database = open_database(settings.database_url)

    keeper = RecordKeeper(
        journal=Journal(settings.journal_folder),
        database=database,
        engine_id=settings.engine_id,
        write_interval_seconds=settings.store.write_interval_ms / 1000,
        now_ms=lambda: milliseconds(clock.now()),
        clock=clock.setting(boot_id),
    )
    await keeper.adopt([*recovered.ended, *recovered.talking], recovered.alive_at_ms, recovered.recordings)

    listeners = open_listeners(settings)
    user_agent = UserAgent(settings=user_agent_settings(settings, listeners), new_token=new_token)
    names = Resolver(SystemLookup(), listeners.served, random=random.random, clock=time.monotonic)
    controller = make_controller(settings, user_agent, clock, GatewayLocator(names))
    registered = read_registrations(settings.registrations_folder, clock.now())
    controller.registration.restore(registered)
    registrations = RegistrationKeeper(settings.registrations_folder, registered, clock.now)
    controller.registration.changed = registrations.take
    own = {each.is_ipv6: each.address for each in listeners.sockets}
    observation = Observation(
        settings,
        controller,
        own_address=lambda host: own.get(":" in host, (settings.sip.host, settings.sip.port)),
        now=clock.now,
    )
    switchboard = Switchboard(
        controller=controller,
        clock=clock,
        keeper=keeper,
        recordings_folder=str(settings.recordings_folder.absolute()),
        watch=observation.watch,
    )
    endpoint = Endpoint(
        user_agent,
        listeners.sockets,
        switchboard,
        clock.now,
        admit=controller.guard.admit,
        observe=observation.observe,
        streams=listeners.streams,
    )
    # A media worker outlives us. It goes on with the calls that we take up; of the others the recordings end where
    # their CDRs do.
    ended_at = {call_id: at_ms / 1000 for call_id, at_ms in recovered.ended_at_ms.items()}
    for record in recovered.talking:
        if record.running is not None and record.running.joined is not None:
            ended_at[record.cdr.id] = record.running.joined.at_ms / 1000
    talking = {record.media_call_id for record in recovered.talking}

    def media_ends_at(call_id: str) -> float | None:
        return None if call_id in talking else clock.to_monotonic(ended_at.get(call_id, clock.now()))

    plane = EmbeddedPlane(
        socket_paths=[settings.media_socket(index) for index in range(settings.media.workers)],
        on_reply=switchboard.media_replied,
        on_event=switchboard.media_told,
        on_worker_lost=switchboard.media_lost,
        loop=loop,
        ended_at=media_ends_at,
    )
    lease_desk = LeaseDesk(
        database,
        settings.engine_id,
        switchboard.lease_answered,
        credit=controller.credit,
        now_ms=lambda: milliseconds(clock.now()),
    )
    minutes_desk = MinutesDesk(
        database,
        settings.engine_id,
        switchboard.minutes_answered,
        book=controller.minutes,
        now_ms=lambda: milliseconds(clock.now()),
    )
    switchboard.connect(plane=plane, lease_desk=lease_desk, minutes_desk=minutes_desk, flush=endpoint.flush)
    async with reading(database) as connection:
        for tenant_id, amount_micro in (await leases(connection, settings.engine_id)).items():
            controller.credit.credit_of(tenant_id).leased_micro = amount_micro
        for bucket_id, seconds in (await minutes_leases(connection, settings.engine_id)).items():
            controller.minutes.minutes_of(bucket_id).leased_seconds = seconds
    follower = ChangeFollower(
        database,
        poll_seconds=settings.store.change_poll_ms / 1000,
        apply=switchboard.apply,
        remove=switchboard.remove,
        keyring=Keyring(settings.sealing_keys_file),
    )
    await follower.start()
    spend_desk = SpendDesk(database, controller.spending, lambda: milliseconds(clock.now()))
    await spend_desk.read()
    velocity_watch = VelocityWatch(
        database,
        settings.engine_id,
        controller.velocity,
        controller.spending,
        now_ms=lambda: milliseconds(clock.now()),
    )
    await plane.start(talking)
    held = [record for record in recovered.talking if plane.holds(record.media_call_id)]
    lost = [record for record in recovered.talking if not plane.holds(record.media_call_id)]
    for record in lost:  # the media worker has died as well
        end_interrupted(record, recovered.alive_at_ms)
        controller.release(record, clock.now())
    controller.abandon(recovered.ended)
    controller.hang_up_again(recovered.hung_up, clock.now())
    controller.resume(held, clock.now())
    keeper.take(lost)
    switchboard.keep_left_recordings([record.cdr for record in lost if record.media_call_id == record.cdr.id])
    told = {recording.call_id for recording in recovered.recordings}
    untold = [record.cdr for record in recovered.ended if record.cdr.id not in told]
    switchboard.await_recordings(untold)
    loop.call_later(LEFT_RECORDINGS_SECONDS, switchboard.measure_untold, untold)
    talking.clear()
    if recovered.alive_at_ms:
        log.warning(
            "took up the journal",
            resumed=len(held),
            lost=len(lost),
            interrupted=recovered.interrupted,
            stored=len(recovered.ended),
            unreadable=recovered.unreadable,
        )

    room = RoomWatch(
        lambda: free_percent(settings.recordings_folder),
        RoomLimits(
            settings.recordings.alarm_free_percent,
            settings.recordings.deletion_free_percent,
            settings.recordings.stop_free_percent,
        ),
        controller.recording_room_changed,
    )
    await room.look()

    def counters() -> dict[str, int]:
        return {
            **asdict(user_agent.counters),
            **controller.counters,
            **controller.guard.counters,
            "gateway_failovers": controller.gateway_failovers,
            "unsendable": endpoint.unsendable,
            "records_waiting": keeper.waiting,
        }

    metrics = observation.metrics(
        sip=lambda: {**asdict(user_agent.counters), "unsendable": endpoint.unsendable},
        transactions=lambda: user_agent.transactions,
        gauges=lambda: {
            "sip_sessions": len(user_agent.sessions),
            "media_workers": plane.live_workers,
            "records_waiting": keeper.waiting,
            "clock_off_seconds": clock_watch.off_seconds,
            **room.gauges(),
        },
    )
    scraped = metrics_server(settings, metrics)
    handed_over = asyncio.Event()
    operator = Operator(
        switchboard=switchboard,
        engine_id=settings.engine_id,
        started_at_ms=started_at_ms,
        reload=follower.follow,
        hand_over=handed_over.set,
        counters=counters,
        registered_contacts=lambda: len(controller.registration),
        media_workers=lambda: plane.live_workers,
        read_trace=observation.read_trace,
        metrics=metrics.text,
    )
    control = ControlServer(settings.control_socket, operator.answer)
    await control.start()
    if scraped is not None:
        await scraped.start()
    endpoint.start(loop)
    endpoint.flush()
    tasks = [
        asyncio.create_task(job, name=name)
        for name, job in {
            "records": keeper.run(),
            "leases": lease_desk.run(),
            "minutes": minutes_desk.run(),
            "spending": spend_desk.run(),
            "velocity": velocity_watch.run(),
            "changes": follower.run(),
            "registrations": registrations.run(),
            "registrar": _sweep_registrar(controller, clock),
            "keep-alive": _keep_ways_open(controller.registration, endpoint, clock),
            **observation.jobs(),
            "trunks": switchboard.watch_trunks(names),
            "names": names.run(),
            "room": room.run(),
            "clock": clock_watch.run(),
        }.items()
    ]
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_COLLECTION_THRESHOLDS)
    log.info("engine is up", sip=listeners.names, pid=os.getpid())
    leaves_calls = True  # also where a task has failed: the engine that is started next goes on with them
    try:
        leaves_calls = await _until_told_to_stop(loop, tasks, handed_over)
    finally:
        log.info("engine is going down", calls=len(controller.calls), leaves_calls=leaves_calls)
        await control.close()
        if scraped is not None:
            await scraped.close()
        if not leaves_calls:
            switchboard.hang_up_all(Cause.HUNG_UP_BY_PLATFORM)
            await _farewell(controller)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        endpoint.close()
        observation.close()
        await plane.close()
        await keeper.close()
        registrations.write()
        if keeper.waiting == 0:
            await minutes_desk.give_back(controller.minutes.free_by_bucket())
            await lease_desk.close(controller.credit.free_by_tenant())
        await database.dispose()


def make_controller(
    settings: Settings, user_agent: UserAgent, clock: SteadyClock, locator: GatewayLocator
) -> Controller:
    """The calls' controller with its admission and registrar, over an empty directory."""
    directory = Directory()
    # In order of preference (RFC 8760 §2.3); False sorts before True.
    algorithms = tuple(sorted(ALGORITHMS, key=lambda each: each != settings.sip.digest_offered_first))
    if settings.sip.digest_offered_alone:
        algorithms = algorithms[:1]
    authenticator = DigestAuthenticator(settings.sip.realm, secrets.token_bytes(32), algorithms=algorithms)
    guard = SourceGuard(_guard_settings(settings), lambda host, port: directory.trunk_by_source(host, port) is not None)
    admission = Admission(directory, authenticator, new_token, guard)
    registrar = Registrar(
        RegistrarSettings(
            expires_seconds_min=settings.sip.registration_seconds_min,
            expires_seconds_max=settings.sip.registration_seconds_max,
            contacts_per_aor_max=settings.sip.contacts_per_account_max,
        )
    )
    return Controller(
        settings=ControllerSettings(
            policy=CallPolicy(
                ring_seconds_max=settings.calls.ring_seconds_max,
                duration_seconds_max=settings.calls.duration_seconds_max,
                slice_seconds=settings.charging.slice_seconds,
                warning_seconds=settings.charging.warning_seconds,
            ),
            own_hosts=OwnHosts(
                settings.sip.advertised_host or settings.sip.host,
                settings.sip.advertised_host_ipv6 or settings.sip.host_ipv6,
            ),
            realm=settings.sip.realm,
            recordings_folder=str(settings.recordings_folder.absolute()),
            calls_max=settings.calls.calls_max,
            gateway_ping_seconds=settings.trunks.ping_seconds,
            gateway_silence_seconds=settings.trunks.gateway_silence_seconds,
            retry_after_seconds=settings.calls.retry_after_seconds,
            warning_tone_ms=settings.charging.warning_tone_ms,
            lease_micro=settings.charging.lease_micro,
        ),
        user_agent=user_agent,
        directory=directory,
        guard=guard,
        admission=admission,
        registration=Registration(directory, admission, registrar, settings.sip.nat_ping_seconds),
        new_call_id=lambda now: call_id(milliseconds(now), os.urandom(10)),
        locator=locator,
        new_token=new_token,
        random=random.random,
        to_monotonic=clock.to_monotonic,
    )


def _guard_settings(settings: Settings) -> GuardSettings:
    sip = settings.sip
    return GuardSettings(
        stranger_datagrams_per_second=sip.stranger_datagrams_per_second,
        known_datagrams_per_second=sip.known_datagrams_per_second,
        all_strangers_datagrams_per_second=sip.all_strangers_datagrams_per_second,
        failures_max=sip.authentication_failures_max,
        ban_seconds=sip.ban_seconds,
    )


def new_token() -> str:
    """For tags, branches, Call-IDs and nonces: 64 bits of the kernel's randomness (RFC 3261 §19.3 asks for 32)."""
    return os.urandom(8).hex()


async def _keep_ways_open(registration: Registration, endpoint: Endpoint, clock: SteadyClock) -> None:
    while True:
        await asyncio.sleep(KEEP_ALIVE_TICK_SECONDS)
        due = registration.keep_alive.tick(clock.now())
        if due:
            endpoint.user_agent.datagrams += due
            endpoint.flush()


async def _sweep_registrar(controller: Controller, clock: SteadyClock) -> None:
    while True:
        await asyncio.sleep(REGISTRAR_SWEEP_SECONDS)
        controller.registration.expire(clock.now())


async def _until_told_to_stop(
    loop: asyncio.AbstractEventLoop, tasks: list[asyncio.Task[None]], handed_over: asyncio.Event
) -> bool:
    """Whether the calls are left to the next engine: not on a signal, which is an operator's. Raises what ended a task,
    since an engine without one of its parts must be started anew."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    stops = [asyncio.create_task(each.wait()) for each in (told, handed_over)]
    done, _ = await asyncio.wait([*stops, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for stop in stops:
        stop.cancel()
    for task in done:
        if task in tasks:
            task.result()
    return not told.is_set()


async def _farewell(controller: Controller) -> None:
    deadline = asyncio.get_running_loop().time() + FAREWELL_SECONDS
    while controller.calls and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.02)
