"""A private Mosquitto for the tests: its own folder and port, accounts and rights, perhaps TLS."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.benchmarks.installation import free_udp_port
from sip.transport.tls import TlsSettings

START_SECONDS_MAX = 10.0


class Mosquitto:
    """Started by ``start``; may be killed and started again, and then keeps what it was to deliver."""

    def __init__(
        self,
        accounts: Mapping[str, str],
        rights: Sequence[tuple[str, str]],
        tls: TlsSettings | None = None,
    ) -> None:
        """``accounts`` are passwords by name; ``rights`` are (name, "write some/topic/#")."""
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise RuntimeError("Mosquitto is not there: apt-get install mosquitto")
        self._program = program
        self.folder = Path(tempfile.mkdtemp(prefix="axbridge-mosquitto-"))
        self.port = free_udp_port("127.0.0.1")
        self._server: subprocess.Popen[bytes] | None = None
        passwords, acl = self.folder / "passwords", self.folder / "acl"
        passwords.touch(mode=0o600)
        for name, password in accounts.items():
            subprocess.run(["mosquitto_passwd", "-b", str(passwords), name, password], check=True, capture_output=True)
        acl.touch(mode=0o600)
        acl.write_text("".join(f"user {name}\ntopic {right}\n\n" for name, right in rights))
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {passwords}",
            f"acl_file {acl}",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_interval 1",
            "autosave_on_changes true",
            "user root",
            "log_dest stderr",
        ]
        if tls is not None:
            lines += [f"certfile {tls.certificate_file}", f"keyfile {tls.key_file}"]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._program, "-c", str(self.folder / "mosquitto.conf")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._server.poll() is not None:
                    raise RuntimeError(f"Mosquitto did not start:\n{self.log()}") from None
                time.sleep(0.05)

    def kill(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.kill()
            self._server.wait()

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
