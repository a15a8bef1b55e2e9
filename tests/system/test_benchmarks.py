"""Each benchmark runs and tells what it promises to; how fast anything is, no test says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks.charging import journal_of, replay


def told(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize(
    ("arguments", "figures"),
    [
        (("parse", "--messages", "300", "--runs", "1"), ("messages_per_second",)),
        (("registrations", "--phones", "500"), ("register_us", "refresh_us")),
        (("path", "--calls", "100", "--rounds", "1", "--count"), ("us_per_call", "functions_per_call")),
    ],
)
def test_benchmark_without_processes(arguments: tuple[str, ...], figures: tuple[str, ...]) -> None:
    result = told(f"scripts.benchmarks.{arguments[0]}", *arguments[1:], "--json")
    assert [name for name in figures if not result[name] > 0] == []


def test_benchmark_of_the_replacement_of_numbers() -> None:
    result = told("scripts.benchmarks.numbers", "--histories", "2", "--days", "20", "--json")
    assert result["our rule"]["calls"] == result["chance"]["calls"] > 0
    assert 0 < result["our rule"]["answer_rate"] < 1


@pytest.mark.slow
def test_benchmark_of_the_media() -> None:
    if shutil.which("cc") is None:
        pytest.fail("there is no C compiler for the generator: apt-get install gcc libc6-dev")
    (level,) = told("scripts.benchmarks.media", "--calls", "3", "--seconds", "1", "--rounds", "1", "--json")["levels"]
    assert level["recordings_ok"] == 3
    assert level["cpu_us_per_packet"] > 0


@pytest.mark.sipp
@pytest.mark.slow
def test_benchmark_of_the_recovery() -> None:
    if shutil.which("sipp") is None:
        pytest.fail("SIPp is not installed: apt-get install sip-tester")
    result = told("scripts.benchmarks.recovery", "--calls", "5", "--runs", "1", "--json")
    assert result["recovery_seconds_max"] > 0


def test_the_journal_of_the_benchmark_is_one_that_an_engine_reads(tmp_path: Path) -> None:
    """It was not, once a call's record had got a tariff in place of its rate."""
    assert journal_of(tmp_path, 1200) > 0
    _, waiting = replay(tmp_path)
    assert waiting == 1000
