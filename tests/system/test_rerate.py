"""The command line's rerating, on a database of its own."""

import os
import subprocess
import sys
from pathlib import Path

FROM, TO = "2026-11-01T00:00+08:00", "2026-12-01T00:00+08:00"


def _rerate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine", "rerate", *arguments],
        env=os.environ | {"AXBRIDGE_DATA_FOLDER": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_rerating_without_calls_or_with_no_date_fails_badly(tmp_path: Path) -> None:
    demo = Path(__file__).parents[2] / "conf" / "demo.toml"
    subprocess.run(
        [sys.executable, "-m", "engine", "load", str(demo)],
        env=os.environ | {"AXBRIDGE_DATA_FOLDER": str(tmp_path)},
        check=True,
        capture_output=True,
        timeout=60,
    )
    shown = _rerate(tmp_path, FROM, TO)
    assert (shown.returncode, shown.stdout) == (0, "a preview: nothing was changed\n"), shown.stderr
    assert _rerate(tmp_path, FROM, TO, "--apply", "november").stdout == "applied as november\n"
    wrong = _rerate(tmp_path, "yesterday", TO)
    assert (wrong.returncode, wrong.stderr.startswith("axbridge: no date and time")) == (1, True), wrong.stderr
