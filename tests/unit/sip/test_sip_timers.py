"""The timer queue: what fires, in which order, and what must not."""

from __future__ import annotations

from math import inf

from sip.core.transactions.timers import DELAYS_MAX, TimerQueue


def test_timers_of_different_delays_fire_in_order_of_deadline() -> None:
    queue: TimerQueue[str] = TimerQueue()
    queue.start(4.0, "late", 0, 0.0)
    queue.start(0.5, "early", 0, 1.0)
    queue.start(0.5, "not yet", 0, 9.9)
    assert queue.next_deadline() == 1.5
    assert [timer.target for timer in queue.pop_due(10.0)] == ["early", "late"]
    assert queue.next_deadline() == 10.4


def test_cancelled_timer_neither_fires_nor_wakes_anyone() -> None:
    queue: TimerQueue[str] = TimerQueue()
    first = queue.start(0.5, "cancelled", 0, 0.0)
    queue.start(0.5, "kept", 0, 0.1)
    first.cancel()
    assert queue.next_deadline() == 0.6
    assert [timer.target for timer in queue.pop_due(5.0)] == ["kept"]
    assert queue.next_deadline() is None


def test_more_delays_than_queues_fire_late_and_never_early() -> None:
    queue: TimerQueue[int] = TimerQueue()
    for number in range(DELAYS_MAX + 10):
        queue.start(1.0 + number, number, 0, 0.0)
    fired: list[int] = []
    for second in range(1, DELAYS_MAX + 20):
        for timer in queue.pop_due(float(second)):
            assert timer.deadline <= second
            assert timer.target is not None
            fired.append(timer.target)
    assert sorted(fired) == list(range(DELAYS_MAX + 10))


def test_soonest_is_never_after_the_next_timer_and_exact_after_a_look() -> None:
    queue: TimerQueue[str] = TimerQueue()
    assert queue.soonest == inf
    resend = queue.start(0.5, "resend", 0, 0.0)
    queue.start(32.0, "linger", 0, 0.0)
    assert queue.soonest == 0.5
    resend.cancel()
    assert queue.soonest <= 32.0
    assert queue.pop_due(0.6) == []
    assert queue.soonest == 32.0
    queue.start(4.0, "another", 0, 1.0)
    assert queue.soonest == 5.0, "a later timer of a shorter delay goes before"
    assert [timer.target for timer in queue.pop_due(40.0)] == ["another", "linger"]
    assert queue.soonest == inf
