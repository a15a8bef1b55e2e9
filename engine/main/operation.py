"""How an engine is seen and commanded from outside: its control socket, and the port for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any

from engine.main.signalling import Signalling
from engine.runtime.clock import ClockWatch
from engine.runtime.control.server import ControlServer
from engine.runtime.monitoring.observation import Observation, metrics_server
from engine.runtime.operator import Operator
from engine.runtime.records.record_keeper import RecordKeeper
from engine.runtime.room_watch import RoomWatch
from engine.runtime.switchboard import Switchboard
from engine.settings import Settings
from media.embedded.client import EmbeddedPlane
from sip.endpoint import Endpoint


class Operation:
    """``handed_over`` is set by the command that leaves the calls to the next engine."""

    def __init__(
        self,
        settings: Settings,
        *,
        signalling: Signalling,
        endpoint: Endpoint,
        switchboard: Switchboard,
        keeper: RecordKeeper,
        plane: EmbeddedPlane,
        observation: Observation,
        room: RoomWatch,
        clock_watch: ClockWatch,
        reload: Callable[[], Coroutine[Any, Any, None]],
        started_at_ms: int,
    ) -> None:
        user_agent, controller = signalling.user_agent, signalling.controller
        self.handed_over = asyncio.Event()

        def counters() -> dict[str, int]:
            return {
                **asdict(user_agent.counters),
                **controller.counters,
                **controller.guard.counters,
                "gateway_failovers": controller.gateway_failovers,
                "unsendable": endpoint.unsendable,
                "records_waiting": keeper.waiting,
            }

        metrics = observation.metrics(
            sip=lambda: {**asdict(user_agent.counters), "unsendable": endpoint.unsendable},
            transactions=lambda: user_agent.transactions,
            gauges=lambda: {
                "sip_sessions": len(user_agent.sessions),
                "media_workers": plane.live_workers,
                "records_waiting": keeper.waiting,
                "clock_off_seconds": clock_watch.off_seconds,
                **room.gauges(),
            },
        )
        self._scraped = metrics_server(settings, metrics)
        operator = Operator(
            switchboard=switchboard,
            engine_id=settings.engine_id,
            started_at_ms=started_at_ms,
            reload=reload,
            hand_over=self.handed_over.set,
            counters=counters,
            registered_contacts=lambda: len(controller.registration),
            media_workers=lambda: plane.live_workers,
            read_trace=observation.read_trace,
            metrics=metrics.text,
        )
        self._control = ControlServer(settings.control_socket, operator.answer)

    async def start(self) -> None:
        """Raises OSError where the socket's path or the port is taken."""
        await self._control.start()
        if self._scraped is not None:
            await self._scraped.start()

    async def close(self) -> None:
        await self._control.close()
        if self._scraped is not None:
            await self._scraped.close()
