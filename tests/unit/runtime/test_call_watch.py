"""What is told of an ended call, and when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from engine.b2bua.running_call import CallRecord
from engine.domain.cause import Cause
from engine.domain.cdr import Cdr, CdrState
from engine.domain.lines.routing import Direction
from engine.runtime.monitoring.call_watch import CallWatch
from engine.runtime.monitoring.metrics import EngineMetrics, MetricsSources
from engine.runtime.monitoring.metrics_calls import CallFigures
from engine.runtime.monitoring.trace import TraceBook, TraceLimits
from media import plane

NUMBERS = ("+8613812341234", "+861065500001", "+8613912345678")
GOOD = plane.SideStatistics(packets=500, octets=80_000, jitter_ms=1.0)
BAD = plane.SideStatistics(packets=400, octets=64_000, lost=100, out_of_order=2, duplicates=3, jitter_ms=40.0)


def ended(call_id: str = "call", *, cause: Cause = Cause.NORMAL, answered: bool = True) -> Cdr:
    a, x, b = NUMBERS
    return Cdr(
        id=call_id,
        state=CdrState.ENDED,
        tenant_id=1,
        line_id=3,
        trunk_id=4,
        direction=Direction.A_TO_B,
        a_number=a,
        x_number=x,
        b_number=b,
        started_at_ms=1000,
        ringing_at_ms=1200,
        answered_at_ms=3000 if answered else None,
        ended_at_ms=13_000,
        cause=cause,
    )


@pytest.fixture
def figures() -> CallFigures:
    return CallFigures()


@pytest.fixture
def watch(figures: CallFigures) -> CallWatch:
    return CallWatch(trace=TraceBook(TraceLimits()), figures=figures, trunk_code=lambda trunk_id: f"trunk{trunk_id}")


@pytest.fixture
def told() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def test_a_call_with_media_is_told_once_its_voice_is_known(watch: CallWatch, told: list[Any]) -> None:
    watch.committed([CallRecord(ended())], [plane.Delete(7, "call", 13.0)], 13.0)
    assert not told
    watch.replied(plane.Accepted(6))
    assert not told
    watch.replied(plane.Accepted(7, caller=GOOD, callee=BAD))
    watch.replied(plane.Accepted(7, caller=GOOD, callee=BAD))
    (line,) = told
    assert (line["event"], line["call_id"], line["trunk"], line["cause"]) == ("call ended", "call", "trunk4", "normal")
    assert (line["ringing_after_ms"], line["answered_after_ms"], line["talk_ms"]) == (200, 2000, 10_000)
    assert line["caller_mos"] == pytest.approx(4.41, abs=0.01)
    assert (line["callee_lost"], line["callee_jitter_ms"]) == (100, 40.0)
    assert 2.5 < line["callee_mos"] < 3


def test_the_line_holds_no_number(watch: CallWatch, told: list[Any]) -> None:
    watch.committed([CallRecord(ended())], [], 13.0)
    for number in NUMBERS:
        assert number[3:] not in repr(told)


@pytest.mark.parametrize("reply", [plane.Refused(7, plane.Refusal.UNREACHABLE, ""), plane.Accepted(7)])
def test_a_dead_media_worker_hides_no_call(watch: CallWatch, told: list[Any], reply: plane.Reply) -> None:
    watch.committed([CallRecord(ended())], [plane.Delete(7, "call", 13.0)], 13.0)
    watch.replied(reply)
    assert [line["call_id"] for line in told] == ["call"]
    assert "caller_mos" not in told[0]


def test_a_call_that_began_and_ended_in_one_wake_up_is_told_once(watch: CallWatch, told: list[Any]) -> None:
    cdr = ended(cause=Cause.NO_CREDIT, answered=False)
    watch.committed([CallRecord(cdr), CallRecord(cdr)], [plane.Delete(7, "another", 13.0)], 13.0)
    assert len(told) == 1


def test_a_running_call_is_not_told(watch: CallWatch, told: list[Any], figures: CallFigures) -> None:
    watch.committed([CallRecord(Cdr(id="call", started_at_ms=0))], [plane.Delete(7, "call", 1.0)], 1.0)
    assert not told
    assert not figures.ended_calls


def samples(figures: CallFigures) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    sources = MetricsSources(
        sip=lambda: {"malformed": 3},
        engine=lambda: {"local_faults": 0},
        guard=lambda: {"bans": 2},
        gauges=lambda: {"records_waiting": 5},
        counters=lambda: {"hep_dropped": 6},
        live_calls=lambda: [("trunk4", "talking"), ("trunk4", "talking"), ("trunk4", "ringing")],
        transactions=lambda: (3, 4),
        gateways=lambda: [("trunk4", "10.0.0.1:5060", True), ("trunk4", "10.0.0.2:5060", False)] * 2,
        registrations=lambda: [("trunk4", True)],
    )
    found = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(EngineMetrics(figures, sources).text())
        for sample in family.samples
    ]
    assert len(dict(found)) == len(found), "Prometheus refuses a scrape that says one thing twice"
    return dict(found)


def test_metrics_say_what_happened(watch: CallWatch, figures: CallFigures) -> None:
    watch.committed([CallRecord(ended())], [plane.Delete(7, "call", 13.0)], 13.0)
    watch.replied(plane.Accepted(7, caller=GOOD, callee=BAD))
    watch.committed([CallRecord(ended("second", cause=Cause.NO_CREDIT, answered=False))], [], 13.0)
    figures.loop_lag_seconds.see(0.003)
    found = samples(figures)

    def value(name: str, **labels: str) -> float:
        return found[f"axbridge_{name}", frozenset(labels.items())]

    way = {"trunk": "trunk4", "direction": "a_to_b"}
    assert value("calls_ended_total", **way, cause="normal") == 1
    assert value("calls_ended_total", **way, cause="no_credit") == 1
    assert value("calls_answered_total", **way) == 1
    assert value("talk_seconds_total", **way) == 10.0
    assert value("credit_refusals_total", cause="no_credit") == 1
    assert value("call_answer_seconds_bucket", trunk="trunk4", le="1.0") == 0
    assert value("call_answer_seconds_bucket", trunk="trunk4", le="2.0") == 1
    assert value("call_answer_seconds_count", trunk="trunk4") == 1
    assert value("call_answer_seconds_sum", trunk="trunk4") == 2.0
    assert value("call_ringing_seconds_count", trunk="trunk4") == 2
    callee = {"trunk": "trunk4", "side": "callee"}
    assert value("media_packets_total", **callee, fate="lost") == 100
    assert value("media_packets_total", **callee, fate="received") == 400
    assert value("media_mos_bucket", **callee, le="2.5") == 0
    assert value("media_mos_bucket", **callee, le="3.0") == 1
    assert value("media_mos_bucket", trunk="trunk4", side="caller", le="4.3") == 0
    assert value("media_loss_ratio_count", **callee) == 1
    assert value("sip_events_total", event="malformed") == 3
    assert value("guard_events_total", event="bans") == 2
    assert value("records_waiting") == 5
    assert value("hep_dropped_total") == 6
    assert value("calls", trunk="trunk4", state="talking") == 2
    assert (value("sip_transactions", side="client"), value("sip_transactions", side="server")) == (3, 4)
    assert value("gateway_up", trunk="trunk4", gateway="10.0.0.1:5060") == 1
    assert value("gateway_up", trunk="trunk4", gateway="10.0.0.2:5060") == 0
    assert value("trunk_registered", trunk="trunk4") == 1
    assert value("event_loop_lag_seconds_bucket", le="0.005") == 1
    assert value("event_loop_lag_seconds_bucket", le="0.002") == 0


def test_no_label_holds_a_number(watch: CallWatch, figures: CallFigures) -> None:
    watch.committed([CallRecord(ended())], [], 13.0)
    for number in NUMBERS:
        assert not any(number[3:] in repr(name) for name in samples(figures))
