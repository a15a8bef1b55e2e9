"""``scripts/sim --seeds N [--seed S] --json``: plays histories and looks for one that breaks an invariant."""

from __future__ import annotations

import argparse
import json
import sys

from tests.sim.history import play
from tests.sim.invariants import violations

SHOWN_MAX = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many histories")
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--json", action="store_true", help="kept for scripts: the last line is JSON either way")
    arguments = parser.parse_args()
    calls = found = 0
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        history = play(seed)
        calls += history.attempts
        for violation in violations(history):
            found += 1
            if found <= SHOWN_MAX:
                print(f"seed {seed}: {violation}", file=sys.stderr)
        if arguments.seeds == 1:
            print(f"history {history.network.history}", file=sys.stderr)
            for cdr in history.engine.records:
                print(cdr, file=sys.stderr)
    print(json.dumps({"seeds": arguments.seeds, "calls": calls, "violations": found}))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
