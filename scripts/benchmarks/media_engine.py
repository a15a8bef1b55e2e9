"""An engine for measurements: sends one command after the other and waits for its reply."""

from __future__ import annotations

import itertools
import socket
import time
from pathlib import Path

import msgspec

from media.plane import Accepted, Command, Event, RecordingFinished, Refused

START_SECONDS_MAX = 10.0
REPLY_SECONDS_MAX = 30.0


class Engine:
    """A blocking connection to one worker."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(REPLY_SECONDS_MAX)
        self._cookies = itertools.count(1)
        self._decoder = msgspec.msgpack.Decoder(Accepted | Refused | Event)
        self.recordings: list[RecordingFinished] = []
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self._socket.connect(str(path))
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def cookie(self) -> int:
        return next(self._cookies)

    def ask(self, command: Command) -> Accepted:
        """The reply to a command; a refusal ends the measurement."""
        self._socket.send(msgspec.msgpack.encode(command))
        while True:
            message = self._receive()
            if isinstance(message, Refused):
                raise SystemExit(f"refused: {message.refusal} {message.reason}")
            if isinstance(message, Accepted):
                return message

    def port(self, command: Command) -> int:
        """The audio port in the SDP of the reply."""
        return int(self.ask(command).sdp.split(b"m=audio ")[1].split()[0])

    def await_recordings(self, count: int) -> None:
        while len(self.recordings) < count:
            self._receive()

    def _receive(self) -> Accepted | Refused | Event:
        message: Accepted | Refused | Event = self._decoder.decode(self._socket.recv(1 << 18))
        if isinstance(message, RecordingFinished):
            self.recordings.append(message)
        return message
