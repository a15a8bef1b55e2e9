"""What handlers work with: the database, the engine's control interface, the clock, and keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import SkipValidation
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from engine.archive.bucket import Bucket
from engine.payments.notice import Gateway
from engine.runtime.control.client import EngineUnavailable
from engine.runtime.control.protocol import ControlCommand, ControlReply, Reload
from engine.settings import ApiSettings
from engine.store.access.audit import Actor
from engine.store.access.keyring import Keyring
from engine.store.database import reading_session, writing_session
from engine.store.scope import Scope

Row = TypeVar("Row")

RELOAD_SECONDS_MAX = 1.0
"""How long an answer waits for the engine to have the new facts; it polls for them anyway."""


ACTOR: ContextVar[Actor | None] = ContextVar("actor", default=None)
"""Who the request is of: what it writes is in the audit log under his name. Set by the authentication."""


FIRST: ContextVar[tuple[Callable[[AsyncSession], Awaitable[None]], ...]] = ContextVar("first", default=())
"""What the request's headers ask to be done first in each transaction that it writes: an exception undoes it."""
READING: ContextVar[AsyncSession | None] = ContextVar("reading", default=None)
"""The session to read with, where a transaction that is about to write looks at what is there."""


class Control(Protocol):
    """The engine's end, ``engine.runtime.control.client.EngineControl``; tests give another."""

    async def ask(self, command: ControlCommand) -> ControlReply: ...


@dataclass(frozen=True, slots=True)
class Context:
    database: AsyncEngine
    control: Control
    settings: ApiSettings
    realm: str
    """Of softphones' passwords."""
    recordings_folder: Path
    recordings_bucket: Bucket | None
    retention_days: int
    """Of tenants for whom nothing is set; 0: for ever."""
    token_key: bytes = field(repr=False)
    link_key: bytes = field(repr=False)
    webhook_key: bytes = field(repr=False)
    factor_key: bytes = field(repr=False)
    keyring: Keyring
    gateways: Mapping[str, Gateway] = field(repr=False)
    """Of whom payments are taken, by name."""
    now_ms: Callable[[], int]
    new_id: Callable[[], str]

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A session of whoever asks: a tenant's reaches that tenant alone."""
        if (session := READING.get()) is not None:
            return nullcontext(session)
        actor = ACTOR.get()
        return reading_session(self.database, None if actor is None else actor.tenant_id)

    @asynccontextmanager
    async def writing(self, actor: Actor | None = None) -> AsyncIterator[AsyncSession]:
        """A transaction; once it is committed, the engine is told, and given a moment to take the facts in."""
        async with self.writing_quietly(actor) as session:
            yield session
        try:
            async with asyncio.timeout(RELOAD_SECONDS_MAX):
                await self.control.ask(Reload())
        except (EngineUnavailable, TimeoutError):
            return  # it will find the change in the feed when it is back

    @asynccontextmanager
    async def writing_quietly(self, actor: Actor | None = None) -> AsyncIterator[AsyncSession]:
        """A transaction of what no engine holds; ``actor`` where the request has no principal yet."""
        async with writing_session(self.database, self.now_ms(), actor or ACTOR.get()) as session:
            for look in FIRST.get():
                await look(session)
            yield session


# Unchecked, since both come from us; msgspec could not tell the scopes' shapes apart.
GivenContext = NamedDependency[SkipValidation[Context]]
GivenScope = NamedDependency[SkipValidation[Scope]]


def found(row: Row | None, what: str) -> Row:
    """``row``, or a 404 that is the same for what is not there and what is somebody else's."""
    if row is None:
        raise NotFoundException(f"there is no such {what}")
    return row
