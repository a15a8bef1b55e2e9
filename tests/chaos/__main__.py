"""``scripts/chaos --rounds N [--seed S] [--database postgresql] [--json]``: breaks a private system under load.

Each round one thing is killed, stopped or filled. At the end what the callers saw is compared with CDRs, money and
recordings. The last line is JSON; exit code 1 if anything is missing, doubled, off, unreadable, leaked or lost.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.attempts import read_attempts
from tests.chaos.audit import Findings, audit, read_books, unheard_notices
from tests.chaos.broker import Broker
from tests.chaos.disasters import Disasters
from tests.chaos.load import Load
from tests.chaos.plan import OF_THE_CLOCK, Fault, make_plan
from tests.chaos.system import System
from tests.chaos.wall_clock import WallClock
from tests.chaos.world import make_pairs, provisioning
from tests.postgresql import Cluster

SMALL_DISK_OCTETS = 4 * 1024**3
"""In memory, and used as far as recordings go: 32 kB for each second of talk."""
DRAIN_SECONDS = 45.0
"""After the last call's end: SIPp's own retransmissions, and the engine's."""
SHOWN_MAX = 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the plan of faults and of the talks' lengths")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--calls-per-second", type=float, default=6.0)
    parser.add_argument("--talk-seconds-max", type=float, default=40.0)
    parser.add_argument("--faults", help="only these, separated by commas")
    parser.add_argument("--keep", action="store_true", help="leave logs and books behind even if all is right")
    parser.add_argument("--json", action="store_true", help="kept for scripts: the last line is JSON either way")
    arguments = parser.parse_args()
    result, found = run(arguments)
    for text in found.all()[:SHOWN_MAX]:
        print(text, file=sys.stderr)
    print(f"causes: {dict(found.causes)}", file=sys.stderr)
    print(json.dumps(result))
    return 1 if found.all() else 0


def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], Findings]:
    skipped = []
    possible = set(Fault)
    if not WallClock.can_be_set():
        possible -= OF_THE_CLOCK
        skipped.append("clock set or stopped: there is no C compiler (cc) to make another clock with")
    if arguments.database == "sqlite":
        possible -= {Fault.DATABASE_KILLED, Fault.ENGINE_KILLED_WITHOUT_DATABASE}
        skipped.append("database killed: SQLite has no process to kill; use --database postgresql")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="axbridge-chaos-"))
        print(f"logs and books: {folder}", file=sys.stderr)
        disk = stack.enter_context(small_disk())
        if disk is None:
            possible.remove(Fault.DISK_FULL)
            skipped.append("disk_full: a small disk can be mounted by root alone")
        if arguments.faults:
            possible &= {Fault(name) for name in arguments.faults.split(",")}
        url, cluster = "", None
        if arguments.database == "postgresql":
            cluster = Cluster()
            stack.callback(cluster.remove)
            cluster.start()
            url = cluster.url(cluster.create())
        broker = Broker(folder / "broker")
        stack.callback(broker.remove)
        broker.start()
        broker.listen()
        pairs = make_pairs()
        system = System(folder / "system", database_url=url, small_disk=disk, push=broker.configuration)
        audited: list[Findings] = []

        def tidy() -> None:
            """What is wrong can be looked at; a run that broke off leaves everything too."""
            if not arguments.keep and audited and not audited[0].all():
                system.remove()
                shutil.rmtree(folder, ignore_errors=True)

        stack.callback(tidy)
        talk_seconds = (min(5.0, arguments.talk_seconds_max), arguments.talk_seconds_max)
        load = Load(folder / "load", pairs, system.settings.sip.port, arguments.seed, talk_seconds)
        system.load(provisioning(pairs, load.ports))
        system.start()
        stack.callback(system.stop)
        stack.callback(load.end)
        load.start(arguments.calls_per_second)
        disasters = Disasters(system, load, cluster, disk, folder / "journals", broker)
        plan = make_plan(arguments.seed, arguments.rounds, possible)
        left_out = sorted(possible - {each.fault for each in plan})
        skipped += [f"{fault}: not within {arguments.rounds} rounds of this seed" for fault in left_out]
        disasters.run(plan)
        load.hush()
        load.wait(arguments.talk_seconds_max + DRAIN_SECONDS)
        left = system.drain(DRAIN_SECONDS)
        stopped = system.stop()
        load.end()
        books = read_books(system.settings.database_url)
        disasters.befallen.voices_late = load.late_voices()
        found = audit(
            read_attempts(load.caller_logs), books, pairs, disasters.befallen, system.settings.recordings_folder
        )
        found.leaked += left
        found.unheard = unheard_notices(books, broker.heard)
        if not stopped:
            found.leaked.append("the system did not end of itself")
        audited.append(found)
        keep_recordings(found, folder / "recordings")
    recovery = {str(fault): round(max(seconds), 2) for fault, seconds in disasters.recovery_seconds.items()}
    result = {
        "rounds": arguments.rounds,
        "calls": found.calls,
        "answered": found.answered,
        "calls_talking_at_engine_kills": found.talking_at_kills,
        "calls_kept_ratio": round(found.kept_ratio, 4),
        "cdrs_missing": len(found.missing),
        "cdrs_doubled": len(found.doubled),
        "money_off_micro": found.money_off_micro,
        "recordings_unreadable": len(found.unreadable),
        "voices_late_seconds": round(sum(end - begin for begin, end in disasters.befallen.voices_late), 2),
        "leaked": len(found.leaked),
        "notices": len(books.notices),
        "notices_unheard": len(found.unheard),
        "cut_in_spite_of_credit": len(found.cut),
        "recovery_seconds_max": max(recovery.values(), default=0.0),
        "recovery_seconds": recovery,
        "seed": arguments.seed,
        "database": arguments.database,
        "skipped": skipped,
    }
    return result, found


def keep_recordings(found: Findings, folder: Path) -> None:
    """Copies of those that are wrong: the small disk goes with the run."""
    for path in found.bad_recordings[:SHOWN_MAX]:
        if path.exists():
            folder.mkdir(exist_ok=True)
            shutil.copy(path, folder)


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """A file system of SMALL_DISK_OCTETS; None where we may not mount one."""
    folder = Path(tempfile.mkdtemp(prefix="axbridge-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_OCTETS},mode=700", "axbridge-chaos", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


if __name__ == "__main__":
    sys.exit(main())
