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

RESTART_SECONDS_MAX = 10.0
"""Longest wait before a process that keeps dying is started again."""
STEADY_SECONDS = 10.0
"""A process that lived this long has earned an immediate restart: it came up, and calls wait for the next one. What
cannot come up at all is dead within seconds."""
STOP_SECONDS_MAX = 10.0
"""After that a process that was asked to end is killed."""
LOG_OCTETS_MAX = 20 * 1024 * 1024
"""A log that is larger at a process's start is set aside as .old, in place of the one before it."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """A process to keep alive. ``command`` is its argument vector; its output goes to ``<name>.log``."""

    name: str
    command: tuple[str, ...]


class Supervisor:
    """Processes start in the order given and stop in the reverse."""

    def __init__(self, plans: Sequence[ProcessPlan], log_folder: Path) -> None:
        self._plans = plans
        self._log_folder = log_folder
        self._running: dict[str, Process] = {}
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

    async def stop(self) -> None:
        self._stopping = True
        for plan in reversed(self._plans):
            process = self._running.get(plan.name)
            if process is not None:
                await self._end(plan.name, process)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _spawn(self, plan: ProcessPlan) -> Process:
        path = self._log_folder / f"{plan.name}.log"
        if path.exists() and path.stat().st_size > LOG_OCTETS_MAX:
            path.replace(path.with_suffix(".log.old"))
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which ends the others in order.
            process = await asyncio.create_subprocess_exec(
                *plan.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            os.close(output)
        self._running[plan.name] = process
        return process

    async def _keep_alive(self, plan: ProcessPlan) -> None:
        loop = asyncio.get_running_loop()
        wait_seconds = 0.0
        while not self._stopping:
            started_at = loop.time()
            code = await self._running[plan.name].wait()
            if self._stopping:
                return
            log.error("process ended, starting it again", process=plan.name, exit_code=code)
            if loop.time() - started_at >= STEADY_SECONDS:
                wait_seconds = 0.0
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(max(0.25, wait_seconds * 2), RESTART_SECONDS_MAX)
            if not self._stopping:
                await self._spawn(plan)

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
