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
from pathlib import Path
from statistics import median, quantiles

from scripts.benchmarks.installation import Installation, free_udp_port, installation

HERE = Path(__file__).parent
CALLER_HOST, ENGINE_HOST, CALLEE_HOST = "127.0.0.2", "127.0.0.1", "127.0.0.3"
PAIRS = 500
"""Bindings that the calls go round on; each has its own A and B on one of ten X numbers."""
X_NUMBERS = 10
SOCKET_BUFFER_OCTETS = 4_194_304
SIPP_MODES = {"udp": "u1", "tcp": "t1"}
"""SIPp as Debian builds it has no TLS."""
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


def run_rate(
    made: Installation, rate: int, seconds: int, callee_port: int, transport: str = "udp"
) -> dict[str, float | int]:
    """One level: ``rate`` calls a second for ``seconds``, each held for one second."""
    folder = made.folder / f"rate-{rate}-{time.monotonic_ns()}"
    folder.mkdir()
    calls = rate * seconds
    data = folder / "pairs.csv"
    data.write_text(pairs())
    limit = str(rate * 10 + 100)
    common = ["-buff_size", str(SOCKET_BUFFER_OCTETS), "-nostdin", "-m", str(calls), "-l", limit, "-trace_stat"]
    common += ["-t", SIPP_MODES[transport]]
    callee = subprocess.Popen(
        ["sipp", "-sf", str(HERE / "call_callee.xml"), "-i", CALLEE_HOST, "-p", str(callee_port), *common,
         "-timeout", str(seconds + 60)],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(0.5)
    before = {name: made.usage(name) for name in made.process_ids}
    statistics = folder / "caller.csv"
    engine_port = made.settings.sip.port
    try:
        subprocess.run(
            ["sipp", f"{ENGINE_HOST}:{engine_port}", "-sf", str(HERE / "call_caller.xml"), "-inf", str(data),
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


def held_memory(made: Installation, calls: int, callee_port: int, transport: str = "udp") -> float:
    """Resident kB of engine and media for each of ``calls`` that are up at once, without RTP."""
    folder = made.folder / "held"
    folder.mkdir()
    data = folder / "pairs.csv"
    data.write_text(pairs())
    common = ["-buff_size", str(SOCKET_BUFFER_OCTETS), "-nostdin", "-m", str(calls), "-l", str(calls + 100)]
    common += ["-t", SIPP_MODES[transport]]
    before = sum(made.usage(name).rss_kb for name in made.process_ids)
    callee = subprocess.Popen(
        ["sipp", "-sf", str(HERE / "call_callee.xml"), "-i", CALLEE_HOST, "-p", str(callee_port), *common,
         "-timeout", "60"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(0.5)
    caller = subprocess.Popen(
        ["sipp", f"{ENGINE_HOST}:{made.settings.sip.port}", "-sf", str(HERE / "call_caller.xml"), "-inf", str(data),
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
    callee_port, engine_port = free_udp_port(CALLEE_HOST), free_udp_port(ENGINE_HOST)
    configuration = (
        f'[sip]\nhost = "{ENGINE_HOST}"\nport = {engine_port}\n[trunks]\nping_seconds = 0\n[calls]\ncalls_max = 20000'
    )
    levels = []
    with installation(configuration, world(callee_port, transport=transport)) as made:
        run_rate(made, 50, 2, callee_port, transport)  # warms caches, which a long-running engine has warm
        for index, rate in enumerate(rates):
            seconds = arguments.seconds * (3 if index == len(rates) - 1 else 1)
            level = run_rate(made, rate, seconds, callee_port, transport)
            print(level, file=sys.stderr)
            levels.append(level)
        rss_kb_per_call = round(held_memory(made, HELD_CALLS, callee_port, transport), 1)
        counters = made.status()["counters"]
    print(f"counters: {counters}", file=sys.stderr)
    main_level = next((level for level in levels if level["rate"] == 400), levels[-1])
    print(json.dumps({"transport": transport, **main_level, "rss_kb_per_call": rss_kb_per_call, "levels": levels}))


if __name__ == "__main__":
    main()
