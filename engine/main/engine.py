"""An engine: what it consists of, in which order it starts, and in which it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Coroutine
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.archive.disk import RoomLimits, free_percent
from engine.b2bua.controller import Controller
from engine.domain.call import milliseconds
from engine.domain.cause import Cause
from engine.main.money import Money
from engine.main.operation import Operation
from engine.main.signalling import Signalling
from engine.main.takeover import Takeover
from engine.runtime.change_follower import ChangeFollower
from engine.runtime.clock import ClockWatch
from engine.runtime.monitoring.observation import Observation
from engine.runtime.records.record_keeper import RecordKeeper
from engine.runtime.room_watch import RoomWatch
from engine.runtime.switchboard import Switchboard
from engine.settings import Settings
from engine.store.access.keyring import Keyring
from engine.store.availability import await_database
from engine.store.database import open_database
from engine.store.migrations import upgrade
from engine.store.records.journal import Journal
from media.embedded.client import EmbeddedPlane
from sip.endpoint import Endpoint

DATABASE_AWAY_SECONDS_MAX = 60.0
"""So long an engine that starts waits for its database; then it ends, and its supervisor starts it anew. As long as it
ended at once, calls waited up to two seconds for it after their database was back."""
FAREWELL_SECONDS = 2.0
"""How long a stopping engine waits for the answers to its BYEs."""
GARBAGE_COLLECTION_THRESHOLDS = (5_000, 200, 100)
"""Calls free themselves by reference counting, so that the collector, which looks at every live call, finds nothing.

While calls become more, everything stands still for each look at those that are new: for 66 ms at 50,000 objects, and
3 ms at 5,000, which takes less of all looks together. The second number keeps those at all objects as rare as before.
"""

log = structlog.get_logger()


async def run_engine(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT. Raises OSError where a port is taken, SQLAlchemyError without a database."""
    takeover = Takeover(settings.journal_folder)
    clock_watch = ClockWatch(takeover.clock.now)
    clock_watch.look()
    started_at_ms = milliseconds(takeover.clock.now())
    # Nothing is touched, and no port opened, while the database is away.
    await await_database(settings.database_url, DATABASE_AWAY_SECONDS_MAX)
    await upgrade(settings.database_url)
    database = open_database(settings.database_url)
    keeper = _record_keeper(settings, database, takeover)
    await takeover.adopt(keeper)
    engine = Engine(settings, database, takeover, keeper, clock_watch, started_at_ms)
    await engine.start()
    leaves_calls = True  # also where a task has failed: the engine that is started next goes on with them
    try:
        leaves_calls = await engine.until_told_to_stop()
    finally:
        await engine.stop(leaves_calls=leaves_calls)


def _record_keeper(settings: Settings, database: AsyncEngine, takeover: Takeover) -> RecordKeeper:
    clock = takeover.clock
    return RecordKeeper(
        journal=Journal(settings.journal_folder),
        database=database,
        engine_id=settings.engine_id,
        write_interval_seconds=settings.store.write_interval_ms / 1000,
        now_ms=lambda: milliseconds(clock.now()),
        clock=clock.setting(takeover.boot_id),
    )


class Engine:
    """The parts, each made of those before it. Raises OSError where a port is taken."""

    def __init__(
        self,
        settings: Settings,
        database: AsyncEngine,
        takeover: Takeover,
        keeper: RecordKeeper,
        clock_watch: ClockWatch,
        started_at_ms: int,
    ) -> None:
        self.database, self.takeover, self.keeper, self.clock_watch = database, takeover, keeper, clock_watch
        clock = takeover.clock
        self.signalling = Signalling(settings, clock)
        self.controller = self.signalling.controller
        self.observation = Observation(
            settings, self.controller, own_address=self.signalling.own_address, now=clock.now
        )
        self.switchboard = Switchboard(
            controller=self.controller,
            clock=clock,
            keeper=keeper,
            recordings_folder=str(settings.recordings_folder.absolute()),
            watch=self.observation.watch,
        )
        self.endpoint = Endpoint(
            self.signalling.user_agent,
            self.signalling.listeners.sockets,
            self.switchboard,
            clock.now,
            admit=self.controller.guard.admit,
            observe=self.observation.observe,
            streams=self.signalling.listeners.streams,
        )
        self.plane = EmbeddedPlane(
            socket_paths=[settings.media_socket(index) for index in range(settings.media.workers)],
            on_reply=self.switchboard.media_replied,
            on_event=self.switchboard.media_told,
            on_worker_lost=self.switchboard.media_lost,
            loop=asyncio.get_running_loop(),
            ended_at=takeover.media_ends_at,
        )
        self.money = Money(
            database,
            settings.engine_id,
            self.controller,
            self.switchboard,
            now_ms=lambda: milliseconds(clock.now()),
        )
        self.switchboard.connect(
            plane=self.plane,
            lease_desk=self.money.leases,
            minutes_desk=self.money.minutes,
            flush=self.endpoint.flush,
        )
        self.follower = ChangeFollower(
            database,
            poll_seconds=settings.store.change_poll_ms / 1000,
            apply=self.switchboard.apply,
            remove=self.switchboard.remove,
            keyring=Keyring(settings.sealing_keys_file),
        )
        self.room = RoomWatch(
            lambda: free_percent(settings.recordings_folder),
            RoomLimits(
                settings.recordings.alarm_free_percent,
                settings.recordings.deletion_free_percent,
                settings.recordings.stop_free_percent,
            ),
            self.controller.recording_room_changed,
        )
        self.operation = Operation(
            settings,
            signalling=self.signalling,
            endpoint=self.endpoint,
            switchboard=self.switchboard,
            keeper=keeper,
            plane=self.plane,
            observation=self.observation,
            room=self.room,
            clock_watch=clock_watch,
            reload=self.follower.follow,
            started_at_ms=started_at_ms,
        )
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Facts and money first, then the calls that were left; the ports are read last. Raises SQLAlchemyError, and
        OSError where the control socket or the metrics' port is taken."""
        await self.money.read_leases()
        await self.follower.start()
        await self.money.spending.read()
        await self.plane.start(self.takeover.talking)
        self.takeover.take_up(self.plane, self.controller, self.keeper, self.switchboard)
        await self.room.look()
        await self.operation.start()
        self.endpoint.start(asyncio.get_running_loop())
        self.endpoint.flush()
        self.tasks = [asyncio.create_task(job, name=name) for name, job in self._jobs().items()]
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE_COLLECTION_THRESHOLDS)
        log.info("engine is up", sip=self.signalling.listeners.names, pid=os.getpid())

    def _jobs(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside the calls for as long as there is the engine: it ends where one of these does."""
        return {
            "records": self.keeper.run(),
            **self.money.jobs(),
            "changes": self.follower.run(),
            "registrations": self.signalling.registrations.run(),
            "registrar": self.signalling.sweep_registrar(),
            "keep-alive": self.signalling.keep_ways_open(self.endpoint),
            **self.observation.jobs(),
            "trunks": self.switchboard.watch_trunks(self.signalling.names),
            "names": self.signalling.names.run(),
            "room": self.room.run(),
            "clock": self.clock_watch.run(),
        }

    async def until_told_to_stop(self) -> bool:
        """Whether the calls are left to the next engine: not on a signal, which is an operator's. Raises what ended a
        task, since an engine without one of its parts must be started anew."""
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        stops = [asyncio.create_task(each.wait()) for each in (told, self.operation.handed_over)]
        done, _ = await asyncio.wait([*stops, *self.tasks], return_when=asyncio.FIRST_COMPLETED)
        for stop in stops:
            stop.cancel()
        for task in done:
            if task in self.tasks:
                task.result()
        return not told.is_set()

    async def stop(self, *, leaves_calls: bool) -> None:
        """Nobody commands it any more, then no call is left that is not to go on, and the records are stored last:
        money that calls may still cost is given back only where all of them are."""
        log.info("engine is going down", calls=len(self.controller.calls), leaves_calls=leaves_calls)
        await self.operation.close()
        if not leaves_calls:
            self.switchboard.hang_up_all(Cause.HUNG_UP_BY_PLATFORM)
            await _farewell(self.controller)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.endpoint.close()
        self.observation.close()
        await self.plane.close()
        await self.keeper.close()
        self.signalling.registrations.write()
        if self.keeper.waiting == 0:
            await self.money.give_back()
        await self.database.dispose()


async def _farewell(controller: Controller) -> None:
    deadline = asyncio.get_running_loop().time() + FAREWELL_SECONDS
    while controller.calls and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.02)
