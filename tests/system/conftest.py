"""A whole running system on free ports, for tests that want all its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.benchmarks.installation import free_udp_port

ROOT = Path(__file__).parents[2]
STOP_SECONDS_MAX = 20.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AXBRIDGE_DATA_FOLDER": str(tmp_path / "data"),
        "AXBRIDGE_SIP__PORT": str(free_udp_port("127.0.0.1")),
        "AXBRIDGE_API__PORT": str(free_udp_port("127.0.0.1")),
        "AXBRIDGE_MEDIA__PORT_MIN": "28000",
        "AXBRIDGE_MEDIA__PORT_MAX": "28999",
        "COLUMNS": "200",
    }


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo's provisioning with a trunk port that is free here."""
    text = (ROOT / "conf/demo.toml").read_text()
    path = tmp_path / "demo.toml"
    path.write_text(text.replace("5090", str(free_udp_port("127.0.0.1"))))
    return path


class Started:
    """``axbridge serve`` as a process, and what it printed."""

    def __init__(self, demo: Path, environment: dict[str, str], folder: Path) -> None:
        self._output = folder / f"output-{time.monotonic_ns()}.txt"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "engine", "serve", "--demo", str(demo)],
                env=environment,
                cwd=folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def output(self) -> str:
        return self._output.read_text()

    def wait_for(self, words: str, seconds_max: float) -> str:
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline:
            if words in self.output():
                return self.output()
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"did not print {words!r}:\n{self.output()}")

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS_MAX)


@pytest.fixture
def starts() -> Iterator[list[Started]]:
    """Whatever a test starts and puts in here is ended after it."""
    made: list[Started] = []
    yield made
    for started in made:
        if started.process.poll() is None:
            started.interrupt()
