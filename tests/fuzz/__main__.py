"""Coverage-guided fuzzing of all that reads what a peer sends: ./scripts/fuzz [TARGET …] [--seconds N] [--json]

Each target runs in a process of its own, from the messages that the tests keep and from what earlier runs have found
(in ``--corpus``). The last line of the output is one JSON object; an input that breaks a target is left beside the
corpus, to be kept under tests/vectors/crashers. Exit code 1 if there was one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fuzz.seeds import write_seeds
from tests.fuzz.targets import TARGETS

INPUT_OCTETS_MAX = 4096
INPUT_SECONDS_MAX = 5
"""One input that takes longer is a finding: a peer must not be able to keep the engine busy."""


@dataclass(frozen=True, slots=True)
class Result:
    """``coverage`` counts branches; ``finding`` is the file of the input that broke the target, or empty."""

    runs: int
    coverage: int
    finding: str


def fuzz(target: Callable[[bytes], None], name: str, corpus: Path, seconds: int, *, seed: int = 0) -> Result:
    """Runs one target, with what earlier runs of that name have found. ``seed`` 0 is any."""
    seeds, own, findings = (corpus / each / name for each in ("seeds", "found", "findings"))
    for folder in (seeds, own, findings):
        folder.mkdir(parents=True, exist_ok=True)
    write_seeds(name, seeds)
    before = set(findings.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.worker", f"{target.__module__}:{target.__name__}", str(own), str(seeds),
         f"-max_total_time={seconds}", f"-max_len={INPUT_OCTETS_MAX}", f"-timeout={INPUT_SECONDS_MAX}",
         f"-seed={seed}", "-print_final_stats=1", f"-artifact_prefix={findings}/"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    runs = re.search(r"stat::number_of_executed_units: *(\d+)", done.stderr)
    coverage = re.findall(r"cov: (\d+)", done.stderr)
    found = sorted(str(each) for each in set(findings.iterdir()) - before)
    if done.returncode and not found:
        found = [f"no input, but the target's process ended with {done.returncode}"]
    if found:
        print(done.stderr[-6000:], file=sys.stderr)
    return Result(int(runs[1]) if runs else 0, int(coverage[-1]) if coverage else 0, found[0] if found else "")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all of them by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz"), help="where what was found is kept")
    parser.add_argument("--json", action="store_true", help="kept for scripts: the last line is JSON either way")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    results = {}
    for name in arguments.targets or TARGETS:
        results[name] = fuzz(TARGETS[name], name, arguments.corpus, arguments.seconds)
        print(f"{name}: {results[name]}", file=sys.stderr)
    findings = sum(bool(result.finding) for result in results.values())
    print(json.dumps({"targets": {name: asdict(result) for name, result in results.items()}, "findings": findings}))
    sys.exit(findings > 0)


if __name__ == "__main__":
    main()
