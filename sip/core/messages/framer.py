"""Messages out of a stream of octets, by Content-Length (RFC 3261 §18.3), and the keep-alives between them (RFC 5626).

A stream that cannot be framed cannot be mended either: whoever sent it is to be cut off.
"""

from __future__ import annotations

from sip.core.messages.grammar import TOKEN_CHARACTERS, is_digits
from sip.errors import PeerFault

MESSAGE_OCTETS_MAX = 65_535  # as a datagram; the user agent's own limit is lower, and answers 513
HEAD_OCTETS_MAX = 32_768
START_LINE_OCTETS_MAX = 4_096
CONTENT_LENGTH_DIGITS_MAX = 8

PING, PONG = b"\r\n\r\n", b"\r\n"  # RFC 5626 §3.5.1


class StreamFramer:
    """The receiving half of one connection."""

    __slots__ = ("_body_at", "_buffer", "_ends_at", "_half_ping", "_is_pong_due", "_searched")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # no end of the head lies before this
        self._body_at = 0  # 0 while the head is incomplete
        self._ends_at = 0
        self._half_ping = False
        self._is_pong_due = False

    def expect_pong(self) -> None:
        """We have sent PING: the next lone CRLF is its answer, and not half a ping of the peer's."""
        self._is_pong_due = True

    @property
    def waiting_octets(self) -> int:
        """What is held of an incomplete message; at most MESSAGE_OCTETS_MAX and what one read brought."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[bytes]:
        """Whole messages, in order, and PING for each double CRLF between them, PONG where one was due.

        Raises PeerFault where the stream is no SIP, says no length, or would exceed a limit; it is useless then.
        """
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        while buffer:
            if not self._body_at:
                self._skip_line_breaks(found)
                if not buffer or not self._find_head():
                    break
            if len(buffer) < self._ends_at:
                break
            found.append(bytes(buffer[: self._ends_at]))
            del buffer[: self._ends_at]
            self._searched = self._body_at = 0
        return found

    def _skip_line_breaks(self, found: list[bytes]) -> None:
        buffer = self._buffer
        while buffer[:2] == b"\r\n":
            del buffer[:2]
            if self._is_pong_due:
                self._is_pong_due = False
                found.append(PONG)
                continue
            if self._half_ping:
                found.append(PING)
            self._half_ping = not self._half_ping
        if buffer and buffer != b"\r":
            self._half_ping = False

    def _find_head(self) -> bool:
        """Sets where the message ends; False while that cannot be said."""
        buffer = self._buffer
        # A TLS hello on a TCP port gives itself away by its first octet.
        if chr(buffer[0]) not in TOKEN_CHARACTERS:
            if buffer == b"\r":
                return False
            raise PeerFault(400, "No SIP")
        line_end = buffer.find(b"\r\n", 0, START_LINE_OCTETS_MAX)
        if line_end < 0:
            if len(buffer) >= START_LINE_OCTETS_MAX:
                raise PeerFault(400, "No SIP")
            return False
        if b"SIP/" not in buffer[:line_end]:
            raise PeerFault(400, "No SIP")
        end = buffer.find(b"\r\n\r\n", max(line_end, self._searched))
        if end < 0:
            if len(buffer) > HEAD_OCTETS_MAX:
                raise PeerFault(400, "Head Too Long")
            self._searched = max(0, len(buffer) - 3)
            return False
        if end > HEAD_OCTETS_MAX:
            raise PeerFault(400, "Head Too Long")
        length = content_length(bytes(buffer[line_end : end + 2]))
        self._body_at = end + 4
        self._ends_at = self._body_at + length
        if self._ends_at > MESSAGE_OCTETS_MAX:
            raise PeerFault(513, "Message Too Large")
        return True


def content_length(head: bytes) -> int:
    """The Content-Length in header lines that each begin with CRLF. Raises PeerFault where none or two are told."""
    lowered = head.lower()
    found = -1
    for name in (b"\r\ncontent-length", b"\r\nl"):
        at = lowered.find(name)
        while at >= 0:
            start = at + len(name)
            line = lowered[start : lowered.find(b"\r\n", start)].lstrip(b" \t")
            if line[:1] == b":":
                text = line[1:].strip(b" \t").decode("latin-1")
                if not is_digits(text) or len(text) > CONTENT_LENGTH_DIGITS_MAX:
                    raise PeerFault(400, "Malformed Content-Length")
                if found not in (-1, int(text)):
                    raise PeerFault(400, "Repeated Content-Length")
                found = int(text)
            at = lowered.find(name, start)
    if found < 0:
        raise PeerFault(400, "Missing Content-Length")
    return found
