"""A phone's voice: G.711 packets every 20 ms, and each packet that comes, octet for octet."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np

from media.codec.g711 import Pcm, decode, encode
from media.codec.tone import tone
from media.rtp.packet import Packet, build, parse

FRAME_SAMPLES = 160
FRAME_SECONDS = 0.02
PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8}


class RtpPhone:
    """Sends a tone from ``talk`` to ``hush``; ``heard`` are the packets that came, from whatever address."""

    def __init__(self, host: str, frequency_hz: float, ssrc: int, *, law: str = "PCMA") -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(0.05)
        self.port = int(self.socket.getsockname()[1])
        self.frequency_hz = frequency_hz
        self.ssrc = ssrc
        self.law = law
        self.sent: list[bytes] = []
        """Payloads, in order."""
        self.heard: list[Packet] = []
        self._closed = threading.Event()
        self._hushed = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._speaker: threading.Thread | None = None

    def talk(self, target: tuple[str, int], seconds: float) -> None:
        """Begins to send in the background: ``seconds`` of tone."""
        frames = round(seconds / FRAME_SECONDS)
        voice = encode(tone(frames * FRAME_SAMPLES, self.frequency_hz), self.law)
        self._hushed.clear()
        self._speaker = threading.Thread(target=self._speak, args=(target, voice), daemon=True)
        self._speaker.start()

    def finish(self) -> None:
        """Returns when all is said."""
        if self._speaker is not None:
            self._speaker.join()

    def hush(self) -> None:
        self._hushed.set()
        self.finish()

    def close(self) -> None:
        self.hush()
        self._closed.set()
        self._listener.join()
        self.socket.close()

    def heard_from(self, ssrc: int) -> list[bytes]:
        """Payloads of that source, in order of their sequence numbers."""
        packets = {packet.sequence: packet.payload for packet in list(self.heard) if packet.ssrc == ssrc}
        return [packets[sequence] for sequence in sorted(packets)]

    def _speak(self, target: tuple[str, int], voice: bytes) -> None:
        start = time.monotonic()
        first = len(self.sent)
        for index in range(len(voice) // FRAME_SAMPLES):
            if self._hushed.is_set():
                return
            payload = voice[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES]
            number = first + index
            packet = Packet(
                PAYLOAD_TYPES[self.law],
                number == 0,
                1000 + number,
                160_000 + number * FRAME_SAMPLES,
                self.ssrc,
                payload,
            )
            self.socket.sendto(build(packet), target)
            self.sent.append(payload)
            time.sleep(max(0.0, start + (index + 1) * FRAME_SECONDS - time.monotonic()))

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                data, _ = self.socket.recvfrom(2048)
            except TimeoutError:
                continue
            except OSError:
                time.sleep(0.005)  # an ICMP error of what we sent: nobody listens there any more
                continue
            self.heard.append(parse(data))


def samples_of(payloads: list[bytes], law: str = "PCMA") -> Pcm:
    """The samples that such payloads stand for, one after the other."""
    return decode(np.frombuffer(b"".join(payloads), np.uint8), law)


def power_at(samples: Pcm, frequency_hz: float) -> float:
    """The share of the samples' energy that lies at a frequency, 0 to 1 (Goertzel, as one product)."""
    if not len(samples) or not samples.any():
        return 0.0
    values = samples.astype(np.float64)
    turn = np.exp(-2j * np.pi * frequency_hz / 8000 * np.arange(len(values)))
    return float(2 * abs(np.dot(values, turn)) ** 2 / (len(values) * np.dot(values, values)))
