"""A SIP phone by hand, for what SIPp cannot do: crossing, broken and unusual messages."""

from __future__ import annotations

import select
import socket
import time

from tests.interop.wire import Message


class SipPhone:
    """One socket towards the engine. Retransmits nothing; what comes is in ``received``."""

    def __init__(self, host: str, port: int, engine: tuple[str, int]) -> None:
        self.host, self.port, self.engine = host, port, engine
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.received: list[Message] = []
        self._read = 0
        self._branch = 0

    def send(self, octets: bytes) -> None:
        self.socket.sendto(octets, self.engine)

    def request(
        self,
        method: str,
        uri: str,
        *,
        from_: str,
        to: str,
        call_id: str,
        cseq: int = 1,
        headers: tuple[str, ...] = (),
        body: str = "",
    ) -> None:
        """Sends a request that is well-formed but for what its arguments say."""
        self._branch += 1
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bK-{call_id}-{self._branch};rport",
            f"From: {from_}",
            f"To: {to}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:phone@{self.host}:{self.port}>",
            "Max-Forwards: 70",
            *headers,
            f"Content-Length: {len(body.encode())}",
        ]
        self.send(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def answer(self, seconds: float = 3.0, *, least: int = 101) -> Message:
        """The next response that is not read yet and has at least that status. AssertionError if none comes."""
        deadline = time.monotonic() + seconds
        while True:
            while self._read < len(self.received):
                self._read += 1
                if self.received[self._read - 1].status >= least:
                    return self.received[self._read - 1]
            left = deadline - time.monotonic()
            assert left > 0, f"no answer within {seconds} s; got {[each.start_line for each in self.received]}"
            self.take(left)

    def take(self, seconds: float) -> None:
        """Waits so long for one datagram, and keeps it."""
        ready, _, _ = select.select([self.socket], [], [], max(0.0, seconds))
        if ready:
            self.received.append(Message(self.socket.recv(65_536), received=True))

    def listen(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.take(left)

    def close(self) -> None:
        self.socket.close()
