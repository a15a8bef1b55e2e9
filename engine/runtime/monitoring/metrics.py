"""The engine's figures in Prometheus' text format, put together when somebody asks.

Labels are trunks' codes and words of closed sets; none holds a telephone number, a tenant or a call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.runtime.monitoring.metrics_calls import CallFigures, Histogram, Labels

CONTENT_TYPE = "text/plain; version=0.0.4"
"""Of the text format; in UTF-8."""


@dataclass(frozen=True, slots=True)
class MetricsSources:
    """Where the figures are that somebody else counts; each is asked at the time of the scrape."""

    sip: Callable[[], Mapping[str, int]]
    engine: Callable[[], Mapping[str, int]]
    guard: Callable[[], Mapping[str, int]]
    gauges: Callable[[], Mapping[str, float]]
    """Name without prefix → value."""
    counters: Callable[[], Mapping[str, float]]
    live_calls: Callable[[], Iterable[Labels]]
    """(trunk, state) of each."""
    transactions: Callable[[], tuple[int, int]]
    """As client and as server."""
    gateways: Callable[[], Iterable[tuple[str, str, bool]]]
    """(trunk, host and port, whether up) of each."""
    registrations: Callable[[], Iterable[tuple[str, bool]]]
    """(trunk, whether registered) of each trunk that registers to its carrier."""


class EngineMetrics(Collector):
    def __init__(self, figures: CallFigures, sources: MetricsSources) -> None:
        self._figures = figures
        self._sources = sources
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def text(self) -> str:
        return generate_latest(self._registry).decode()

    def describe(self) -> Iterable[Metric]:
        return ()  # else the registry would collect, at start, from parts that are not there yet

    def collect(self) -> Iterator[Metric]:
        sources, figures = self._sources, self._figures
        yield _events("sip_events", "What happened to SIP messages.", sources.sip())
        yield _events("engine_events", "What happened to calls besides their end.", sources.engine())
        yield _events("guard_events", "What the guard of the SIP port did to strangers.", sources.guard())
        for name, value in sources.gauges().items():
            gauge = GaugeMetricFamily(f"axbridge_{name}", "As it stands.")
            gauge.add_metric([], value)
            yield gauge
        for name, value in sources.counters().items():
            counter = CounterMetricFamily(f"axbridge_{name}", "Since the engine's start.")
            counter.add_metric([], value)
            yield counter
        live_calls = Counter(sources.live_calls())
        yield _standing("calls", "Calls that run.", ("trunk", "state"), live_calls.items())
        yield _standing(
            "sip_transactions",
            "Lingering ones too.",
            ("side",),
            zip((("client",), ("server",)), sources.transactions(), strict=True),
        )
        gateways = (((trunk, place), is_up) for trunk, place, is_up in sources.gateways())
        yield _standing("gateway_up", "1: calls are sent there.", ("trunk", "gateway"), gateways)
        registrations = (((trunk,), is_registered) for trunk, is_registered in sources.registrations())
        yield _standing("trunk_registered", "1: the carrier has our contact.", ("trunk",), registrations)
        by_trunk = ("trunk", "direction")
        yield _counted("calls_ended", "Ended calls.", (*by_trunk, "cause"), figures.ended_calls)
        yield _counted("calls_answered", "Ended calls that were answered.", by_trunk, figures.answered_calls)
        yield _counted("talk_seconds", "Talk time of ended calls.", by_trunk, figures.talk_ms, 1000)
        yield _counted("credit_refusals", "Calls refused or ended for credit.", ("cause",), figures.credit_refusals)
        yield _spread("call_ringing_seconds", "INVITE to ringing.", ("trunk",), figures.ringing_seconds)
        yield _spread("call_answer_seconds", "INVITE to answer.", ("trunk",), figures.answer_seconds)
        by_side = ("trunk", "side")
        yield _counted("media_packets", "RTP packets by side and fate.", (*by_side, "fate"), figures.packets)
        yield _spread("media_jitter_seconds", "Of one side of a call, at its end.", by_side, figures.jitter_seconds)
        yield _spread("media_loss_ratio", "Of one side of a call.", by_side, figures.loss_ratio)
        yield _spread("media_mos", "What was heard of one side (E-model, G.107).", by_side, figures.mos)
        yield _spread("event_loop_lag_seconds", "How late the loop wakes up.", (), figures.loop_lag_seconds)


def _standing(name: str, help_: str, labels: Labels, values: Iterable[tuple[Labels, float]]) -> Metric:
    family = GaugeMetricFamily(f"axbridge_{name}", help_, labels=labels)
    # Two trunks of different carriers may have one code; two samples of one name would spoil the whole scrape.
    for label_values, value in dict(values).items():
        family.add_metric(label_values, value)
    return family


def _events(name: str, help_: str, events: Mapping[str, int]) -> Metric:
    return _counted(name, help_, ("event",), {(event,): count for event, count in events.items()})


def _counted(name: str, help_: str, labels: Labels, counts: Mapping[Labels, int], divisor: int = 1) -> Metric:
    family = CounterMetricFamily(f"axbridge_{name}", help_, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count / divisor)
    return family


def _spread(name: str, help_: str, labels: Labels, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(f"axbridge_{name}", help_, labels=labels)
    for values, buckets, total in histogram.samples():
        family.add_metric(values, buckets, sum_value=total)
    return family
