"""A spare process: when it is its turn, when nobody needs it, and when what it has imported is not what is there."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from engine.runtime.processes import spare
from engine.runtime.processes.spare import TURN, is_outdated, modification_times, wait_for_turn


def test_it_is_told_apart_from_the_process_that_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = tmp_path / "comm"
    monkeypatch.setattr(spare, "_NAME_FILE", shown)

    class Orders(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            assert shown.read_text() == "spare engine"
            return super().readline(size)

    assert wait_for_turn(Orders(TURN), "engine")
    assert shown.read_text() == "engine"


def test_the_end_of_its_input_is_not_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "_NAME_FILE", tmp_path / "comm")
    assert not wait_for_turn(io.BytesIO(b""), "engine")


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_an_upgrade_makes_it_outdated(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "part.py"
    path.write_text("version = 1")
    part, built_in = ModuleType("part"), ModuleType("sys")
    part.__file__ = str(path)
    times = modification_times({"part": part, "sys": built_in})
    assert not is_outdated(times)
    if harm == "changed":
        path.write_text("version = 2")
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
    assert is_outdated(times)


@pytest.mark.parametrize("command", [("engine", "engine"), ("admin_api",)])
def test_who_waits_ends_with_its_supervisor_and_has_touched_nothing(tmp_path: Path, command: tuple[str, ...]) -> None:
    config = tmp_path / "axbridge.toml"
    config.write_text(f'data_folder = "{tmp_path}/data"\n')
    done = subprocess.run(
        [sys.executable, "-m", *command, "--spare"],
        env={**os.environ, "AXBRIDGE_CONFIG": str(config)},
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.returncode == 0
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize("command", [("engine", "engine"), ("admin_api",)])
def test_who_waits_is_not_put_off_by_a_configuration_that_is_wrong_just_now(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    config = tmp_path / "axbridge.toml"
    config.write_text("[api]\nport = 'none'\n")
    waits = [sys.executable, "-m", *command, "--spare"]
    environment = {**os.environ, "AXBRIDGE_CONFIG": str(config)}
    unneeded = subprocess.run(waits, env=environment, input=b"", capture_output=True, timeout=60)
    assert unneeded.returncode == 0, unneeded.stderr
    needed = subprocess.run(waits, env=environment, input=TURN, capture_output=True, timeout=60)
    assert needed.returncode != 0
    assert b"port" in needed.stderr, "said when its turn came"
