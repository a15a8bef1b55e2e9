"""SIPp's phones: two that call, four that are called, and their voices."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from scripts.benchmarks.installation import free_udp_port
from tests.chaos.voices import LATE_FILE
from tests.chaos.world import (
    CALLEE_HOST,
    CALLER_HOST,
    CROWD_TENANT,
    ENGINE_HOST,
    RTP_PORT_MIN,
    Pair,
    Phone,
    callee_lines,
    caller_lines,
)
from tests.interop.sipp import SCENARIOS as ONE_CALL_SCENARIOS

SCENARIOS = Path(__file__).with_name("scenarios")
SOCKET_BUFFER_OCTETS = 4_194_304
CALLEE_LINES = 2000
CROWD_PER_SECOND = 50
CANCELLED_SHARE = 0.1
_CALLEES = {
    Phone.ANSWERS: SCENARIOS / "callee_answers.xml",
    Phone.HANGS_UP: SCENARIOS / "callee_hangs_up.xml",
    Phone.BUSY: ONE_CALL_SCENARIOS / "callee_busy.xml",
    Phone.RINGS: ONE_CALL_SCENARIOS / "callee_rings.xml",
}


class Load:
    """``talk_seconds`` is the shortest and the longest talk. Callers' message logs are ``callers``."""

    def __init__(
        self, folder: Path, pairs: list[Pair], sip_port: int, seed: int, talk_seconds: tuple[float, float]
    ) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._pairs = pairs
        self._remote = f"{ENGINE_HOST}:{sip_port}"
        self._chance = random.Random(seed)
        self._talk_seconds = talk_seconds
        self.ports = {phone: free_udp_port(CALLEE_HOST) for phone in Phone}
        self._callers: dict[str, subprocess.Popen[bytes]] = {}
        self._callees: dict[str, subprocess.Popen[bytes]] = {}
        self._voices: subprocess.Popen[bytes] | None = None

    def start(self, calls_per_second: float) -> None:
        self._voices = subprocess.Popen([sys.executable, "-m", "tests.chaos.voices", str(self._folder)])
        for index, (phone, scenario) in enumerate(_CALLEES.items()):
            data = self._folder / f"{phone}.csv"
            first_port = RTP_PORT_MIN + 2 * index * CALLEE_LINES
            data.write_text(callee_lines(first_port, CALLEE_LINES, self._chance, self._talk_seconds))
            self._callees[phone] = self._launch(phone, scenario, data, CALLEE_HOST, self.ports[phone])
        talkers = [pair for pair in self._pairs if pair.phone is not Phone.RINGS and pair.tenant != CROWD_TENANT]
        cancellers = [pair for pair in self._pairs if pair.phone is Phone.RINGS]
        self._call("caller", talkers, calls_per_second * (1 - CANCELLED_SHARE), self._talk_seconds)
        self._call("canceller", cancellers, calls_per_second * CANCELLED_SHARE, (0.5, 4.0))

    def crowd(self, calls: int, talk_seconds: float) -> None:
        """So many calls at once beside the others, of that length."""
        pairs = [pair for pair in self._pairs if pair.tenant == CROWD_TENANT]
        self._call("crowd", pairs, CROWD_PER_SECOND, (talk_seconds, talk_seconds + 3.0), ("-m", str(calls)))

    def hush(self) -> None:
        """No new calls; those that are up go on to their end."""
        for caller in self._callers.values():
            if caller.poll() is None:
                caller.send_signal(signal.SIGUSR1)

    def wait(self, seconds_max: float) -> None:
        """Until the callers are done; whoever is not by then is ended."""
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline and any(caller.poll() is None for caller in self._callers.values()):
            time.sleep(0.1)

    def end(self) -> None:
        voices = [self._voices] if self._voices is not None else []
        for process in [*self._callers.values(), *self._callees.values(), *voices]:
            if process.poll() is None:
                process.kill()
            process.wait()

    def assert_running(self) -> None:
        """Raises RuntimeError where a phone has ended before its time: what it saw would be missing."""
        for name, process in [*self._callers.items(), *self._callees.items(), ("voices", self._voices)]:
            if process is not None and process.poll() is not None and not name.startswith("crowd"):
                raise RuntimeError(f"{name} has ended with {process.returncode}, see {self._folder}")

    @property
    def caller_logs(self) -> list[tuple[Path, Path]]:
        """Each caller's log of calls and log of messages."""
        return [(self._folder / f"{name}.talk", self._folder / f"{name}.messages") for name in self._callers]

    def late_voices(self) -> list[tuple[float, float]]:
        """When the voices fell behind, as times since the epoch."""
        path = self._folder / LATE_FILE
        lines = path.read_text().splitlines() if path.exists() else []
        return [(float(begin), float(end)) for begin, end in (line.split() for line in lines)]

    def _call(
        self,
        name: str,
        pairs: list[Pair],
        per_second: float,
        seconds: tuple[float, float],
        options: tuple[str, ...] = (),
    ) -> None:
        data = self._folder / f"{name}.csv"
        first_port = {"caller": RTP_PORT_MIN, "canceller": RTP_PORT_MIN + 10_000}.get(name, RTP_PORT_MIN + 20_000)
        data.write_text(caller_lines(pairs, self._chance, seconds, first_port))
        scenario = SCENARIOS / ("canceller.xml" if name == "canceller" else "caller.xml")
        rate = ("-r", str(round(per_second * 100)), "-rp", "100000", *options)
        port = free_udp_port(CALLER_HOST)
        self._callers[name] = self._launch(name, scenario, data, CALLER_HOST, port, self._remote, *rate)

    def _launch(
        self, name: str, scenario: Path, data: Path, host: str, port: int, *arguments: str
    ) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.output").open("wb") as output:
            return subprocess.Popen(
                ["sipp", *arguments, "-sf", str(scenario), "-inf", str(data), "-i", host, "-p", str(port),
                 "-mi", host, "-l", "3000", "-nostdin", "-buff_size", str(SOCKET_BUFFER_OCTETS),
                 "-cid_str", f"{name}-%u-%p@%s", "-trace_logs", "-log_file", f"{name}.talk",
                 "-trace_shortmsg", "-shortmessage_file", f"{name}.messages",
                 "-trace_err", "-error_file", f"{name}.errors", "-max_log_size", "100000000000"],
                cwd=self._folder, stdout=output, stderr=output,
            )  # fmt: skip
