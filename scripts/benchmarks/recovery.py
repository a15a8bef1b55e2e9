"""How long calls are without an engine that was killed: kill -9 until the next one answers with all of them.

The next one is the spare, as under `axbridge serve`; with ``--cold`` it is a process that starts then.

Prints progress to standard error and, as its last line on standard output, one JSON object with ``recovery_seconds``
(the median), ``recovery_seconds_max``, ``calls``, and ``cpu_seconds`` of the engine until then. Between the runs the
calls go on; each run kills the engine that the one before has started.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from statistics import median

from engine.runtime.control.client import EngineControl, EngineUnavailable
from engine.runtime.control.protocol import Health, HealthReport
from engine.runtime.processes.spare import TURN
from scripts.benchmarks.call_load import HERE, SOCKET_BUFFER_OCTETS
from scripts.benchmarks.call_world import CALLEE_HOST, CALLER_HOST, ENGINE_HOST, pairs, world
from scripts.benchmarks.installation import Installation, free_udp_port, installation

SETUP_RATE = 100
UP_SECONDS_MAX = 20.0
SILENCE_SECONDS = 600
"""Calls without RTP must not time out meanwhile."""


def live_calls(control: EngineControl) -> int | None:
    """None while no engine answers."""
    try:
        report = asyncio.run(control.ask(Health()))
    except EngineUnavailable:
        return None
    assert isinstance(report, HealthReport)
    return report.calls


def wait_for_calls(control: EngineControl, calls: int) -> None:
    deadline = time.monotonic() + UP_SECONDS_MAX
    while (found := live_calls(control)) != calls:
        if time.monotonic() > deadline:
            raise SystemExit(f"{found} calls are up, not {calls}")
        time.sleep(0.01)


def recovery_seconds(
    made: Installation, control: EngineControl, calls: int, stack: ExitStack, *, is_cold: bool
) -> tuple[float, float]:
    """From the death of the engine until the next one has its calls: wall seconds, and the next one's CPU seconds."""
    log = stack.enter_context((made.folder / "engine.log").open("ab"))
    spare = None if is_cold else made.start_spare(log)
    cpu_before = 0.0
    if spare is not None:
        before = made.process_ids["engine"]
        made.process_ids["engine"] = spare.pid
        cpu_before = made.usage("engine").cpu_seconds
        made.process_ids["engine"] = before
    started = time.monotonic()
    os.kill(made.process_ids["engine"], signal.SIGKILL)
    if spare is None:
        spare = made.start_engine(log)
    else:
        assert spare.stdin is not None
        spare.stdin.write(TURN)
        spare.stdin.close()
        made.process_ids["engine"] = spare.pid
    stack.callback(spare.wait)
    stack.callback(spare.terminate)
    wait_for_calls(control, calls)
    seconds = time.monotonic() - started
    return seconds, made.usage("engine").cpu_seconds - cpu_before


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench recovery", description=__doc__)
    parser.add_argument("--json", action="store_true", help="kept for scripts: the last line is JSON either way")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="without a spare engine that has everything imported")
    arguments = parser.parse_args()
    if shutil.which("sipp") is None:
        sys.exit("scripts/bench recovery needs SIPp: apt-get install sip-tester")
    callee_port, engine_port = free_udp_port(CALLEE_HOST), free_udp_port(ENGINE_HOST)
    configuration = f'[sip]\nhost = "{ENGINE_HOST}"\nport = {engine_port}\n[trunks]\nping_seconds = 0'
    media = f"rtp_timeout_seconds = {SILENCE_SECONDS}"
    with installation(configuration, world(callee_port), media=media) as made, ExitStack() as stack:
        (made.folder / "pairs.csv").write_text(pairs())
        common = ["-buff_size", str(SOCKET_BUFFER_OCTETS), "-nostdin", "-l", str(arguments.calls + 100), "-m",
                  str(arguments.calls), "-timeout", "120"]  # fmt: skip
        for command in (
            ["sipp", "-sf", str(HERE / "call_callee.xml"), "-i", CALLEE_HOST, "-p", str(callee_port), *common],
            ["sipp", f"{ENGINE_HOST}:{engine_port}", "-sf", str(HERE / "call_waiting_caller.xml"), "-inf", "pairs.csv",
             "-i", CALLER_HOST, "-p", str(free_udp_port(CALLER_HOST)), "-r", str(SETUP_RATE), *common],
        ):  # fmt: skip
            phone = subprocess.Popen(command, cwd=made.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(phone.wait)
            stack.callback(phone.kill)
            time.sleep(0.5)
        control = EngineControl(made.settings.control_socket)
        wait_for_calls(control, arguments.calls)
        time.sleep(1.0)
        found = []
        for _ in range(arguments.runs):
            found.append(recovery_seconds(made, control, arguments.calls, stack, is_cold=arguments.cold))
            print(f"{found[-1][0]:.2f} s, CPU {found[-1][1]:.2f} s", file=sys.stderr)
            time.sleep(1.0)
    walls = [wall for wall, _ in found]
    print(
        json.dumps(
            {
                "recovery_seconds": round(median(walls), 2),
                "recovery_seconds_max": round(max(walls), 2),
                "cpu_seconds": round(median(cpu for _, cpu in found), 2),
                "calls": arguments.calls,
                "runs": arguments.runs,
                "cores": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    main()
