"""Starts the processes of one machine, starts again what dies, and ends them all in order."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from engine.runtime.spare import TURN

RESTART_SECONDS_MAX = 10.0
"""Longest wait before a process that keeps dying is started again."""
STEADY_SECONDS = 3.0
"""A process that lived this long has earned an immediate restart: it came up, and calls wait for the next one. With 10
an engine that died every nine seconds was kept from its calls for 1, 2, 4, 8 and 10 of them."""
STOP_SECONDS_MAX = 10.0
"""After that a process that was asked to end is killed."""
SPARE_SECONDS = 2.0
"""How long after a process's start its spare is started, or after that spare's early end the next."""
LOG_OCTETS_MAX = 20 * 1024 * 1024
"""A log that is larger at a process's start is set aside as .old, in place of the one before it."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """A process to keep alive. ``command`` is its argument vector; its output goes to ``<name>.log``.

    With a ``spare_command`` there is a second process, which waits to take the place of one that dies.
    """

    name: str
    command: tuple[str, ...]
    spare_command: tuple[str, ...] | None = None


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
        self._spares: dict[str, Process] = {}
        self._spares_wanted: dict[str, asyncio.Event] = {}
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
                self._spares_wanted[plan.name] = asyncio.Event()
                self._tasks.append(asyncio.create_task(self._keep_spare(plan.name, plan.spare_command)))

    async def stop(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name, spare in self._spares.items():
            await self._end(f"spare {name}", spare)
        for plan in reversed(self._plans):
            process = self._running.get(plan.name)
            if process is not None:
                await self._end(plan.name, process)

    async def _spawn(self, plan: ProcessPlan, *, may_be_spare: bool = True) -> None:
        spare = self._spares.pop(plan.name, None) if may_be_spare else None
        if spare is not None and await _has_taken_over(spare):
            self._running[plan.name] = spare
        else:
            self._running[plan.name] = await self._execute(plan.name, plan.command, asyncio.subprocess.DEVNULL)
        if plan.name in self._spares_wanted and plan.name not in self._spares:
            self._spares_wanted[plan.name].set()

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

    async def _keep_spare(self, name: str, command: tuple[str, ...]) -> None:
        """One at a time, and not while the process that it is for comes up: that has the processor's time first."""
        wanted = self._spares_wanted[name]
        while not self._stopping:
            await asyncio.sleep(SPARE_SECONDS)
            wanted.clear()
            try:
                spare = self._spares[name] = await self._execute(name, command, asyncio.subprocess.PIPE)
            except OSError as error:
                log.error("no spare process can be started", process=name, reason=error.strerror)
                continue
            ended = asyncio.create_task(spare.wait())
            taken = asyncio.create_task(wanted.wait())
            try:
                await asyncio.wait((ended, taken), return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
                taken.cancel()
            if self._spares.get(name) is spare:
                log.error("a spare process ended before it was needed", process=name, exit_code=spare.returncode)
                del self._spares[name]

    async def _keep_alive(self, plan: ProcessPlan) -> None:
        loop = asyncio.get_running_loop()
        pause = RestartPause()
        while not self._stopping:
            started_at = loop.time()
            code = await self._running[plan.name].wait()
            if self._stopping:
                return
            log.error("process ended, starting it again", process=plan.name, exit_code=code)
            lived_seconds = loop.time() - started_at
            await asyncio.sleep(pause.after(lived_seconds))
            if not self._stopping:
                # Nor may spares that cannot serve follow one another.
                await self._spawn(plan, may_be_spare=lived_seconds >= SPARE_SECONDS)

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


async def _has_taken_over(spare: Process) -> bool:
    """Tells a spare that it is its turn. False if it has ended."""
    assert spare.stdin is not None
    if spare.returncode is not None:
        return False
    try:
        spare.stdin.write(TURN)
        await spare.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return False
    spare.stdin.close()
    return True
