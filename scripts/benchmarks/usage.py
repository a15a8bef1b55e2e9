"""What a process has used: CPU of all its threads, and resident memory."""

from __future__ import annotations

import os
from pathlib import Path

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """utime + stime of all threads. From the scheduler's own count where there is one: /proc/<pid>/stat says the same
    in steps of 10 ms, which is a sixth of what a minimal relay takes in three seconds at 100 calls.
    Raises FileNotFoundError where there is no such process."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
    except (OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_SECONDS


def resident_kb(pid: int) -> int:
    """Resident memory; raises FileNotFoundError where there is no such process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def with_children(pid: int) -> list[int]:
    """The process and all below it: a forking server's work is in its children."""
    found = [pid]
    for parent in found:  # grows as it is read
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found
