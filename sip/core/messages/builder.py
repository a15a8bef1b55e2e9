"""Fields to octets. Everything that never changes is joined once, by the user agent, and comes in as text."""

from __future__ import annotations

from collections.abc import Iterable

from sip.core.messages.grammar import is_token
from sip.errors import LocalFault


def request_octets(
    method: str,
    uri_text: str,
    via: str,
    max_forwards: int,
    from_: str,
    to: str,
    call_id: str,
    cseq_number: int,
    lines: str,
    content_type: str,
    body: bytes,
) -> bytes:
    """A request; `lines` are further whole header lines, each ended by CRLF."""
    head = (
        f"{method} {uri_text} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: {max_forwards}\r\nFrom: {from_}\r\nTo: {to}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq_number} {method}\r\n{lines}"
    )
    if body:
        return f"{head}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    return f"{head}Content-Length: 0\r\n\r\n".encode()


def response_octets(status: int, reason: str, head: str, to: str, lines: str, content_type: str, body: bytes) -> bytes:
    """A response; `head` has the lines copied from the request but To."""
    text = f"SIP/2.0 {status} {reason}\r\n{head}To: {to}\r\n{lines}"
    if body:
        return f"{text}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    return f"{text}Content-Length: 0\r\n\r\n".encode()


def header_lines(headers: Iterable[tuple[str, str]]) -> str:
    """Whole header lines. Raises LocalFault where a value would break out of its line."""
    text = ""
    for name, value in headers:
        if not is_token(name):
            raise LocalFault("header name is no token")
        text = f"{text}{name}: {one_line(value, name)}\r\n"
    return text


def one_line(value: str, name: str) -> str:
    """`value`, or LocalFault when it holds a line break or NUL."""
    if "\r" in value or "\n" in value or "\0" in value:
        raise LocalFault(f"line break in {name}")
    return value
