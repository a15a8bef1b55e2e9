"""A SIP message as a phone logged it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    octets: bytes
    received: bool

    @property
    def start_line(self) -> str:
        return self.octets.partition(b"\r\n")[0].decode(errors="replace")

    @property
    def status(self) -> int:
        """Of a response; 0 for a request."""
        return int(self.start_line[8:11]) if self.start_line.startswith("SIP/2.0 ") else 0

    def header(self, name: str) -> str:
        """The first header of that long name, "" where there is none."""
        match = re.search(rf"^{re.escape(name)}[ \t]*:[ \t]*(.*?)\r?$", self._head(), re.IGNORECASE | re.MULTILINE)
        return match[1] if match else ""

    def headers(self, name: str) -> list[str]:
        pattern = rf"^{re.escape(name)}[ \t]*:[ \t]*(.*?)\r?$"
        return re.findall(pattern, self._head(), re.IGNORECASE | re.MULTILINE)

    @property
    def body(self) -> str:
        return self.octets.partition(b"\r\n\r\n")[2].decode()

    @property
    def media(self) -> tuple[str, int]:
        """Where the session description wants its audio."""
        host = re.search(r"^c=IN IP[46] (\S+)", self.body, re.MULTILINE)
        port = re.search(r"^m=audio (\d+) ", self.body, re.MULTILINE)
        assert host is not None, f"no c= line in {self.start_line}"
        assert port is not None, f"no m=audio line in {self.start_line}"
        return host[1], int(port[1])

    def _head(self) -> str:
        return self.octets.partition(b"\r\n\r\n")[0].decode(errors="replace")
