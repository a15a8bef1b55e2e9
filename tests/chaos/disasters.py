"""Carries out one fault after the other, and measures how long the system takes to be itself again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.chaos.audit import Befallen
from tests.chaos.broker import Broker
from tests.chaos.load import Load
from tests.chaos.plan import Fault, Round
from tests.chaos.system import MEDIA_WORKERS, RECOVERY_SECONDS_MAX, NotRecovered, System
from tests.chaos.world import OPENING_YUAN, TENANTS
from tests.postgresql import Cluster

PAUSE_SECONDS = 10.0
DATABASE_AWAY_SECONDS = 3.0
DISK_FULL_SECONDS = 4.0
CLOCK_STEP_SECONDS = 300.0
CLOCK_LIES_SECONDS = 6.0
CROWD_CALLS = 200
CROWD_TALK_SECONDS = 12.0
CROWD_WAIT_SECONDS_MAX = 12.0
SETTLE_SECONDS = 2.0
STORED_SECONDS_MAX = 30.0


class Disasters:
    """``recovery_seconds`` is by fault: from its end (the kill, SIGCONT, the database being back) until what was hit
    serves again; the engine when it answers OPTIONS, which it does once it has its calls. What each engine that was
    killed had in its journal is kept in ``journals``."""

    def __init__(
        self,
        system: System,
        load: Load,
        cluster: Cluster | None,
        small_disk: Path | None,
        journals: Path,
        broker: Broker,
    ) -> None:
        clock = system.clock
        self._clock = clock
        self._system = system
        self._load = load
        self._cluster = cluster
        self._small_disk = small_disk
        self._journals = journals
        self._broker = broker
        self.befallen = Befallen()
        self.recovery_seconds: dict[Fault, list[float]] = {}
        self._carry_out: dict[Fault, Callable[[float], float]] = {
            Fault.ENGINE_KILLED: self._kill_engine,
            Fault.ENGINE_KILLED_IN_A_CROWD: self._kill_engine_in_a_crowd,
            Fault.ENGINE_KILLED_TWICE: self._kill_engine_twice,
            Fault.ENGINE_HANDED_OVER: self._hand_over,
            Fault.ENGINE_PAUSED: lambda choice: self._pause("engine", system.answers_options),
            Fault.MEDIA_KILLED: self._kill_media,
            Fault.MEDIA_KILLED_WITHOUT_ENGINE: self._kill_media_without_engine,
            Fault.MEDIA_PAUSED: lambda choice: self._pause(_worker(choice), system.has_media),
            Fault.API_KILLED: self._kill_api,
            Fault.API_PAUSED: lambda choice: self._pause("api", system.answers_http),
            Fault.DATABASE_KILLED: self._kill_database,
            Fault.ENGINE_KILLED_WITHOUT_DATABASE: self._kill_engine_without_database,
            Fault.DISK_FULL: self._fill_disk,
            Fault.CLOCK_AHEAD: lambda choice: self._kill_engine_under(clock.set_ahead, CLOCK_STEP_SECONDS),
            Fault.CLOCK_BACK: lambda choice: self._kill_engine_under(clock.set_ahead, -CLOCK_STEP_SECONDS),
            Fault.CLOCK_STOPPED: lambda choice: self._kill_engine_under(clock.stop),
            Fault.BROKER_KILLED: self._kill_broker,
        }

    def run(self, plan: list[Round]) -> None:
        """Raises NotRecovered, and RuntimeError where the load itself broke."""
        for number, each in enumerate(plan, 1):
            time.sleep(each.before_seconds)
            before = self._system.health()
            seconds = self._carry_out[each.fault](each.choice)
            self.recovery_seconds.setdefault(each.fault, []).append(seconds)
            self._load.assert_running()
            after = self._system.health()
            print(
                f"round {number}: {each.fault}, calls {before and before.calls} → {after and after.calls}, "
                f"recovered in {seconds:.2f} s",
                file=sys.stderr,
            )
            time.sleep(SETTLE_SECONDS)
            self._system.wait_until(self._system.is_whole, "the system")

    def _kill_engine(self, choice: float) -> float:
        self._kill("engine")
        return self._engine_back()

    def _kill_engine_in_a_crowd(self, choice: float) -> float:
        self._load.crowd(CROWD_CALLS, CROWD_TALK_SECONDS)
        deadline = time.monotonic() + CROWD_WAIT_SECONDS_MAX
        while time.monotonic() < deadline:
            report = self._system.health()
            if report is not None and report.calls >= CROWD_CALLS:
                break
            time.sleep(0.2)
        return self._kill_engine(choice)

    def _kill_engine_twice(self, choice: float) -> float:
        """The second time while it is starting: anywhere from before its journal is read to after its calls are up."""
        self._kill("engine")
        self._system.wait_until(lambda: "engine" in self._system.process_ids(), "the engine's process")
        time.sleep(choice * 1.2)
        self._kill("engine")
        return self._engine_back()

    def _hand_over(self, choice: float) -> float:
        """The time without an engine; the command itself takes longer, for it starts before and waits afterwards."""
        before = self._system.process_ids()["engine"]
        command = self._system.hand_over()
        self._system.wait_until(lambda: self._system.process_ids().get("engine") != before, "the next engine")
        self.befallen.engine_killed_at.append(time.time())
        seconds = self._engine_back()
        if command.wait(RECOVERY_SECONDS_MAX) != 0:
            raise NotRecovered(f"axbridge restart ended with {command.returncode}")
        return seconds

    def _kill_media(self, choice: float) -> float:
        began = time.monotonic()
        self._kill_worker(_worker(choice))
        self._system.wait_until(self._system.has_media, "the media worker")
        return time.monotonic() - began

    def _kill_media_without_engine(self, choice: float) -> float:
        began = time.monotonic()
        self._kill("engine")
        self._kill_worker(_worker(choice))
        self._engine_back()
        self._system.wait_until(self._system.has_media, "the media worker")
        return time.monotonic() - began

    def _kill_worker(self, name: str) -> None:
        """Returns when there is another: until then the engine may not have noticed."""
        before = self._system.process_ids().get(name)
        self._kill(name)
        self._system.wait_until(lambda: self._system.process_ids().get(name) not in (None, before), name)

    def _kill_api(self, choice: float) -> float:
        self._kill("api")
        return self._system.wait_until(self._system.answers_http, "the API")

    def _pause(self, name: str, is_back: Callable[[], bool]) -> float:
        self._system.pause(name)
        time.sleep(PAUSE_SECONDS)
        self._system.go_on(name)
        return self._system.wait_until(is_back, name)

    def _kill_database(self, choice: float) -> float:
        assert self._cluster is not None
        self._cluster.kill()
        time.sleep(DATABASE_AWAY_SECONDS)
        self._cluster.start()
        return self._system.wait_until(self._system.has_stored, "the records")

    def _kill_engine_without_database(self, choice: float) -> float:
        """No engine comes up without its database; the calls' speech goes on, and the calls with the next engine."""
        assert self._cluster is not None
        self._cluster.kill()
        self._kill("engine")
        time.sleep(DATABASE_AWAY_SECONDS)
        self._cluster.start()
        return self._engine_back()

    def _kill_engine_under(self, lie: Callable[..., None], *arguments: float) -> float:
        """The clock is set in mid-call, the engine dies and the next begins under it; then somebody sets it right."""
        lie(*arguments)
        time.sleep(CLOCK_LIES_SECONDS / 2)
        self._kill("engine")
        seconds = self._engine_back()
        time.sleep(CLOCK_LIES_SECONDS / 2)
        self._clock.set_right()
        return seconds

    def _kill_broker(self, choice: float) -> float:
        """A tenant's money runs low while it is away, by a threshold that he is below all at once."""
        broker = self._broker
        heard = len(broker.heard)
        broker.kill()
        tenant = TENANTS[int(choice * len(TENANTS)) % len(TENANTS)]
        for yuan in (0, 10 * OPENING_YUAN[tenant]):
            self._system.load(f'[[money_rules]]\ntenant = "{tenant}"\nlow_balance = "{yuan}"\n')
        broker.start()
        return self._system.wait_until(lambda: len(broker.heard) > heard, "the notice")

    def _fill_disk(self, choice: float) -> float:
        assert self._small_disk is not None
        ballast = self._small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):  # ENOSPC is what is wanted
            while True:
                file.write(bytes(1 << 20))
        # What is freed meanwhile is taken as well.
        time.sleep(DISK_FULL_SECONDS)
        os.unlink(ballast)
        return self._system.wait_until(self._system.answers_options, "the engine")

    def _kill(self, name: str) -> None:
        at = time.time()
        if self._system.kill(name):
            if name == "engine":
                self.befallen.engine_killed_at.append(at)
                self._system.copy_journal(self._journals / f"{at:.3f}")
            elif name.startswith("media"):
                self.befallen.media_killed_at.append(at)

    def _engine_back(self) -> float:
        return self._system.wait_until(self._system.answers_options, "the engine")


def _worker(choice: float) -> str:
    return f"media-{int(choice * MEDIA_WORKERS) % MEDIA_WORKERS}"
