"""The spare processes that wait to take one's place when it dies (ADR 16); the supervisor's side of them."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable

import structlog

from engine.runtime.processes.spare import TURN

SPARE_SECONDS = 2.0
"""How long after a process's start a spare is started, or after a spare's start or early end the next."""

log = structlog.get_logger()


class Reserve:
    """Keeps ``count`` spares of one process, which ``execute`` starts with a pipe for their standard input."""

    def __init__(self, name: str, execute: Callable[[], Awaitable[Process]], count: int) -> None:
        self._name = name
        self._execute = execute
        self._count = count
        self._waiting: dict[Process, asyncio.Task[None]] = {}
        """The oldest first, which has imported most."""
        self._missing = asyncio.Event()

    @property
    def process_ids(self) -> list[int]:
        return [spare.pid for spare in self._waiting]

    async def keep(self) -> None:
        """Runs until cancelled. One at a time, and not while a process that took over comes up: that has the
        processor's time first."""
        while True:
            await asyncio.sleep(SPARE_SECONDS)
            if len(self._waiting) >= self._count:
                self._missing.clear()
                await self._missing.wait()
                continue
            try:
                spare = await self._execute()
            except OSError as error:
                log.error("no spare process can be started", process=self._name, reason=error.strerror)
                continue
            self._waiting[spare] = asyncio.create_task(self._watch(spare))

    async def take(self) -> Process | None:
        """The one that serves from now on; None where none is left."""
        while self._waiting:
            spare = next(iter(self._waiting))
            self._waiting.pop(spare).cancel()
            self._missing.set()
            if await _has_taken_over(spare):
                return spare
        return None

    def dismiss(self) -> list[Process]:
        """Lets go of all, for their end."""
        spares = list(self._waiting)
        for watch in self._waiting.values():
            watch.cancel()
        self._waiting.clear()
        return spares

    async def _watch(self, spare: Process) -> None:
        code = await spare.wait()
        log.error("a spare process ended before it was needed", process=self._name, exit_code=code)
        del self._waiting[spare]
        self._missing.set()


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
