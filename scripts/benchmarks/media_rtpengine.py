"""rtpengine in userspace beside us: started on free ports, driven by its ng protocol over UDP, ended by its pid."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from scripts.benchmarks.installation import free_udp_port

START_SECONDS_MAX = 10.0
REPLY_SECONDS_MAX = 10.0
PORT_MIN, PORT_MAX = 12_000, 31_999
"""Away from those of our workers in the benchmarks: it keeps a call's ports for half a minute."""

Value = str | bytes | list[str]


def available() -> bool:
    return shutil.which("rtpengine") is not None


def bencode(value: Value | dict[str, Value]) -> bytes:
    match value:
        case dict():
            return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
        case list():
            return b"l" + b"".join(bencode(item) for item in value) + b"e"
        case str():
            return bencode(value.encode())
        case bytes():
            return b"%d:%b" % (len(value), value)


class Rtpengine:
    """One daemon without the kernel's help (table -1). ``record`` has it write pcap files, all it can in userspace."""

    def __init__(self, folder: Path) -> None:
        port = free_udp_port("127.0.0.1")
        self._folder = folder / "rtpengine"
        self._folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [
                "rtpengine", "--config-file=none", "--foreground", "--log-stderr", "--log-level=3", "--table=-1",
                "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{port}", f"--port-min={PORT_MIN}",
                f"--port-max={PORT_MAX}", "--recording-method=pcap", f"--recording-dir={self._folder}",
            ],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.pid = self._process.pid
        self.port = port
        self._cookie = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(0.1)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self.ask({"command": "ping"})
                break
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.close()
                    raise SystemExit("rtpengine does not start") from None
                time.sleep(0.05)
        self._socket.settimeout(REPLY_SECONDS_MAX)

    def ask(self, command: dict[str, Value]) -> bytes:
        """The reply, still in bencode; an error ends the measurement."""
        self._cookie += 1
        cookie = b"%d " % self._cookie
        self._socket.send(cookie + bencode(command))
        while True:
            reply = self._socket.recv(65_535)
            if reply.startswith(cookie):
                break
        if b"6:result5:error" in reply:
            raise SystemExit(f"rtpengine refused: {reply!r}")
        return reply

    def call(self, call_id: str, offer: bytes, answer: bytes, *, record: bool) -> tuple[int, int]:
        """Make a call; returns the ports for the caller and for the callee to send to."""
        common: dict[str, Value] = {"call-id": call_id, "from-tag": "caller", "replace": ["origin"]}
        towards_callee = self._port(self.ask(common | {"command": "offer", "sdp": offer}))
        towards_caller = self._port(self.ask(common | {"command": "answer", "to-tag": "callee", "sdp": answer}))
        if record:
            self.ask({"command": "start recording", "call-id": call_id})
        return towards_caller, towards_callee

    def recorded_octets(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("pcaps/*"))

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    @staticmethod
    def _port(reply: bytes) -> int:
        found = re.search(rb"m=audio (\d+) ", reply)
        if found is None:
            raise SystemExit("rtpengine's reply has no audio")
        return int(found[1])
