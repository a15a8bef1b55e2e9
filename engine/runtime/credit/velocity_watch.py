"""Looks every few seconds at how fast tenants and agents call and spend, and raises the alarm: ADR 18."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.domain.money.spend_cap import SpendBook, Spender
from engine.domain.money.velocity import Excess, Velocity, VelocityBook, too_fast, usual_of
from engine.store.database import reading, uninterrupted, writing, writing_session
from engine.store.money.velocity_store import raise_alarm, raise_peaks, read_peaks, share_windows

LOOK_SECONDS = 5.0
RAISED_AGAIN_MS = 60_000
"""Who goes on being too fast is not asked of the database at each look whether his alarm is open yet."""

log = structlog.get_logger()


class VelocityWatch:
    """Of one engine. What it remembers is bounded by those who called within a window."""

    def __init__(
        self,
        database: AsyncEngine,
        engine_id: str,
        book: VelocityBook,
        spending: SpendBook,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._engine_id = engine_id
        self._book = book
        self._spending = spending
        self._now_ms = now_ms
        self._usual: dict[Spender, tuple[int, Velocity | None]] = {}
        """With the start of the day that it is for."""
        self._peaks: dict[Spender, tuple[int, Velocity]] = {}
        """As they are in the database, by us at least."""
        self._raised: dict[Spender, int] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await uninterrupted(self.look())

    async def look(self) -> None:
        """With the database away no alarm is raised; calls are bounded by their credit and limits as ever."""
        now_ms = self._now_ms()
        windows = self._book.windows(now_ms)
        if not windows:
            self._usual, self._peaks, self._raised = {}, {}, {}
            return
        days = {spender: self._spending.day_start_ms(spender.tenant_id, now_ms) for spender in windows}
        try:
            async with writing(self._database) as connection:
                total = await share_windows(connection, self._engine_id, windows, now_ms)
                higher = self._higher(total, days)
                await raise_peaks(connection, higher)
            self._peaks = {spender: peak for spender, peak in (self._peaks | higher).items() if spender in windows}
            await self._learn(days)
            usual = {spender: known for spender, (_, known) in self._usual.items()}
            for spender, excess in too_fast(total, self._spending.rules, usual).items():
                await self._raise(spender, excess, now_ms)
        except (SQLAlchemyError, OSError) as error:
            log.error("calls' velocity not looked at", error=type(error).__name__)

    def _higher(
        self, total: Mapping[Spender, Velocity], days: Mapping[Spender, int]
    ) -> dict[Spender, tuple[int, Velocity]]:
        """The windows that are faster than any of their day that we know of."""
        found = {}
        for spender, velocity in total.items():
            day, peak = self._peaks.get(spender, (0, Velocity()))
            if day != days[spender]:
                peak = Velocity()
            if (highest := peak.highest(velocity)) != peak:
                found[spender] = (days[spender], highest)
        return found

    async def _learn(self, days: Mapping[Spender, int]) -> None:
        """Reads what is usual, once a day for each."""
        self._usual = {spender: known for spender, known in self._usual.items() if days.get(spender) == known[0]}
        new = {spender: day for spender, day in days.items() if spender not in self._usual}
        if not new:
            return
        async with reading(self._database) as connection:
            for spender, peaks in (await read_peaks(connection, new)).items():
                self._usual[spender] = (new[spender], usual_of(peaks))

    async def _raise(self, spender: Spender, excess: Excess, now_ms: int) -> None:
        if now_ms - self._raised.get(spender, -RAISED_AGAIN_MS) < RAISED_AGAIN_MS:
            return
        rules = self._spending.rules.get(spender.tenant_id)
        stops_calls = rules is not None and rules.velocity_stops_calls
        async with writing_session(self._database, now_ms) as session:
            alarm = await raise_alarm(session, spender, excess, stops_calls=stops_calls, now_ms=now_ms)
            alarm_id = None if alarm is None else alarm.id
        self._raised[spender] = now_ms
        if alarm_id is not None:
            log.warning(
                "velocity alarm",
                alarm_id=alarm_id,
                tenant_id=spender.tenant_id,
                agent_id=spender.agent_id,
                measure=excess.measure.value,
                stops_calls=stops_calls,
            )
