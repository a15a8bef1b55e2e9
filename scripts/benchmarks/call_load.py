"""SIPp's calls through whatever is measured: over UDP, TCP, or TLS by relays, at one rate for some seconds."""

from __future__ import annotations

import csv
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from scripts.benchmarks.call_world import CALLEE_HOST, CALLER_HOST, ENGINE_HOST, pairs
from scripts.benchmarks.installation import free_udp_port
from sip.transport.tls import client_context, server_context
from tests.interop.tls_relay import TlsRelay
from tests.unit.sip.stream_lane import Authority

HERE = Path(__file__).parent
SOCKET_BUFFER_OCTETS = 4_194_304
SIPP_MODES = {"udp": "u1", "tcp": "t1", "tls": "t1"}
"""SIPp as Debian builds it has no TLS: with "tls" each SIPp speaks TCP to a relay in this process that has it."""


@dataclass(frozen=True)
class Way:
    """How SIPp reaches the engine and is reached: over TLS by two relays, else directly."""

    transport: str
    callee_port: int
    """Where the trunk's calls go."""
    sipp_callee_port: int
    remote: str
    """Where SIPp's calls go."""
    configuration: str
    """The engine's."""

    def scenario(self, name: str, folder: Path) -> str:
        """The scenario's file; for TLS a copy that says TLS and the port where the engine meets the phone."""
        path = HERE / f"{name}.xml"
        if self.transport != "tls":
            return str(path)
        text = path.read_text().replace("[transport]", "TLS").replace("[local_port]", str(self.callee_port))
        (folder / path.name).write_text(text)
        return str(folder / path.name)


@contextmanager
def opened_way(transport: str) -> Iterator[Way]:
    callee_port, engine_port = free_udp_port(CALLEE_HOST), free_udp_port(ENGINE_HOST)
    # A gateway is not asked for its health here: SIPp would take the question for one of its calls.
    others = "[trunks]\nping_seconds = 0\n[calls]\ncalls_max = 20000"
    sip = f'[sip]\nhost = "{ENGINE_HOST}"\nport = {engine_port}\n'
    if transport != "tls":
        yield Way(transport, callee_port, callee_port, f"{ENGINE_HOST}:{engine_port}", sip + others)
        return
    tls_port, sipp_callee_port = free_udp_port(ENGINE_HOST), free_udp_port(CALLEE_HOST)
    with TemporaryDirectory(prefix="axbridge-bench-") as folder:
        authority = Authority(Path(folder))
        own = authority.settings(ENGINE_HOST)
        sip += (
            f'tls_port = {tls_port}\ntls_certificate_file = "{own.certificate_file}"\n'
            f'tls_key_file = "{own.key_file}"\ntls_authorities_file = "{own.authorities_file}"\n'
        )
        towards_engine = TlsRelay(
            (CALLER_HOST, 0),
            (ENGINE_HOST, tls_port),
            client_context(authority.settings(CALLER_HOST)),
            towards_server=True,
            source=(CALLER_HOST, 0),
        )
        towards_callee = TlsRelay(
            (CALLEE_HOST, callee_port),
            (CALLEE_HOST, sipp_callee_port),
            server_context(authority.settings(CALLEE_HOST)),
            towards_server=False,
        )
        try:
            remote = f"{CALLER_HOST}:{towards_engine.address[1]}"
            yield Way(transport, callee_port, sipp_callee_port, remote, sip + others)
        finally:
            towards_engine.close()
            towards_callee.close()


def run_rate(
    folder: Path, used: Callable[[], dict[str, float]], rate: int, seconds: int, way: Way
) -> dict[str, float | int]:
    """One level: ``rate`` calls a second for ``seconds``, each held for one second. Its files go into ``folder``.

    ``used`` gives the CPU seconds of what is measured, by name; the level has each as milliseconds a call.
    """
    folder = folder / f"rate-{rate}-{time.monotonic_ns()}"
    folder.mkdir()
    calls = rate * seconds
    data = folder / "pairs.csv"
    data.write_text(pairs())
    limit = str(rate * 10 + 100)
    common = ["-buff_size", str(SOCKET_BUFFER_OCTETS), "-nostdin", "-m", str(calls), "-l", limit, "-trace_stat"]
    common += ["-t", SIPP_MODES[way.transport]]
    callee = subprocess.Popen(
        ["sipp", "-sf", way.scenario("call_callee", folder),
         "-i", CALLEE_HOST, "-p", str(way.sipp_callee_port), *common,
         "-timeout", str(seconds + 60)],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(0.5)
    before = used()
    statistics = folder / "caller.csv"
    try:
        subprocess.run(
            ["sipp", way.remote, "-sf", way.scenario("call_caller", folder), "-inf", str(data),
             "-i", CALLER_HOST, "-p", str(free_udp_port(CALLER_HOST)), "-r", str(rate), "-d", "1000", *common,
             "-stf", str(statistics), "-fd", "1", "-trace_rtt", "-rtt_freq", "50", "-timeout", str(seconds + 40)],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds + 60, check=False,
        )  # fmt: skip
    finally:
        callee.terminate()
        callee.wait(timeout=10)
    time.sleep(1.0)  # what the store still writes belongs to these calls
    after = used()
    totals = _last_row(statistics)
    setups_ms = _setups_ms(folder)
    successful = int(totals["SuccessfulCall(C)"])
    return {
        "rate": rate,
        "calls": calls,
        "failed": calls - successful,
        **{name: round((after[name] - before[name]) * 1000 / calls, 3) for name in after},
        "setup_p50_ms": round(median(setups_ms), 2),
        "setup_p99_ms": round(quantiles(setups_ms, n=100)[98], 2),
        "retransmissions": int(totals["Retransmissions(C)"]),
    }


def _last_row(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))[-1]


def _setups_ms(folder: Path) -> list[float]:
    """INVITE to 200 at the caller: what is between INVITE in and INVITE out is less than that."""
    found: list[float] = []
    for path in folder.glob("*_rtt.csv"):
        for line in path.read_text().splitlines()[1:]:
            match = re.match(r"[\d.]+;([\d.]+);", line)
            if match:
                found.append(float(match[1]))
    return found or [0.0, 0.0]
