"""baresip as a softphone without a sound card: a tone for its microphone, a file for its loudspeaker.

It is driven over TCP by its module ctrl_tcp: JSON objects in netstrings, commands to it and events from it.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from media.codec.g711 import Pcm
from media.codec.tone import tone
from scripts.benchmarks.installation import free_udp_port
from tests.interop.site import wait_for
from tests.interop.wire import Message

MODULES = Path("/usr/lib/baresip/modules")
TONE_SECONDS = 20
END_SECONDS_MAX = 5.0

_Result = TypeVar("_Result")

# What -s writes of a message: its way, an empty-line-ended head, a body, all between two changes of colour.
_TRACED = re.compile(
    rb"\x1b\[36;1m#\n(?:UDP|TCP|TLS) (\S+) -> (\S+)\n(.*?)\n?\x1b\[;m\n",
    re.DOTALL,
)


class Baresip:
    """One process with one account. ``registrar`` is "host:port" of whom it registers at, "" for a phone at a trunk."""

    def __init__(
        self,
        folder: Path,
        *,
        host: str,
        username: str,
        frequency_hz: float,
        port: int = 0,
        password: str = "",
        registrar: str = "",
        media_encryption: str = "",
        answers: bool = False,
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.port = port or free_udp_port(host)
        self.events: list[dict[str, Any]] = []
        self._own = f"{host}:{self.port}"
        self._waiting = b""
        control = free_tcp_port(host)
        _write_tone(folder / "microphone.wav", frequency_hz)
        account = [
            f"<sip:{username}@{registrar or host}>", "audio_codecs=PCMA", f"regint={60 if registrar else 0}",
            f"answermode={'auto' if answers else 'manual'}",
            *([f"auth_user={username}", f"auth_pass={password}"] if password else []),
            *([f"mediaenc={media_encryption}"] if media_encryption else []),
        ]  # fmt: skip
        (folder / "accounts").write_text(";".join(account) + "\n")
        (folder / "config").write_text(
            f"poll_method epoll\nmodule_path {MODULES}\nnet_interface {host}\nsip_listen {self._own}\n"
            f"ctrl_tcp_listen {host}:{control}\n"
            f"audio_path {folder}\naudio_source aufile,{folder / 'microphone.wav'}\nsnd_path {folder}\n"
            # The file of the tone is 8 kHz, one channel: nothing is to be resampled.
            "ausrc_srate 8000\nausrc_channels 1\nauplay_srate 8000\nauplay_channels 1\naudio_level no\n"
            + "".join(f"module {name}.so\n" for name in ("g711", "aufile", "sndfile", "rtcpsummary", "srtp"))
            + "module_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n"
        )
        with (folder / "output.txt").open("wb") as output:
            self.process = subprocess.Popen(
                ["baresip", "-4", "-s", "-v", "-f", str(folder)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._control = wait_for("baresip's control port", lambda: self._connect(host, control))

    # Driving ------------------------------------------------------------------------------------------------------

    def command(self, name: str, parameters: str = "") -> None:
        """A long command of the menu's: dial, accept, hangup, hold, resume, sndcode …"""
        text = json.dumps({"command": name, "params": parameters}).encode()
        self._control.sendall(b"%d:%b," % (len(text), text))

    def wait_registered(self, seconds: float = 5.0) -> None:
        """It registers as it starts, before anyone can listen for its events."""

        def find() -> bool:
            return any(each.header("CSeq").endswith("REGISTER") for each in self.received("SIP/2.0 200"))

        self._wait("registration", find, seconds)

    def wait_received(self, start: str, seconds: float = 5.0) -> Message:
        return self._wait(f"message {start}", lambda: self.received(start), seconds)[0]

    def wait_event(self, kind: str, seconds: float = 5.0, *, after: int = 0) -> dict[str, Any]:
        """The first event of that type, of those behind the first ``after`` ones, come or still to come."""

        def find() -> dict[str, Any] | None:
            self.take_events()
            return next((each for each in self.events[after:] if each.get("type") == kind), None)

        return self._wait(f"event {kind}", find, seconds)

    def take_events(self) -> None:
        """Reads what baresip has told meanwhile into ``events``."""
        try:
            while data := self._control.recv(65_536):
                self._waiting += data
        except BlockingIOError:
            pass
        while True:
            length, colon, rest = self._waiting.partition(b":")
            if not colon or len(rest) <= int(length):
                return
            told = json.loads(rest[: int(length)])
            self._waiting = rest[int(length) + 1 :]
            if told.get("event"):
                self.events.append(told)

    def end(self) -> None:
        """It hangs up and unregisters, as when its user closes it."""
        self._control.close()
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    # What came of it ----------------------------------------------------------------------------------------------

    def messages(self) -> list[Message]:
        """SIP messages sent and received so far, in order."""
        return [
            Message(octets, received=source.decode() != self._own)
            for source, _, octets in _TRACED.findall(self._output())
        ]

    def received(self, start: str = "") -> list[Message]:
        return [each for each in self.messages() if each.received and each.start_line.startswith(start)]

    def sent(self, start: str = "") -> list[Message]:
        return [each for each in self.messages() if not each.received and each.start_line.startswith(start)]

    def heard(self) -> Pcm:
        """The samples that it decoded in the call that has ended."""
        return self._sound("dec")

    def said(self) -> Pcm:
        return self._sound("enc")

    def _wait(self, what: str, find: Callable[[], _Result | None], seconds: float) -> _Result:
        try:
            return wait_for(f"baresip's {what}", find, seconds)
        except AssertionError as error:
            kinds = [each.get("type") for each in self.events]
            output = self._output().decode(errors="replace")[-6000:]
            raise AssertionError(f"{error}; events {kinds}\n{output}") from None

    def _sound(self, side: str) -> Pcm:
        path = wait_for(f"baresip's sound file ({side})", lambda: sorted(self.folder.glob(f"dump-*-{side}.wav")))[-1]
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
            return np.frombuffer(file.readframes(file.getnframes()), np.int16)

    def _output(self) -> bytes:
        return (self.folder / "output.txt").read_bytes()

    def _connect(self, host: str, port: int) -> socket.socket | None:
        assert self.process.poll() is None, self._output().decode(errors="replace")[-2000:]
        try:
            control = socket.create_connection((host, port), timeout=1.0)
        except ConnectionRefusedError:
            return None
        control.setblocking(False)
        return control


def _write_tone(path: Path, frequency_hz: float) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(tone(TONE_SECONDS * 8000, frequency_hz).tobytes())


def free_tcp_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
