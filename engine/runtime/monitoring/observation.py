"""What looks at a running engine, put together: traces, export to Homer, figures and the log's line for each call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from engine.b2bua.controller import Controller
from engine.runtime.control.protocol import CallTrace, TraceMessage
from engine.runtime.monitoring.call_watch import CallWatch
from engine.runtime.monitoring.hep import Address, HepExporter
from engine.runtime.monitoring.metrics import EngineMetrics, MetricsSources
from engine.runtime.monitoring.metrics_calls import CallFigures, Labels
from engine.runtime.monitoring.metrics_server import MetricsServer
from engine.runtime.monitoring.trace import TraceBook, TraceLimits
from engine.runtime.monitoring.trace_masking import first_line, masked_message, without_secrets
from engine.settings import Settings
from sip.core.hop import Hop, bracketed

LAG_PROBE_SECONDS = 0.5

Observe = Callable[[bytes, Hop, float, bool], None]


class Observation:
    """``own_address(host)`` is ours towards a peer. Raises OSError or ValueError where Homer cannot be reached."""

    def __init__(
        self,
        settings: Settings,
        controller: Controller,
        *,
        own_address: Callable[[str], Address],
        now: Callable[[], float],
    ) -> None:
        self._controller = controller
        self._now = now
        trace = settings.trace
        self.trace: TraceBook | None = None
        if trace.enabled:
            limits = TraceLimits(trace.calls_max, trace.messages_per_call_max, trace.octets_max, trace.kept_seconds)
            self.trace = TraceBook(limits)
            controller.leg_made = self.trace.leg_made
        book = self.trace
        self._hep: HepExporter | None = None
        if trace.hep_host:
            self._hep = HepExporter(
                (trace.hep_host, trace.hep_port),
                capture_id=trace.hep_capture_id,
                own_address=own_address,
                call_of=book.call_of if book is not None else lambda data: "",
                dress=without_secrets if trace.hep_numbers == "full" else lambda data: masked_message(data).encode(),
            )
        self.figures = CallFigures()
        self.watch = CallWatch(trace=self.trace, figures=self.figures, trunk_code=self._trunk_code)

    @property
    def observe(self) -> Observe | None:
        """For the SIP endpoint; None where nobody wants to see messages."""
        trace, hep = self.trace, self._hep
        if trace is None or hep is None:
            return trace.observe if trace is not None else hep.observe if hep is not None else None
        book, exporter = trace, hep

        def both(data: bytes, hop: Hop, now: float, sent: bool) -> None:
            book.observe(data, hop, now, sent)
            exporter.observe(data, hop, now, sent)

        return both

    def jobs(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside the calls, until cancelled."""
        jobs: dict[str, Coroutine[Any, Any, None]] = {"lag": self._probe_lag()}
        if self._hep is not None:
            jobs["hep"] = self._hep.run()
        return jobs

    def close(self) -> None:
        if self._hep is not None:
            self._hep.close()

    def read_trace(self, call_id: str) -> CallTrace:
        found = self.trace.read(call_id, self._now()) if self.trace is not None else None
        if found is None:
            return CallTrace(None)
        messages = []
        for message in found.messages:
            text = masked_message(message.data)
            messages.append(
                TraceMessage(
                    at_us=round(message.at * 1e6),
                    sent=message.sent,
                    peer=f"{message.hop.transport}:{bracketed(message.hop.host)}:{message.hop.port}",
                    leg=message.leg,
                    first_line=first_line(text),
                    text=text,
                )
            )
        return CallTrace(messages, found.left_out)

    def metrics(
        self,
        *,
        sip: Callable[[], Mapping[str, int]],
        transactions: Callable[[], tuple[int, int]],
        gauges: Callable[[], Mapping[str, float]],
    ) -> EngineMetrics:
        """``sip`` are counts of messages, ``gauges`` what stands; the rest is known here."""
        controller = self._controller

        def all_gauges() -> dict[str, float]:
            book = self.trace
            trace = {"trace_calls": len(book), "trace_octets": book.octets} if book is not None else {}
            return {"registered_contacts": len(controller.registration), **trace, **gauges()}

        def all_counters() -> dict[str, float]:
            found: dict[str, float] = {}
            if self.trace is not None:
                found["trace_evicted_calls"] = self.trace.evicted
            if self._hep is not None:
                found |= {"hep_sent": self._hep.sent, "hep_dropped": self._hep.dropped}
            return found

        sources = MetricsSources(
            sip=sip,
            engine=lambda: controller.counters,
            guard=lambda: controller.guard.counters,
            gauges=all_gauges,
            counters=all_counters,
            live_calls=self._live_calls,
            transactions=transactions,
            gateways=self._gateways,
            registrations=self._registrations,
        )
        return EngineMetrics(self.figures, sources)

    def _live_calls(self) -> Iterator[Labels]:
        for active in self._controller.calls.values():
            yield active.route.trunk.code, active.call.state.value

    def _gateways(self) -> Iterator[tuple[str, str, bool]]:
        for trunk, gateway, is_up in self._controller.trunk_watch.gateway_states(self._now()):
            yield trunk.code, f"{bracketed(gateway.host)}:{gateway.port}", is_up

    def _registrations(self) -> Iterator[tuple[str, bool]]:
        for trunk in self._controller.directory.trunks.values():
            if trunk.registration is not None and trunk.status == "active":
                yield trunk.code, self._controller.trunk_watch.is_registered(trunk.id, self._now())

    def _trunk_code(self, trunk_id: int | None) -> str:
        trunk = self._controller.directory.trunks.get(trunk_id) if trunk_id is not None else None
        return trunk.code if trunk is not None else ""

    async def _probe_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PROBE_SECONDS
            await asyncio.sleep(LAG_PROBE_SECONDS)
            self.figures.loop_lag_seconds.see(max(0.0, loop.time() - due))
            if self.trace is not None:
                self.trace.expire(self._now())


def metrics_server(settings: Settings, metrics: EngineMetrics) -> MetricsServer | None:
    """The port for Prometheus, where one is wanted."""
    if settings.metrics.port == 0:
        return None
    return MetricsServer(settings.metrics.host, settings.metrics.port, metrics.text)
