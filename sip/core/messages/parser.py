"""Octets to messages. One decode, one split; nothing but PeerFault is ever raised (RFC 3261 §7, §25)."""

from __future__ import annotations

from sip.core.messages.grammar import is_digits, is_token
from sip.core.messages.message import Headers, Request, Response
from sip.core.messages.via import parse_via
from sip.errors import PeerFault

HEADERS_MAX = 256
HEADER_NAMES_CACHED_MAX = 512
CSEQ_MAX = 2**31  # RFC 3261 §8.1.1.5
CSEQ_DIGITS_MAX = 20  # leading zeros are allowed (RFC 4475 §3.1.1.1)

# RFC 3261 §7.3.3 and the IANA registry of compact forms
_COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}
# Two of these that differ mean that two parsers may see two messages.
_SINGLE = frozenset(("call-id", "content-length", "content-type", "cseq", "from", "max-forwards", "to"))

# Spelling on the wire -> key, filled as spellings are seen so that the hot path is one look-up.
_keys: dict[str, str] = {}


def parse_message(data: bytes, *, is_stream: bool = False) -> Request | Response:
    """Parses one message from a datagram (or, with `is_stream`, one already framed).

    Raises PeerFault; its `request` is set when the head could be read well enough to answer it.
    Bare LF line ends, folded lines and leading line breaks are taken; CR or NUL inside a line is not.
    """
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        head, body = _split_at_bare_lf(data)
    # Header text is UTF-8 (RFC 3261 §25.1); other encodings only ever stand in display names.
    text = head.decode("utf-8", "replace")
    lines = text.split("\r\n")
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\n " in text or "\n\t" in text or "\0" in text:
        lines = _normalised_lines(text)
    start = lines[0]
    first: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    fault: PeerFault | None = None
    if len(lines) > HEADERS_MAX:
        raise PeerFault(400, "Too Many Headers")
    known = _keys
    del lines[0]
    for line in lines:
        name, colon, value = line.partition(":")
        key = (known.get(name) or _key_of(name)) if colon else ""
        if not key:
            fault = fault or PeerFault(400, "Malformed Header Line")
            continue
        value = value.strip(" \t")
        if key not in first:
            first[key] = value
            continue
        repeated.setdefault(key, [first[key]]).append(value)
        if key in _SINGLE and first[key] != value:
            fault = fault or PeerFault(400, f"Repeated {key.title()}")
    return _assemble(start, Headers(first, repeated), body, fault, is_stream)


def _assemble(
    start: str, headers: Headers, body: bytes, fault: PeerFault | None, is_stream: bool
) -> Request | Response:
    first = headers.first
    try:
        via_text = first["via"]
        cseq = first["cseq"]
    except KeyError as missing:
        raise PeerFault(400, f"Missing {missing.args[0].title()}") from None
    # What follows is answerable even where it is wrong: the response copies what is there (RFC 4475 §3.3.1).
    call_id = first.get("call-id", "")
    if not (call_id and first.get("from") and first.get("to")):
        fault = fault or PeerFault(400, "Missing Or Empty From, To Or Call-ID")
    via = parse_via(via_text)
    if via.is_malformed:
        fault = fault or PeerFault(400, "Malformed Via")
    number_text, _, method = cseq.partition(" ")
    number = int(number_text) if is_digits(number_text) and len(number_text) <= CSEQ_DIGITS_MAX else CSEQ_MAX
    if method[:1] in (" ", "\t"):
        method = method.lstrip(" \t")
    if number >= CSEQ_MAX:
        fault = fault or PeerFault(400, "CSeq Out Of Range" if is_digits(number_text) else "Malformed CSeq")
    length_text = first.get("content-length")
    if length_text != str(len(body)):
        body, fault = _cut_body(length_text, body, fault, is_stream)
    if start.startswith("SIP/2.0 "):
        code = start[8:11]
        if not is_digits(code) or not 100 <= int(code) <= 699 or start[11:12] not in ("", " ") or fault:
            raise fault or PeerFault(400, "Malformed Status-Line")
        return Response(int(code), start[12:], headers, body, via, call_id, number, method)
    words = start.split(" ")
    if not is_token(words[0]) or "SIP/" not in start:
        raise fault or PeerFault(400, "Malformed Request-Line")
    request = Request(words[0], words[1], headers, body, via, call_id, number, method)
    if len(words) != 3 or not words[1]:
        fault = fault or PeerFault(400, "Malformed Request-Line")
    elif words[2] != "SIP/2.0":
        fault = PeerFault(505, "Version Not Supported") if words[2][:4].upper() == "SIP/" else fault
        fault = fault or PeerFault(400, "Malformed Request-Line")
    elif method != words[0]:
        fault = fault or PeerFault(400, "CSeq Method Differs")
    if fault:
        fault.request = request
        raise fault
    return request


def _cut_body(
    length_text: str | None, body: bytes, fault: PeerFault | None, is_stream: bool
) -> tuple[bytes, PeerFault | None]:
    """RFC 3261 §18.3: octets beyond Content-Length are dropped, too few are the sender's fault."""
    if length_text is None:
        return body, (fault or PeerFault(400, "Missing Content-Length")) if is_stream else fault
    if not is_digits(length_text) or len(length_text) > 8:
        return body, fault or PeerFault(400, "Malformed Content-Length")
    length = int(length_text)
    if length > len(body):
        return body, fault or PeerFault(400, "Content-Length Beyond The Message")
    return body[:length], fault


def _split_at_bare_lf(data: bytes) -> tuple[bytes, bytes]:
    """Head and body of a message whose lines (or only whose empty line) end in a bare LF."""
    head, separator, body = data.partition(b"\n\n")
    if separator:
        return head.removesuffix(b"\r"), body
    head, separator, body = data.partition(b"\n\r\n")
    if separator:
        return head.removesuffix(b"\r"), body
    # No empty line: some send the head alone, ended by one line break.
    return data.rstrip(b"\r\n"), b""


def _normalised_lines(text: str) -> list[str]:
    """Lines of a head with bare LF or folding (RFC 3261 §7.3.1).

    Raises PeerFault for a stray CR, or a NUL but as the quoted-pair that §25.1 allows it to be.
    """
    text = text.replace("\r\n", "\n")
    if "\r" in text or ("\0" in text and not _are_quoted_pairs(text)):
        raise PeerFault(400, "Control Character In Header")
    lines: list[str] = []
    for line in text.split("\n"):
        if line[:1] in (" ", "\t") and len(lines) > 1:
            lines[-1] = f"{lines[-1].rstrip(' ' + chr(9))} {line.lstrip(' ' + chr(9))}"
        else:
            lines.append(line)
    return lines


def _are_quoted_pairs(text: str) -> bool:
    """True when every NUL follows a backslash, in a line that has a quoted-string."""
    return all("\0" not in line.replace("\\\0", "") and '"' in line for line in text.split("\n") if "\0" in line)


def _key_of(name: str) -> str:
    """The lower-case long name for a spelling seen the first time, "" when it is no token."""
    stripped = name.rstrip(" \t")  # HCOLON = *( SP / HTAB ) ":" SWS
    if not is_token(stripped):
        return ""
    key = stripped.lower()
    key = _COMPACT.get(key, key)
    if len(_keys) < HEADER_NAMES_CACHED_MAX and len(name) <= 40:
        _keys[name] = key
    return key
