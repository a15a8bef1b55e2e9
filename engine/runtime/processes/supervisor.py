"""Starts the processes of one machine, starts again what dies, and ends them all in order."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from engine.runtime.processes.reserve import Reserve

RESTART_SECONDS_MAX = 10.0
"""Longest wait before a process that keeps dying is started again."""
STEADY_SECONDS = 3.0
"""A process that lived this long has earned an immediate restart: it came up, and calls wait for the next one. With 10
an engine that died every nine seconds was kept from its calls for 1, 2, 4, 8 and 10 of them."""
STOP_SECONDS_MAX = 10.0
"""After that a process that was asked to end is killed."""
YOUNG_SPARES_MAX = 2
"""After so many spares in a row that died before they were steady the next process is started from the beginning: what
kills them is perhaps in what they have imported."""
LOG_OCTETS_MAX = 20 * 1024 * 1024
"""A log that is larger at a process's start is set aside as .old, in place of the one before it."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """A process to keep alive. ``command`` is its argument vector; its output goes to ``<name>.log``.

    With a ``spare_command`` there are ``spares`` more of it, which wait to take the place of one that dies.
    """

    name: str
    command: tuple[str, ...]
    spare_command: tuple[str, ...] | None = None
    spares: int = 1


class RestartPause:
    """How long a process that has died waits for its restart: longer and longer where it cannot come up."""

    def __init__(self) -> None:
        self._next_seconds = 0.0

    def after(self, lived_seconds: float) -> float:
        if lived_seconds >= STEADY_SECONDS:
            self._next_seconds = 0.0
        pause_seconds = self._next_seconds
        self._next_seconds = min(max(0.25, pause_seconds * 2), RESTART_SECONDS_MAX)
        return pause_seconds


class Supervisor:
    """Processes start in the order given and stop in the reverse."""

    def __init__(self, plans: Sequence[ProcessPlan], log_folder: Path) -> None:
        self._plans = plans
        self._log_folder = log_folder
        self._running: dict[str, Process] = {}
        self._reserves: dict[str, Reserve] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def process_ids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    async def start(self) -> None:
        """Raises OSError where a process cannot be started at all."""
        self._log_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for plan in self._plans:
            await self._spawn(plan)
            self._tasks.append(asyncio.create_task(self._keep_alive(plan)))
            if plan.spare_command is not None:
                execute = partial(self._execute, plan.name, plan.spare_command, asyncio.subprocess.PIPE)
                reserve = self._reserves[plan.name] = Reserve(plan.name, execute, plan.spares)
                self._tasks.append(asyncio.create_task(reserve.keep()))

    async def stop(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name, reserve in self._reserves.items():
            await asyncio.gather(*(self._end(f"spare {name}", spare) for spare in reserve.dismiss()))
        for plan in reversed(self._plans):
            process = self._running.get(plan.name)
            if process is not None:
                await self._end(plan.name, process)

    async def _spawn(self, plan: ProcessPlan, *, may_be_spare: bool = True) -> bool:
        """True if it is a spare that serves now."""
        reserve = self._reserves.get(plan.name) if may_be_spare else None
        spare = await reserve.take() if reserve is not None else None
        self._running[plan.name] = spare or await self._execute(plan.name, plan.command, asyncio.subprocess.DEVNULL)
        return spare is not None

    async def _execute(self, name: str, command: tuple[str, ...], orders: int) -> Process:
        path = self._log_folder / f"{name}.log"
        if path.exists() and path.stat().st_size > LOG_OCTETS_MAX:
            path.replace(path.with_suffix(".log.old"))
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which ends the others in order.
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=orders,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            os.close(output)

    async def _keep_alive(self, plan: ProcessPlan) -> None:
        loop = asyncio.get_running_loop()
        pause = RestartPause()
        young_spares, is_spare = 0, False
        while not self._stopping:
            started_at = loop.time()
            code = await self._running[plan.name].wait()
            if self._stopping:
                return
            log.error("process ended, starting it again", process=plan.name, exit_code=code)
            lived_seconds = loop.time() - started_at
            await asyncio.sleep(pause.after(lived_seconds))
            if not self._stopping:
                young_spares = young_spares + 1 if is_spare and lived_seconds < STEADY_SECONDS else 0
                is_spare = await self._spawn(plan, may_be_spare=young_spares < YOUNG_SPARES_MAX)

    async def _end(self, name: str, process: Process) -> None:
        if process.returncode is not None:
            return
        try:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await process.wait()
        except TimeoutError:
            log.error("process does not end, killing it", process=name)
            process.kill()
            await process.wait()
        except ProcessLookupError:
            pass  # it ended by itself in between
