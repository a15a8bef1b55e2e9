"""What an engine loads before it takes up the calls of the one before, which wait for it."""

from __future__ import annotations

import subprocess
import sys

NEEDED_BY_OTHERS = ("alembic", "dns", "httpx", "litestar", "numpy")


def test_the_engine_loads_nothing_that_only_other_processes_need() -> None:
    script = "import sys, engine.cli, engine.main; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "engine.runtime.switchboard" in loaded
    assert [name for name in NEEDED_BY_OTHERS if name in loaded] == []
