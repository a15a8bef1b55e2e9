"""name-addr: what From, To, Contact, Route and Record-Route hold (RFC 3261 §20.10)."""

from __future__ import annotations

from sip.core.messages.grammar import parse_parameters, quote, unquote
from sip.core.messages.uri import SipUri, parse_uri
from sip.errors import PeerFault


class NameAddr:
    """`display` is unquoted, "" when absent; `uri_text` is the URI as it came, `uri` the same parsed."""

    __slots__ = ("display", "parameters", "uri", "uri_text")

    def __init__(self, display: str, uri: SipUri, parameters: dict[str, str], uri_text: str = "") -> None:
        self.display = display
        self.uri = uri
        self.uri_text = uri_text or str(uri)
        self.parameters = parameters

    @property
    def tag(self) -> str:
        """The tag parameter, "" when absent."""
        return self.parameters.get("tag", "")

    def __str__(self) -> str:
        text = f"<{self.uri_text}>"
        if self.display:
            text = f"{quote(self.display)} {text}"
        for name, value in self.parameters.items():
            text = f"{text};{name}={value}" if value else f"{text};{name}"
        return text


def parse_name_addr(value: str, header: str) -> NameAddr:
    """Parses one name-addr or addr-spec with its header parameters.

    In an addr-spec without brackets everything after the first ";" belongs to the header, not to the URI
    (RFC 3261 §20). Raises PeerFault 400 naming `header`, 414 for a URI too long.
    """
    display = ""
    if value[:1] == '"':
        end = _closing_quote(value, header)
        display = unquote(value[: end + 1])
        rest = value[end + 1 :].lstrip(" \t")
        if rest[:1] != "<":
            raise PeerFault(400, f"Malformed {header}")
    else:
        rest = value
    open_at = rest.find("<")
    if open_at < 0:
        uri_text, semicolon, tail = rest.partition(";")
        uri_text = uri_text.strip(" \t")
        if "?" in uri_text:  # such a URI must stand in brackets (RFC 3261 §20)
            raise PeerFault(400, f"Malformed {header}")
    else:
        if open_at > 0:
            display = rest[:open_at].strip(" \t")
        close_at = rest.find(">", open_at)
        if close_at < 0:
            raise PeerFault(400, f"Malformed {header}")
        uri_text = rest[open_at + 1 : close_at].strip(" \t")
        tail = rest[close_at + 1 :].lstrip(" \t")
        semicolon = tail[:1]
        if semicolon and semicolon != ";":
            raise PeerFault(400, f"Malformed {header}")
    parameters = parse_parameters(tail, header) if semicolon else {}
    return NameAddr(display, parse_uri(uri_text, header), parameters, uri_text)


def _closing_quote(value: str, header: str) -> int:
    position = 1
    while True:
        position = value.find('"', position)
        if position < 0:
            raise PeerFault(400, f"Malformed {header} Display Name")
        backslashes = 0
        while value[position - 1 - backslashes] == "\\":
            backslashes += 1
        if backslashes % 2 == 0:
            return position
        position += 1


def tag_of(value: str) -> str:
    """The tag of a From or To value, "" when there is none, without parsing the rest.

    Runs for every request, so the common case is two searches.
    """
    close_at = value.rfind(">")
    position = value.find(";tag=", close_at + 1)
    if position >= 0 and value.find('"', close_at + 1) < 0:
        end = value.find(";", position + 5)
        tag = value[position + 5 :] if end < 0 else value[position + 5 : end]
        return tag.strip(" \t")
    if ";" not in value:
        return ""
    open_at = value.find("<", value.rfind('" <') + 1)
    tail = value[value.find(">", open_at) + 1 :] if open_at >= 0 else value.partition(";")[2]
    return parse_parameters(tail, "Tag").get("tag", "")
