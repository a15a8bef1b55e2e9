"""The short form of ``scripts/chaos``: ten rounds of as many faults."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

ROUNDS = 10
HARMS = (
    "cdrs_missing",
    "cdrs_doubled",
    "money_off_micro",
    "cut_in_spite_of_credit",
    "recordings_unreadable",
    "leaked",
    "notices_unheard",
)


@pytest.mark.sipp
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("database", "seed"), [("postgresql", 3)])
def test_nothing_is_lost_whatever_dies(database: str, seed: int) -> None:
    if shutil.which("sipp") is None:
        pytest.fail("SIPp is not installed: apt-get install sip-tester")
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--rounds", str(ROUNDS), "--seed", str(seed), "--database", database,
         "--talk-seconds-max", "15", "--calls-per-second", "5"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip(), done.stderr[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["rounds"] == ROUNDS
    assert result["calls"] > 200
    assert result["answered"] > result["calls_talking_at_engine_kills"] > 20
    assert result["calls_kept_ratio"] == 1.0, done.stderr + done.stdout
    for harm in HARMS:
        assert result[harm] == 0, done.stderr + done.stdout
    assert done.returncode == 0, done.stderr + done.stdout
