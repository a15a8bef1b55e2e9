"""SIPp as a phone: one scenario file, one call, and every octet that it received."""

from __future__ import annotations

import csv
import re
import subprocess
from pathlib import Path

from tests.interop.ports import sockets_of
from tests.interop.site import wait_for
from tests.interop.wire import Message

SCENARIOS = Path(__file__).parents[2] / "scripts" / "sipp"
SOCKET_BUFFER_OCTETS = 4_194_304
CALL_SECONDS_MAX = 25

_LOGGED = re.compile(rb"(?:UDP|TCP) message (sent|received) [\[(](\d+)[\])]? bytes\)? ?:\n\n")


class SippFailed(AssertionError):
    """The scenario did not go as its file says."""


class Sipp:
    """One SIPp process for ``calls`` calls. SIPp can hang for ever on a broken call, so whoever waits has a limit."""

    def __init__(
        self,
        folder: Path,
        scenario: str,
        *,
        host: str,
        port: int,
        remote: str = "",
        keys: dict[str, str],
        service: str = "",
        duration_ms: int = 1000,
        calls: int = 1,
        credentials: tuple[str, str] = ("", ""),
        options: tuple[str, ...] = (),
        transport: str = "udp",
        shown_port: int = 0,
    ) -> None:
        """``transport`` "tls" is TCP to a relay that has the TLS; ``shown_port`` is where the engine meets that."""
        folder.mkdir(parents=True)
        self.scenario = scenario
        self.calls = calls
        self._folder = folder
        self._socket_kind = "udp" if transport == "udp" else "tcp"
        arguments = [
            "sipp", *([remote] if remote else []), "-sf", str(_scenario_file(folder, scenario, transport, shown_port)),
            "-t", "u1" if transport == "udp" else "t1",
            "-i", host, "-p", str(port), "-m", str(calls), "-d", str(duration_ms), "-nostdin",
            "-buff_size", str(SOCKET_BUFFER_OCTETS), "-timeout", str(CALL_SECONDS_MAX), "-timeout_error",
            "-trace_msg", "-message_file", "messages.log", "-trace_stat", "-stf", "statistics.csv",
            "-trace_err", "-error_file", "errors.log", *options,
        ]  # fmt: skip
        if credentials[0]:
            arguments += ["-au", credentials[0], "-ap", credentials[1]]
        if service:
            arguments += ["-s", service]
        for name, value in keys.items():
            arguments += ["-key", name, value]
        with (folder / "output.txt").open("wb") as output:
            self.process = subprocess.Popen(arguments, cwd=folder, stdout=output, stderr=output)
        if not remote:
            wait_for(f"SIPp {scenario} listens", lambda: self._listens(port))

    def wait(self, seconds: float = CALL_SECONDS_MAX + 5) -> None:
        """Until all calls are over. Raises SippFailed unless each was successful."""
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise SippFailed(f"{self.scenario} hangs\n{self._story()}") from None
        successful = self._successful()
        if self.process.returncode != 0 or successful != self.calls:
            raise SippFailed(f"{self.scenario}: {successful} of {self.calls} calls went well\n{self._story()}")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def messages(self) -> list[Message]:
        """What was sent and received so far, in order."""
        path = self._folder / "messages.log"
        log = path.read_bytes() if path.exists() else b""
        found = []
        for match in _LOGGED.finditer(log):
            octets = log[match.end() : match.end() + int(match[2])]
            if len(octets) == int(match[2]):  # else it is being written just now
                found.append(Message(octets, received=match[1] == b"received"))
        return found

    def received(self, start: str = "") -> list[Message]:
        """Received messages whose first line begins so: "SIP/2.0 200", "INVITE" …"""
        return [each for each in self.messages() if each.received and each.start_line.startswith(start)]

    def wait_received(self, start: str, seconds: float = 10.0) -> Message:
        return wait_for(f"{self.scenario} receives {start}", lambda: self.received(start), seconds)[0]

    def _listens(self, port: int) -> bool:
        if self.process.poll() is not None:
            raise SippFailed(f"{self.scenario} did not start\n{self._story()}")
        return port in sockets_of(self.process.pid, self._socket_kind)

    def _successful(self) -> int:
        path = self._folder / "statistics.csv"
        if not path.exists():
            return 0
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        return int(rows[-1]["SuccessfulCall(C)"]) if rows else 0

    def _story(self) -> str:
        parts = []
        for name in ("errors.log", "messages.log"):
            path = self._folder / name
            if path.exists():
                parts.append(path.read_text(errors="replace")[-6000:])
        if not parts:
            parts.append((self._folder / "output.txt").read_text(errors="replace")[-2000:])
        return "\n".join(parts)


def _scenario_file(folder: Path, scenario: str, transport: str, shown_port: int) -> Path:
    """The scenario; for TLS a copy that says TLS, and the relay's port, wherever it would name SIPp's own."""
    path = SCENARIOS / f"{scenario}.xml"
    if transport != "tls":
        return path
    text = path.read_text(encoding="iso-8859-1").replace("[transport]", "TLS").replace("[local_port]", str(shown_port))
    copy = folder / path.name
    copy.write_text(text, encoding="iso-8859-1")
    return copy
