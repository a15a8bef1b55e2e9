"""CPU and set-up time of a call: SIPp → engine → SIPp over loopback, all books on, no RTP.

Prints progress to standard error and, as its last line on standard output, one JSON object. CPU is utime + stime of
the engine process (SIP, calls, charging, journal, store); the media worker's is beside it. With ``--kamailio``,
``--rtpengine`` or ``--before CHECKOUT`` (a checkout of axbridge with its environment made) that one takes turns with us
at each rate, and ``ratios`` are ours by theirs, of all processes' CPU, level by level.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from scripts.benchmarks import call_kamailio, media_rtpengine
from scripts.benchmarks.call_load import SIPP_MODES, SOCKET_BUFFER_OCTETS, Way, opened_way, run_rate
from scripts.benchmarks.call_world import CALLEE_HOST, CALLER_HOST, ENGINE_HOST, pairs, world
from scripts.benchmarks.installation import Installation, free_udp_port, installation
from scripts.benchmarks.media_rtpengine import Rtpengine
from scripts.benchmarks.usage import cpu_seconds, with_children

HELD_CALLS, HELD_RATE, HELD_MS = 1000, 100, 16_000
WARMING_RATE, WARMING_SECONDS = 50, 2
"""Warms caches, which what has run for long has warm."""
CPU = "cpu_ms_per_call"

Level = dict[str, float | int]


@dataclass(frozen=True)
class Contestant:
    """One of those that take turns; ``used`` gives CPU seconds so far by process."""

    folder: Path
    used: Callable[[], dict[str, float]]
    way: Way
    levels: list[Level] = field(default_factory=list)
    """Of each rate, the median of its rounds."""

    def run(self, rate: int, seconds: int) -> Level:
        return run_rate(self.folder, self.used, rate, seconds, self.way)


def engine_and_media(made: Installation) -> dict[str, float]:
    used = {name: made.usage(name).cpu_seconds for name in made.process_ids}
    return {CPU: used.pop("engine"), f"media_{CPU}": sum(used.values())}


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


def axbridge(stack: ExitStack, transport: str, checkout: Path | None = None) -> tuple[Contestant, Installation]:
    """This checkout, or another one."""
    way = stack.enter_context(opened_way(transport))
    provisioning = world(way.callee_port, transport=transport)
    made = stack.enter_context(installation(way.configuration, provisioning, checkout=checkout))
    return Contestant(made.folder, lambda: engine_and_media(made), way), made


def kamailio(stack: ExitStack, *, with_rtpengine: bool) -> Contestant:
    way = stack.enter_context(opened_way("udp"))
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="axbridge-bench-")))
    port = free_udp_port(ENGINE_HOST)
    media = Rtpengine(folder) if with_rtpengine else None
    if media is not None:
        stack.callback(media.close)
    pid = stack.enter_context(
        call_kamailio.kamailio(ENGINE_HOST, port, CALLEE_HOST, way.callee_port, media.port if media else None)
    )
    processes = with_children(pid)

    def used() -> dict[str, float]:
        found = {CPU: sum(map(cpu_seconds, processes))}
        return found | {f"media_{CPU}": cpu_seconds(media.pid)} if media is not None else found

    return Contestant(folder, used, Way("udp", way.callee_port, way.sipp_callee_port, f"{ENGINE_HOST}:{port}", ""))


def medians(rounds: list[Level]) -> Level:
    return {key: round(median(level[key] for level in rounds), 3) for key in rounds[0]}


def all_cpu(level: Level) -> float:
    """Of all that one contestant has running, in milliseconds a call."""
    return sum(value for key, value in level.items() if key.endswith(CPU))


def ratios(ours: list[Level], theirs: list[Level]) -> list[float]:
    return [round(all_cpu(own) / all_cpu(other), 3) for own, other in zip(ours, theirs, strict=True)]


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench call", description=__doc__)
    parser.add_argument("--json", action="store_true", help="kept for scripts: the last line is JSON either way")
    parser.add_argument("--rates", default="100,400,600", help="calls a second, comma-separated")
    parser.add_argument(
        "--seconds", type=int, default=10, help="length of each level; the last one runs three times it"
    )
    parser.add_argument("--rounds", type=int, default=1, help="of each level, in turn with the others; medians count")
    parser.add_argument("--transport", choices=sorted(SIPP_MODES), default="udp", help="of both legs")
    parser.add_argument("--kamailio", action="store_true", help="beside a stateful proxy of it, over UDP")
    parser.add_argument("--rtpengine", action="store_true", help="beside such a proxy with rtpengine")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="beside another checkout of axbridge")
    arguments = parser.parse_args()
    if shutil.which("sipp") is None:
        parser.exit(1, "scripts/bench call needs SIPp: apt-get install sip-tester\n")
    if (arguments.kamailio or arguments.rtpengine) and not call_kamailio.available():
        parser.exit(1, "scripts/bench call: Kamailio is not there: apt-get install kamailio\n")
    if arguments.rtpengine and not media_rtpengine.available():
        parser.exit(1, "scripts/bench call: rtpengine is not there: apt-get install rtpengine-daemon\n")
    if (arguments.kamailio or arguments.rtpengine) and arguments.transport != "udp":
        parser.error("Kamailio is measured over UDP")
    return arguments


def main() -> None:
    arguments = parsed_arguments()
    rates = [int(text) for text in arguments.rates.split(",")]
    with ExitStack() as stack:
        own, made = axbridge(stack, arguments.transport)
        contestants = {"axbridge": own}
        if arguments.kamailio:
            contestants["kamailio"] = kamailio(stack, with_rtpengine=False)
        if arguments.rtpengine:
            contestants["kamailio_rtpengine"] = kamailio(stack, with_rtpengine=True)
        if arguments.before is not None:
            contestants["before"], _ = axbridge(stack, arguments.transport, arguments.before.resolve())
        for contestant in contestants.values():
            contestant.run(WARMING_RATE, WARMING_SECONDS)
        for index, rate in enumerate(rates):
            seconds = arguments.seconds * (3 if index == len(rates) - 1 else 1)
            rounds: dict[str, list[Level]] = {name: [] for name in contestants}
            for _ in range(arguments.rounds):
                for name, contestant in contestants.items():
                    level = contestant.run(rate, seconds)
                    print(f"{name}: {level}", file=sys.stderr)
                    rounds[name].append(level)
            for name, contestant in contestants.items():
                contestant.levels.append(medians(rounds[name]))
        rss_kb_per_call = round(held_memory(made, HELD_CALLS, own.way), 1)
        counters = made.status()["counters"]
    print(f"counters: {counters}", file=sys.stderr)
    main_level = next((level for level in own.levels if level["rate"] == 400), own.levels[-1])
    others = {name: contestant.levels for name, contestant in contestants.items() if contestant is not own}
    result = {"transport": arguments.transport, **main_level, "rss_kb_per_call": rss_kb_per_call, "levels": own.levels}
    if others:
        result |= {"others": others, "ratios": {name: ratios(own.levels, levels) for name, levels in others.items()}}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
