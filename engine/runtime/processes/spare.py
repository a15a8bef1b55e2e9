"""A process that has everything imported and waits until it is needed (ADR 16).

The supervisor starts it beside the one that serves, and writes a line into its standard input when that one dies.
Python's imports, a second of a processor, have then been done; what is left is the journal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

SPARE_OPTION = "--spare"
TURN = b"serve\n"
"""What the supervisor writes. The end of the input instead says that nobody will ever need the spare."""

_NAME_FILE = Path("/proc/self/comm")
_NAME_OCTETS_MAX = 15


def stand_by(name: str) -> bool:
    """Blocks until it is the turn of this process, which has imported all that it needs; False if that never comes.

    After an upgrade it does not return: the process becomes a new one.
    """
    times = modification_times(sys.modules)
    if not wait_for_turn(sys.stdin.buffer, name):
        return False
    if is_outdated(times):
        start_anew()
    return True


def wait_for_turn(orders: BinaryIO, name: str) -> bool:
    """Blocks until it is this process's turn; False if its supervisor is gone. ``name`` is what ``ps`` shows then."""
    _show_as(f"spare {name}")
    is_told = orders.readline() == TURN
    _show_as(name)
    return is_told


def modification_times(modules: Mapping[str, ModuleType]) -> dict[str, int]:
    """Nanoseconds by file, of all that was imported from one."""
    paths = (getattr(module, "__file__", None) for module in list(modules.values()))
    return _times_of(path for path in paths if path is not None)


def is_outdated(times: Mapping[str, int]) -> bool:
    """Whether any of those files has changed or gone: an upgrade, which the spare has not seen."""
    return _times_of(times) != times


def _times_of(paths: Iterable[str]) -> dict[str, int]:
    found = {}
    for path in paths:
        with suppress(OSError):
            found[path] = os.stat(path).st_mtime_ns
    return found


def start_anew() -> None:
    """Becomes a new process of the same command, which imports what is there now. It does not return."""
    arguments = [each for each in sys.orig_argv if each != SPARE_OPTION]
    os.execv(sys.executable, [sys.executable, *arguments[1:]])  # noqa: S606 - our own command line


def _show_as(name: str) -> None:
    with suppress(OSError):  # no Linux
        _NAME_FILE.write_text(name[:_NAME_OCTETS_MAX])
