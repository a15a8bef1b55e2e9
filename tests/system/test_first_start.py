"""The product as a newcomer starts it: an empty folder, one command, a recorded call, Ctrl-C."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.system.conftest import ROOT, Started

FIRST_START_SECONDS_MAX = 60.0
SECOND_START_SECONDS_MAX = 60.0
SPARES_SECONDS_MAX = 10.0
PROCESSES = 8
"""Two media workers, the engine and its two spares, the API and its spare, the archive."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def children_of(pid: int) -> set[int]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.add(int(path.parent.name))
    return found


def test_one_command_leads_to_a_recorded_call_and_ctrl_c_ends_it_all(
    demo: Path, environment: dict[str, str], tmp_path: Path, starts: list[Started]
) -> None:
    started = Started(demo, environment, tmp_path)
    starts.append(started)
    shown = started.wait_for("axbridge is up", FIRST_START_SECONDS_MAX)
    for words in ("/schema", "softphone1001", "INVITE", "180 Ringing", "BYE", "ended, normal", "¥0.12 for 60 s"):
        assert words in shown
    deadline = time.monotonic() + SPARES_SECONDS_MAX
    while len(children := children_of(started.process.pid)) < PROCESSES and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(children) == PROCESSES

    path = Path(re.search(r"Recording\s+(\S+\.wav)", shown)[1])  # type: ignore[index]  # None fails the test as well
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2).astype(float)
    for channel, name in enumerate(("agent", "customer")):
        with wave.open(str(ROOT / f"engine/demo/speech_{name}.wav")) as file:
            spoken = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
        assert likeness(samples[:, channel], spoken) > 0.99, f"the {name} is not to be heard on channel {channel}"

    # The agent's number is not in what anybody logged.
    logged = "".join(log.read_text() for log in (tmp_path / "data/log").glob("*.log"))
    assert "13800138001" not in logged
    assert "13900139001" not in logged
    assert "Traceback" not in logged

    assert started.interrupt() == 0
    time.sleep(0.2)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]

    again = Started(demo, environment, tmp_path)
    starts.append(again)
    shown = again.wait_for("axbridge is up", SECOND_START_SECONDS_MAX)
    assert "A demo call" not in shown, "only an empty database gets one"
    placed = subprocess.run(
        [sys.executable, "-m", "engine", "demo", str(demo)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert placed.returncode == 0, placed.stderr
    assert "ended, normal" in placed.stdout
    assert again.interrupt() == 0


def likeness(heard: np.ndarray, spoken: np.ndarray) -> float:
    """The correlation where ``spoken`` fits best into ``heard``; it may have begun just before the recording did."""
    heard = np.concatenate((np.zeros(800), heard))
    size = len(heard) + len(spoken)
    correlation = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(spoken, size)), size)
    start = int(np.argmax(correlation[: len(heard)]))
    piece = heard[start : start + len(spoken)]
    return float(np.corrcoef(piece, spoken[: len(piece)])[0, 1])


def test_a_taken_port_is_named_and_nothing_is_left_running(
    demo: Path, environment: dict[str, str], tmp_path: Path, starts: list[Started]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(("127.0.0.1", int(environment["AXBRIDGE_SIP__PORT"])))
        started = Started(demo, environment, tmp_path)
        starts.append(started)
        assert started.process.wait(60) == 1
    assert "engine did not come up" in started.output()
    assert "in use" in started.output()
    assert "Traceback" not in started.output()


def test_a_wrong_configuration_is_refused_by_name(tmp_path: Path) -> None:
    config = tmp_path / "axbridge.toml"
    config.write_text("[sip]\nport = 70000\n")
    done = subprocess.run(
        [sys.executable, "-m", "engine", "serve", "-c", str(config)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert str(config) in done.stderr
    assert "$.sip.port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "engine", "media", "api", "load", "status", "demo"])
def test_every_command_explains_itself(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "engine", command, "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    assert "Usage" in done.stdout


def test_what_the_readme_names_is_there() -> None:
    for name in ("README.md", "README.zh-CN.md", "docs/architecture.md"):
        path = ROOT / name
        text = path.read_text()
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            if not link.startswith("http"):
                assert (path.parent / link).exists(), f"{name} leads to {link}"
        for script in re.findall(r"\./(scripts/\w+)", text):
            assert os.access(ROOT / script, os.X_OK), f"{name} names {script}"
