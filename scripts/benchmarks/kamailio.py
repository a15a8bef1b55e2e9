"""A Kamailio process: started with a script, asked until it answers, ended with all of its workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

START_SECONDS_MAX = 10.0
END_SECONDS_MAX = 5.0
ANSWER_SECONDS_MAX = 0.2


class KamailioProcess:
    """Kamailio in the foreground, over ``script``, which must answer OPTIONS to UDP at ``host`` and ``port`` with 200.

    ``folder`` is its own and keeps its script and its log. Raises TimeoutError, with the end of that log, where it does
    not come up; it is ended then.
    """

    def __init__(
        self, folder: Path, script: str, *, host: str, port: int, shared_memory_mb: int, private_memory_mb: int
    ) -> None:
        self._at = (host, port)
        self._log = folder / "log.txt"
        config = folder / "kamailio.cfg"
        config.write_text(script)
        with self._log.open("wb") as log:
            # -DD: its workers are children of the process that we have started, and end when it does.
            self._process = subprocess.Popen(
                ["kamailio", "-DD", "-E", "-f", str(config), "-Y", str(folder), "-w", str(folder),
                 "-m", str(shared_memory_mb), "-M", str(private_memory_mb)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.end()
            raise

    @property
    def process_id(self) -> int:
        """Of the main process, whose children do the work."""
        return self._process.pid

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        try:
            # Its workers are a group of their own with it, and outlive it where it had to be killed.
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while self._process.poll() is None and time.monotonic() < deadline:
            asked_at = time.monotonic()
            if self._answers():
                return
            time.sleep(max(0.0, asked_at + ANSWER_SECONDS_MAX / 2 - time.monotonic()))  # refused at once
        raise TimeoutError(f"Kamailio did not come up:\n{self.log()[-3000:]}")

    def _answers(self) -> bool:
        host, port = self._at
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
            probe.settimeout(ANSWER_SECONDS_MAX)
            own = probe.getsockname()[1]
            head = (
                f"OPTIONS sip:{host}:{port} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {host}:{own};branch=z9hG4bKprobe{own}\r\n"
                f"From: <sip:probe@{host}>;tag=1\r\nTo: <sip:{host}>\r\nCall-ID: probe-{own}\r\n"
                "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            )
            try:
                probe.sendto(head.encode(), (host, port))
                return probe.recv(2048).startswith(b"SIP/2.0 200")
            except OSError:  # nothing listens there yet, or nothing came
                return False
