"""The short form of ``scripts/chaos``: ten rounds, each fault but two."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

ROUNDS = 10


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
    for harm in ("cdrs_missing", "cdrs_doubled", "money_off_micro", "cut_in_spite_of_credit"):
        assert result[harm] == 0, done.stderr + done.stdout
    if done.returncode:  # known, and not understood yet: a call in a hundred, its recording, a leg left over
        pytest.xfail(f"records and money are right, but not all calls were kept: {result}")
