"""The supervisor's spare processes: whoever dies is replaced by one that has been waiting."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.runtime.processes import reserve as module
from engine.runtime.processes.supervisor import ProcessPlan, RestartPause, Supervisor

SERVES = "import time; print('began fresh', flush=True); time.sleep(60)"
WAITS = (
    "import sys, time; line = sys.stdin.readline(); print('was told', repr(line), flush=True); line and time.sleep(60)"
)
WAITS_IN_VAIN = "import sys; sys.stdin.readline() and print('fails', flush=True)"
DIES_EARLY = "raise SystemExit(3)"
PATIENCE_SECONDS = 10.0


@pytest.fixture(autouse=True)
def spares_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPARE_SECONDS", 0.05)


@asynccontextmanager
async def supervised(folder: Path, spare: str, spares: int = 1) -> AsyncIterator[Supervisor]:
    plan = ProcessPlan("thing", (sys.executable, "-c", SERVES), (sys.executable, "-c", spare), spares)
    made = Supervisor([plan], folder)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def spares_of(made: Supervisor) -> list[int]:
    return made._reserves["thing"].process_ids


def log_of(folder: Path) -> list[str]:
    path = folder / "thing.log"
    return path.read_text().splitlines() if path.exists() else []


async def test_who_dies_is_replaced_by_the_spare_and_another_spare_comes(tmp_path: Path) -> None:
    async with supervised(tmp_path, WAITS) as made:
        await until(lambda: spares_of(made) and log_of(tmp_path))
        (spare,) = spares_of(made)
        os.kill(made.process_ids["thing"], signal.SIGKILL)
        await until(lambda: made.process_ids["thing"] == spare)
        await until(lambda: len(log_of(tmp_path)) == 2)
        assert log_of(tmp_path) == ["began fresh", r"was told 'serve\n'"]
        await until(lambda: spares_of(made))
        (second,) = spares_of(made)
        os.kill(spare, signal.SIGKILL)
        await until(lambda: made.process_ids["thing"] == second)


async def test_a_spare_that_has_died_is_not_waited_for(tmp_path: Path) -> None:
    async with supervised(tmp_path, WAITS) as made:
        await until(lambda: spares_of(made) and log_of(tmp_path))
        first = made.process_ids["thing"]
        os.kill(spares_of(made)[0], signal.SIGKILL)
        os.kill(first, signal.SIGKILL)
        await until(lambda: made.process_ids["thing"] != first)
        await until(lambda: len(log_of(tmp_path)) == 2)
        # The spare's death may be known by then or not: a fresh one, or the next spare.
        assert log_of(tmp_path)[1] in ("began fresh", r"was told 'serve\n'")


@pytest.mark.slow
async def test_a_spare_that_cannot_start_keeps_nobody_from_being_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPARE_SECONDS", 0.5)  # longer than such a spare lives
    async with supervised(tmp_path, DIES_EARLY) as made:
        for deaths in range(1, 3):
            await until(lambda count=deaths: len(log_of(tmp_path)) == count and spares_of(made))
            os.kill(made.process_ids["thing"], signal.SIGKILL)
            await until(lambda count=deaths: len(log_of(tmp_path)) == count + 1)
        assert set(log_of(tmp_path)) == {"began fresh"}


def test_who_has_come_up_waits_for_nothing_however_often_he_dies() -> None:
    """Chaos killed an engine every ten seconds or so, and its calls were without one for up to eleven."""
    pause = RestartPause()
    assert [pause.after(lived) for lived in (60.0, 7.0, 9.9, 4.0, 8.0, 3.0)] == [0.0] * 6


def test_who_cannot_come_up_is_started_less_and_less_often() -> None:
    pause = RestartPause()
    assert [pause.after(0.5) for _ in range(9)] == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert pause.after(5.0) == 0.0


async def test_spares_end_with_their_supervisor(tmp_path: Path) -> None:
    async with supervised(tmp_path, WAITS, spares=2) as made:
        await until(lambda: len(spares_of(made)) == 2)
        spares = spares_of(made)
    for spare in spares:
        with pytest.raises(ProcessLookupError):
            os.kill(spare, 0)


async def test_who_dies_while_it_takes_over_is_replaced_as_fast(tmp_path: Path) -> None:
    """Killed twice within a second, an engine left its calls alone for as long as Python's imports take."""
    async with supervised(tmp_path, WAITS, spares=2) as made:
        await until(lambda: len(spares_of(made)) == 2 and log_of(tmp_path))
        for spare in spares_of(made):
            os.kill(made.process_ids["thing"], signal.SIGKILL)
            await until(lambda pid=spare: made.process_ids["thing"] == pid)
        await until(lambda: len(log_of(tmp_path)) == 3)
        assert log_of(tmp_path) == ["began fresh", *[r"was told 'serve\n'"] * 2]


async def test_what_kills_one_spare_after_the_other_is_tried_without(tmp_path: Path) -> None:
    async with supervised(tmp_path, WAITS_IN_VAIN, spares=3) as made:
        await until(lambda: len(spares_of(made)) == 3 and log_of(tmp_path))
        os.kill(made.process_ids["thing"], signal.SIGKILL)
        await until(lambda: log_of(tmp_path).count("began fresh") == 2)
        assert log_of(tmp_path) == ["began fresh", "fails", "fails", "began fresh"]
