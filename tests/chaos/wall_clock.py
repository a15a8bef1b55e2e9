"""The wall clock of the system under test, which can be set and stopped while the machine's own goes on."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from pathlib import Path

SOURCE = Path(__file__).with_name("set_clock.c")
_SETTING = struct.Struct("=qq")
_NANOSECONDS = 1_000_000_000


class WallClock:
    """For processes that are started with ``environment``. Raises CalledProcessError if it cannot be built.

    Where there is no C compiler, it is the machine's clock, and cannot be set.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "clock"
        self.environment: dict[str, str] = {}
        if not self.can_be_set():
            return
        library = folder / "set_clock.so"
        subprocess.run(["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        self._file.write_bytes(_SETTING.pack(0, 0))
        self.environment = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self._file)}

    @staticmethod
    def can_be_set() -> bool:
        return shutil.which("cc") is not None

    def set_ahead(self, seconds: float) -> None:
        self._write(round(seconds * _NANOSECONDS), 0)

    def stop(self) -> None:
        self._write(0, time.time_ns())

    def set_right(self) -> None:
        self._write(0, 0)

    def _write(self, ahead_ns: int, stands_at_ns: int) -> None:
        with self._file.open("r+b") as file:  # in place: it is mapped into the processes
            file.write(_SETTING.pack(ahead_ns, stands_at_ns))
