"""What relaying and recording costs, against a minimal relay in C: both under the same paced load, turn by turn.

Prints, as the last line, {"levels": [{...}, ...]}: medians over the rounds, CPU in microseconds per relayed packet
(utime + stime of the process with all its threads), latency in milliseconds, memory in kB per call.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

# A script's own folder comes first, where this file's name would hide the package it measures.
sys.path[0] = str(Path(__file__).parents[2])

from media.codec.g711 import encode  # noqa: E402
from media.codec.tone import tone  # noqa: E402
from media.embedded.settings import WorkerSettings  # noqa: E402
from media.plane import Answer, Delete, Offer, Side, StartRecording  # noqa: E402
from scripts.benchmarks.media_engine import Engine  # noqa: E402
from scripts.benchmarks.media_rtpengine import Rtpengine, available  # noqa: E402
from scripts.benchmarks.usage import cpu_seconds, resident_kb  # noqa: E402

HERE = Path(__file__).parent
FREQUENCIES_HZ = [400 + 100 * index for index in range(16)]
LENGTH_ERROR_SECONDS_MAX = 0.02
PURITY_MIN = 0.95
"""Share of a channel's energy that must be at its own tone; A-law's noise takes less than 0.001."""


def compiled(folder: Path, name: str) -> str:
    target = folder / name
    subprocess.run(["cc", "-O2", "-Wall", "-o", target, HERE / f"{name}.c"], check=True)
    return str(target)


def write_tones(folder: Path) -> str:
    path = folder / "tones"
    # A table is one second, so that whole hertz close on themselves; no fade inside a tone that goes on.
    seconds = [encode(tone(3 * 8000, hertz)[8000:16000], "PCMA") for hertz in FREQUENCIES_HZ]
    path.write_bytes(b"".join(seconds))
    return str(path)


class Load:
    """The sender's process."""

    def __init__(self, executable: str, calls: int, seconds: float, tones: str) -> None:
        self._process = subprocess.Popen(
            [executable, str(calls), str(seconds), tones],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.ports = [int(port) for port in self._line().split()]

    def run(self, ports: list[int], pid: int) -> dict[str, Any]:
        """Send to these ports; measures the process ``pid`` meanwhile."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, ports)) + "\n")
        self._process.stdin.flush()
        assert self._line() == "begin"
        before = cpu_seconds(pid)
        end = self._line()
        spent = cpu_seconds(pid) - before
        memory = resident_kb(pid)
        result: dict[str, Any] = json.loads(self._line())
        self._process.wait()
        measured = int(end.split()[1])
        return result | {"cpu_us_per_packet": spent * 1e6 / max(1, measured), "memory_kb": memory}

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the load generator died")
        return line.strip()


def run_floor(executable: str, load: Load, calls: int) -> dict[str, Any]:
    with subprocess.Popen([executable, str(calls)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as floor:
        assert floor.stdout is not None
        assert floor.stdin is not None
        ports = [int(port) for port in floor.stdout.readline().split()]
        floor.stdin.write(" ".join(map(str, load.ports)) + "\n")
        floor.stdin.flush()
        assert floor.stdout.readline() == "ready\n"
        return load.run(ports, floor.pid)


def description(port: int) -> bytes:
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    ).encode()


def run_ours(folder: Path, load: Load, calls: int, *, record: bool) -> dict[str, Any]:
    settings = WorkerSettings(
        socket_path=str(folder / "media.sock"), port_min=30_000, port_max=30_000 + 4 * calls + 400, calls_max=calls
    )
    worker = subprocess.Popen(
        [sys.executable, "-m", "media.embedded.worker", msgspec.json.encode(settings).decode()],
        stderr=subprocess.DEVNULL,
    )
    try:
        engine = Engine(Path(settings.socket_path))
        at_rest = resident_kb(worker.pid)
        ports: list[int] = []
        started: list[float] = []
        for call in range(calls):
            caller, callee = load.ports[2 * call], load.ports[2 * call + 1]
            towards_callee = engine.port(Offer(engine.cookie(), f"call-{call}", Side.CALLER, description(caller)))
            towards_caller = engine.port(Answer(engine.cookie(), f"call-{call}", Side.CALLEE, description(callee)))
            ports += [towards_caller, towards_callee]
        for call in range(calls if record else 0):
            started.append(time.monotonic())
            path = str(folder / f"{call}.wav")
            engine.ask(StartRecording(engine.cookie(), f"call-{call}", path, started[-1]))
        result = load.run(ports, worker.pid)
        talk_seconds: list[float] = []
        for call in range(calls):
            at = time.monotonic()
            engine.ask(Delete(engine.cookie(), f"call-{call}", at))
            if record:
                talk_seconds.append(at - started[call])
        engine.await_recordings(calls if record else 0)
        result["recordings_ok"] = sum(
            recording_ok(folder / f"{call}.wav", call, seconds) for call, seconds in enumerate(talk_seconds)
        )
        result["rss_kb_per_call"] = (result["memory_kb"] - at_rest) / calls
    finally:
        worker.terminate()
        worker.wait()
        for recording in folder.glob("*.wav"):
            recording.unlink()
    return result


def run_rtpengine(folder: Path, load: Load, calls: int, *, record: bool) -> dict[str, Any]:
    daemon = Rtpengine(folder)
    try:
        ports: list[int] = []
        for call in range(calls):
            caller, callee = load.ports[2 * call], load.ports[2 * call + 1]
            ports += daemon.call(f"call-{call}", description(caller), description(callee), record=record)
        result = load.run(ports, daemon.pid)
        result["recorded_octets"] = daemon.recorded_octets()
    finally:
        daemon.close()
    return result


def share_at(samples: np.ndarray[Any, Any], hertz: float) -> float:
    """Goertzel's filter as one product: the share of the energy that is at a frequency."""
    wave_at = np.exp(-2j * np.pi * hertz / 8000 * np.arange(len(samples)))
    energy = float(np.sum(samples * samples)) or 1.0
    return float(2 * abs(np.dot(samples, wave_at)) ** 2 / (len(samples) * energy))


def recording_ok(path: Path, call: int, talk_seconds: float) -> bool:
    with wave.open(str(path)) as recording:
        frames = recording.getnframes()
        samples = np.frombuffer(recording.readframes(frames), "<i2").reshape(-1, 2).astype(float)
    if abs(frames / 8000 - talk_seconds) > LENGTH_ERROR_SECONDS_MAX:
        return False
    # The load sends for a second before and half a second after what it measures; half a second's margin at each end.
    spoken = np.flatnonzero(samples[:, 0])
    if not len(spoken):
        return False
    middle = samples[spoken[0] + 4000 : spoken[-1] - 4000]
    return all(share_at(middle[:, side], FREQUENCIES_HZ[(2 * call + side) % 16]) >= PURITY_MIN for side in (0, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print nothing but the result")
    parser.add_argument("--calls", default="100,200,400")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-recording", action="store_true")
    parser.add_argument("--peer", choices=["rtpengine"], help="measure this too, relaying and recording (pcap)")
    arguments = parser.parse_args()
    if arguments.peer and not available():
        raise SystemExit("rtpengine is not installed (Debian: rtpengine-daemon)")
    levels = []
    with tempfile.TemporaryDirectory(prefix="axbridge-media-") as name:
        folder = Path(name)
        floor, generator, tones = compiled(folder, "relay_floor"), compiled(folder, "rtp_load"), write_tones(folder)
        for calls in [int(text) for text in arguments.calls.split(",")]:
            ours: list[dict[str, Any]] = []
            floors: list[dict[str, Any]] = []
            peers: dict[str, list[dict[str, Any]]] = {}
            for _ in range(arguments.rounds):
                load = Load(generator, calls, arguments.seconds, tones)
                ours.append(run_ours(folder, load, calls, record=not arguments.no_recording))
                load = Load(generator, calls, arguments.seconds, tones)
                floors.append(run_floor(floor, load, calls))
                for record in (False, True) if arguments.peer else ():
                    load = Load(generator, calls, arguments.seconds, tones)
                    name_of = "rtpengine_recording" if record else "rtpengine_relaying"
                    peers.setdefault(name_of, []).append(run_rtpengine(folder, load, calls, record=record))
                    if not arguments.json:
                        print(json.dumps({"calls": calls, name_of: peers[name_of][-1]}), flush=True)
                if not arguments.json:
                    print(json.dumps({"calls": calls, "ours": ours[-1], "floor": floors[-1]}), flush=True)
            levels.append(level(calls, ours, floors) | peer_level(ours, peers))
    print(json.dumps({"levels": levels}))


def level(calls: int, ours: list[dict[str, Any]], floors: list[dict[str, Any]]) -> dict[str, Any]:
    def median(runs: list[dict[str, Any]], key: str) -> float:
        found: float = statistics.median(run[key] for run in runs)
        return round(found, 3)

    costs = [run["cpu_us_per_packet"] for run in ours]
    return {
        "calls": calls,
        "packets": sum(run["sent"] for run in ours),
        "lost": sum(run["sent"] - run["received"] for run in ours),
        "out_of_order": sum(run["out_of_order"] for run in ours),
        "cpu_us_per_packet": median(ours, "cpu_us_per_packet"),
        "cpu_us_per_packet_spread": [round(min(costs), 3), round(max(costs), 3)],
        "floor_us_per_packet": median(floors, "cpu_us_per_packet"),
        "ratio": round(median(ours, "cpu_us_per_packet") / median(floors, "cpu_us_per_packet"), 3),
        "latency_p99_ms": median(ours, "latency_p99_ms"),
        "latency_max_ms": median(ours, "latency_max_ms"),
        "floor_latency_p99_ms": median(floors, "latency_p99_ms"),
        "floor_lost": sum(run["sent"] - run["received"] for run in floors),
        "recordings_ok": int(min(run["recordings_ok"] for run in ours)),
        "rss_kb_per_call": median(ours, "rss_kb_per_call"),
        "pacing_late_worst_ms": max(run["pacing_late_worst_ms"] for run in ours + floors),
    }


def peer_level(ours: list[dict[str, Any]], peers: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The peer's figures beside ours: ``ratio_to_…`` is our packet (recorded unless told otherwise) by its packet."""
    found: dict[str, Any] = {}
    for name, runs in peers.items():
        costs = [run["cpu_us_per_packet"] for run in runs]
        found[f"{name}_us_per_packet"] = round(statistics.median(costs), 3)
        found[f"{name}_us_per_packet_spread"] = [round(min(costs), 3), round(max(costs), 3)]
        found[f"{name}_lost"] = sum(run["sent"] - run["received"] for run in runs)
        found[f"{name}_latency_p99_ms"] = round(statistics.median(run["latency_p99_ms"] for run in runs), 3)
        found[f"{name}_octets"] = min(run["recorded_octets"] for run in runs)
        cost = statistics.median(run["cpu_us_per_packet"] for run in ours)
        found[f"ratio_to_{name}"] = round(cost / statistics.median(costs), 3)
    return found


if __name__ == "__main__":
    main()
