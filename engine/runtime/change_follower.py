"""Keeps the engine's directory in step with the database, by the change feed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.facts import Facts
from engine.store.access.keyring import Keyring
from engine.store.database import reading
from engine.store.directory_reader import ChangesPruned, read_all, read_changes

log = structlog.get_logger()


class ChangeFollower:
    """Reads what changed at each tick, and at once when ``follow`` is called; the directory never waits for it."""

    def __init__(
        self,
        database: AsyncEngine,
        *,
        poll_seconds: float,
        apply: Callable[[Iterable[Facts]], None],
        remove: Callable[[str, str], None],
        keyring: Keyring | None = None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._poll_seconds = poll_seconds
        self._apply = apply
        self._remove = remove
        self._newest = 0
        self._reading = asyncio.Lock()

    async def start(self) -> None:
        """Reads everything. Raises SQLAlchemyError: without facts an engine can carry no call."""
        async with reading(self._database) as connection:
            self._newest, facts = await read_all(connection, self._keyring)
        self._apply(facts)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            await self.follow()

    async def follow(self) -> None:
        """Reads until nothing new is there. With the database away the engine goes on with what it knows."""
        async with self._reading:
            try:
                while await self._read_on():
                    pass
            except (SQLAlchemyError, OSError) as error:
                log.error("change feed not read", error=type(error).__name__)

    async def _read_on(self) -> bool:
        try:
            async with reading(self._database) as connection:
                newest, facts, removed = await read_changes(connection, self._newest, self._keyring)
        except ChangesPruned:
            await self.start()
            return False
        if newest == self._newest:
            return False
        # What is gone goes first: a new binding may stand in an ended one's place.
        for entity, entity_id in removed:
            self._remove(entity, entity_id)
        self._apply(facts)
        self._newest = newest
        return True
