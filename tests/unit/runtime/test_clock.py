"""The engine's time through engines' deaths and clocks that are set."""

from __future__ import annotations

import time

import pytest

from engine.runtime.clock import ClockSetting, ClockWatch, SteadyClock
from engine.runtime.records.call_journal import ProofOfLife, encode
from engine.runtime.records.recovery import recover

REAL = time.time() - time.monotonic()
BOOT = "e2b5"


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """By how much the machine's clock is ahead, to be changed."""
    ahead = [0.0]
    monkeypatch.setattr("engine.runtime.clock.time.time", lambda: time.monotonic() + REAL + ahead[0])
    return ahead


def alive_at_ms() -> int:
    return int((time.monotonic() + REAL - 1.0) * 1000)


@pytest.mark.parametrize("step_seconds", [300.0, -300.0])
def test_calls_go_on_by_the_clock_that_they_began_with(wall: list[float], step_seconds: float) -> None:
    """A minute's call, whose engine dies after somebody has set the clock, must not cost six or none."""
    setting = SteadyClock.as_it_was(None, 0, BOOT).setting(BOOT)
    wall[0] = step_seconds
    clock = SteadyClock.as_it_was(setting, alive_at_ms(), BOOT)
    assert clock.now() == pytest.approx(time.monotonic() + REAL, abs=0.1)


def test_after_a_power_cut_there_is_only_the_wall_clock(wall: list[float]) -> None:
    setting = ClockSetting("another boot", REAL - 5000)
    assert SteadyClock.as_it_was(setting, alive_at_ms(), BOOT).now() == pytest.approx(time.time(), abs=0.1)
    assert SteadyClock.as_it_was(setting, alive_at_ms(), "").now() == pytest.approx(time.time(), abs=0.1)


def test_no_time_comes_twice_because_the_clock_was_set_back(wall: list[float]) -> None:
    wall[0] = -300.0
    assert SteadyClock.as_it_was(None, alive_at_ms(), BOOT).now() >= alive_at_ms() / 1000


def test_a_monotonic_clock_that_counts_from_elsewhere_is_not_gone_on_with(wall: list[float]) -> None:
    setting = ClockSetting(BOOT, REAL - 5000)
    assert SteadyClock.as_it_was(setting, alive_at_ms(), BOOT).now() == pytest.approx(time.time(), abs=0.1)


def test_the_journal_says_by_which_clock_its_times_are() -> None:
    first, last = ClockSetting(BOOT, 1.5), ClockSetting(BOOT, 2.5)
    recovered = recover(map(encode, [first, ProofOfLife(7000), last]))
    assert (recovered.clock, recovered.goes_on) == (last, False)


def test_a_clock_that_was_set_is_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    wall = [1000.0]
    watch = ClockWatch(now=lambda: 1000.0, wall=lambda: wall[0])
    said = []
    for now in (1000.5, 1300.0, 1300.4, 1000.0):
        wall[0] = now
        watch.look()
        said.append(capsys.readouterr().out)
    assert ["clock was set" in text for text in said] == [False, True, False, False]
    assert "ours again" in said[3]
    assert watch.off_seconds == 0.0
