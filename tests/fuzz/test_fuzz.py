"""The short form of ``scripts/fuzz``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.planted import fault
from tests.fuzz.targets import TARGETS

pytest.importorskip("atheris", reason="atheris has no wheel for this Python or machine")
from tests.fuzz.__main__ import fuzz

SECONDS = 3
COVERAGE_MIN = 60
"""Fewer branches mean that the target's code is not instrumented, and that nothing guides."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_a_peer_sends_raises_anything_else(name: str, tmp_path: Path) -> None:
    result = fuzz(TARGETS[name], name, tmp_path, SECONDS, seed=1)
    assert not result.finding, result
    assert result.runs > 100
    assert result.coverage > COVERAGE_MIN


@pytest.mark.slow
def test_a_fault_is_found(tmp_path: Path) -> None:
    result = fuzz(fault, "planted", tmp_path, 30, seed=1)
    assert result.finding
    assert Path(result.finding).read_bytes().startswith(b"INVITE")
