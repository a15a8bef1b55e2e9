"""Whether a started system is up, and if not, what it says about it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import func, select

from engine.runtime.control.client import EngineControl, EngineUnavailable
from engine.runtime.control.protocol import HandOver, Health, HealthReport
from engine.settings import Settings
from engine.store.database import open_database, reading
from engine.store.migrations import upgrade
from engine.store.tables import Tenant

READY_SECONDS_MAX = 30.0
LOG_OCTETS_SHOWN = 2000


class NotReady(Exception):
    """Something did not come up in time; the text names it and ends with its log's last lines."""


async def until_ready(settings: Settings) -> None:
    """Returns when engine, all media workers and the API answer. Raises NotReady."""
    missing = "engine"
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            while (found := await _missing(settings)) is not None:
                missing = found
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise NotReady(f"{missing} did not come up:\n{_log_end(settings.data / 'log' / f'{missing}.log')}") from error


async def hand_over(settings: Settings) -> None:
    """Has the engine leave its calls to the next one; returns when that is up. Raises EngineUnavailable, NotReady."""
    control = EngineControl(settings.control_socket)
    before_ms = await _started_at_ms(control)
    await control.ask(HandOver())
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            while await _started_at_ms(control) in (None, before_ms):
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise NotReady(
            f"no engine came up after the one before:\n{_log_end(settings.data / 'log/engine.log')}"
        ) from error


async def _started_at_ms(control: EngineControl) -> int | None:
    try:
        report = await control.ask(Health())
    except EngineUnavailable:
        return None
    return report.started_at_ms if isinstance(report, HealthReport) else None


async def _missing(settings: Settings) -> str | None:
    import httpx  # here: every process of the engine's passes this module at its start

    try:
        report = await EngineControl(settings.control_socket).ask(Health())
    except EngineUnavailable:
        return "engine"
    if isinstance(report, HealthReport) and report.media_workers < settings.media.workers:
        return "media-0"
    try:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://{settings.api.host}:{settings.api.port}/health")
    except httpx.HTTPError:
        return "api"
    return None if answer.is_success else "api"


def _log_end(path: Path) -> str:
    try:
        return path.read_bytes()[-LOG_OCTETS_SHOWN:].decode(errors="replace")
    except OSError as error:
        return f"({path}: {error.strerror})"


async def has_tenants(settings: Settings) -> bool:
    """False for a database that nobody has put anything into; it is made where there is none."""
    await upgrade(settings.database_url)
    database = open_database(settings.database_url)
    try:
        async with reading(database) as connection:
            return bool(await connection.scalar(select(func.count()).select_from(Tenant)))
    finally:
        await database.dispose()
