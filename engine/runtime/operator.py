"""Answers the engine's control interface."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from engine.runtime.control.protocol import (
    Calls,
    CallsCut,
    CallTrace,
    ControlCommand,
    ControlReply,
    CutCalls,
    Done,
    HandOver,
    HangUp,
    Health,
    HealthReport,
    ListCalls,
    Metrics,
    ReadMetrics,
    ReadTrace,
    Reload,
)
from engine.runtime.switchboard import Switchboard


class Operator:
    """What an operator may ask of the running engine, through the API or the command line."""

    def __init__(
        self,
        *,
        switchboard: Switchboard,
        engine_id: str,
        started_at_ms: int,
        reload: Callable[[], Awaitable[None]],
        hand_over: Callable[[], None],
        counters: Callable[[], dict[str, int]],
        registered_contacts: Callable[[], int],
        media_workers: Callable[[], int],
        read_trace: Callable[[str], CallTrace],
        metrics: Callable[[], str],
    ) -> None:
        self._switchboard = switchboard
        self._engine_id = engine_id
        self._started_at_ms = started_at_ms
        self._reload = reload
        self._hand_over = hand_over
        self._counters = counters
        self._registered_contacts = registered_contacts
        self._media_workers = media_workers
        self._read_trace = read_trace
        self._metrics = metrics

    async def answer(self, command: ControlCommand) -> ControlReply:
        match command:
            case ListCalls():
                return Calls(self._switchboard.live_calls(command.tenant_id))
            case HangUp():
                return Done(self._switchboard.hang_up(command))
            case CutCalls():
                return CallsCut(self._switchboard.cut_calls(command))
            case Reload():
                await self._reload()
                return Done()
            case HandOver():
                self._hand_over()
                return Done()
            case Health():
                return HealthReport(
                    engine_id=self._engine_id,
                    calls=len(self._switchboard.controller.calls),
                    registered_contacts=self._registered_contacts(),
                    media_workers=self._media_workers(),
                    started_at_ms=self._started_at_ms,
                    counters=self._counters(),
                )
            case ReadTrace():
                return self._read_trace(command.call_id)
            case ReadMetrics():
                return Metrics(self._metrics())
