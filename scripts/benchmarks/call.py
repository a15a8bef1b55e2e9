"""CPU and set-up time of a call: SIPp → engine → SIPp over loopback, all books on, no RTP.

Prints progress to standard error and, as its last line on standard output, one JSON object. CPU is utime + stime of
the engine process (SIP, calls, charging, journal, store); the media worker's is beside it.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from scripts.benchmarks.installation import Installation, free_udp_port, installation
from sip.transport.tls import client_context, server_context
from tests.interop.tls_relay import TlsRelay
from tests.unit.sip.stream_lane import Authority

HERE = Path(__file__).parent
CALLER_HOST, ENGINE_HOST, CALLEE_HOST = "127.0.0.2", "127.0.0.1", "127.0.0.3"
PAIRS = 500
"""Bindings that the calls go round on; each has its own A and B on one of ten X numbers."""
X_NUMBERS = 10
SOCKET_BUFFER_OCTETS = 4_194_304
SIPP_MODES = {"udp": "u1", "tcp": "t1", "tls": "t1"}
"""SIPp as Debian builds it has no TLS: with "tls" each SIPp speaks TCP to a relay in this process that has it."""
HELD_CALLS, HELD_RATE, HELD_MS = 1000, 100, 16_000


def world(
    callee_port: int,
    *,
    balance: str = "1000000",
    rate: str = "0.12",
    by_second: bool = False,
    transport: str = "udp",
) -> str:
    """The provisioning file of the benchmark: one tenant, one line, ten X numbers, 500 bindings. ``rate`` a minute."""
    increments = "\nfirst_increment_seconds = 1\nnext_increment_seconds = 1" if by_second else ""
    lines = [
        '[[tenants]]\ncode = "bench"\nname = "Bench"',
        f'[[accounts]]\ntenant = "bench"\nopening_balance = "{balance}"',
        '[[carriers]]\ncode = "bench"\nname = "Bench"',
        f'[[trunks]]\ncarrier = "bench"\ncode = "bench"\nname = "Bench"\nhost = "{CALLEE_HOST}"\nport = {callee_port}\n'
        f'source_addresses = ["{CALLER_HOST}", "{CALLEE_HOST}"]\nnumber_format = "national"\ncalls_max = 100000\n'
        f'transport = "{transport}"',
        f'[[rates]]\ncode = "bench"\nname = "Bench"\nper_minute = "{rate}"{increments}',
        '[[lines]]\ncarrier = "bench"\ntrunk = "bench"\nrate = "bench"\ncode = "bench"\nname = "Bench"',
    ]
    lines += [
        f'[[x_numbers]]\nnumber = "{x_number(index)}"\nline = "bench"\ntenant = "bench"' for index in range(X_NUMBERS)
    ]
    lines += [
        f'[[bindings]]\ntenant = "bench"\nx_number = "{x_number(index % X_NUMBERS)}"\n'
        f'a_number = "{a_number(index)}"\nb_number = "{13_900_000_000 + index}"'
        for index in range(PAIRS)
    ]
    return "\n\n".join(lines)


def a_number(index: int) -> str:
    return str(13_800_000_000 + index)


def x_number(index: int) -> str:
    return f"010655{index:05d}"


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


def run_rate(made: Installation, rate: int, seconds: int, way: Way) -> dict[str, float | int]:
    """One level: ``rate`` calls a second for ``seconds``, each held for one second."""
    folder = made.folder / f"rate-{rate}-{time.monotonic_ns()}"
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
    before = {name: made.usage(name) for name in made.process_ids}
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
    after = {name: made.usage(name) for name in made.process_ids}
    totals = _last_row(statistics)
    setups_ms = _setups_ms(folder)
    successful = int(totals["SuccessfulCall(C)"])
    cpu_ms = (after["engine"].cpu_seconds - before["engine"].cpu_seconds) * 1000
    media_ms = sum(
        (after[name].cpu_seconds - before[name].cpu_seconds) * 1000 for name in after if name.startswith("media")
    )
    return {
        "rate": rate,
        "calls": calls,
        "failed": calls - successful,
        "cpu_ms_per_call": round(cpu_ms / calls, 3),
        "media_cpu_ms_per_call": round(media_ms / calls, 3),
        "setup_p50_ms": round(median(setups_ms), 2),
        "setup_p99_ms": round(quantiles(setups_ms, n=100)[98], 2),
        "retransmissions": int(totals["Retransmissions(C)"]),
    }


def held_memory(made: Installation, calls: int, way: Way) -> float:
    """Resident kB of engine and media for each of ``calls`` that are up at once, without RTP."""
    folder = made.folder / "held"
    folder.mkdir()
    data = folder / "pairs.csv"
    data.write_text(pairs())
    common = ["-buff_size", str(SOCKET_BUFFER_OCTETS), "-nostdin", "-m", str(calls), "-l", str(calls + 100)]
    common += ["-t", SIPP_MODES[way.transport]]
    before = sum(made.usage(name).rss_kb for name in made.process_ids)
    callee = subprocess.Popen(
        ["sipp", "-sf", way.scenario("call_callee", folder),
         "-i", CALLEE_HOST, "-p", str(way.sipp_callee_port), *common,
         "-timeout", "60"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(0.5)
    caller = subprocess.Popen(
        ["sipp", way.remote, "-sf", way.scenario("call_caller", folder), "-inf", str(data),
         "-i", CALLER_HOST, "-p", str(free_udp_port(CALLER_HOST)), "-r", str(HELD_RATE), "-d", str(HELD_MS), *common,
         "-timeout", "60"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(calls / HELD_RATE + 2)
        up = int(str(made.status()["calls"]))
        after = sum(made.usage(name).rss_kb for name in made.process_ids)
        caller.wait(timeout=60)
    finally:
        for process in (caller, callee):
            process.terminate()
            process.wait(timeout=10)
    return (after - before) / max(up, 1)


def pairs() -> str:
    """SIPp's file of who calls which X number, in turn."""
    return "SEQUENTIAL\n" + "".join(f"{a_number(index)};{x_number(index % X_NUMBERS)};\n" for index in range(PAIRS))


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench call", description=__doc__)
    parser.add_argument("--json", action="store_true", help="kept for scripts: the last line is JSON either way")
    parser.add_argument("--rates", default="100,400,600", help="calls a second, comma-separated")
    parser.add_argument(
        "--seconds", type=int, default=10, help="length of each level; the last one runs three times it"
    )
    parser.add_argument("--transport", choices=sorted(SIPP_MODES), default="udp", help="of both legs")
    arguments = parser.parse_args()
    transport = arguments.transport
    if shutil.which("sipp") is None:
        sys.exit("scripts/bench call needs SIPp: apt-get install sip-tester")
    rates = [int(text) for text in arguments.rates.split(",")]
    levels = []
    with (
        opened_way(transport) as way,
        installation(way.configuration, world(way.callee_port, transport=transport)) as made,
    ):
        run_rate(made, 50, 2, way)  # warms caches, which a long-running engine has warm
        for index, rate in enumerate(rates):
            seconds = arguments.seconds * (3 if index == len(rates) - 1 else 1)
            level = run_rate(made, rate, seconds, way)
            print(level, file=sys.stderr)
            levels.append(level)
        rss_kb_per_call = round(held_memory(made, HELD_CALLS, way), 1)
        counters = made.status()["counters"]
    print(f"counters: {counters}", file=sys.stderr)
    main_level = next((level for level in levels if level["rate"] == 400), levels[-1])
    print(json.dumps({"transport": transport, **main_level, "rss_kb_per_call": rss_kb_per_call, "levels": levels}))


if __name__ == "__main__":
    main()
