"""The top Via: who sent a request, and where its responses go (RFC 3261 §18.2, RFC 3581)."""

from __future__ import annotations

from sip.core.hop import Hop, is_numeric_host
from sip.core.messages.grammar import split_elements, split_outside_quotes
from sip.core.messages.uri import parse_host_port
from sip.errors import PeerFault

MAGIC_COOKIE = "z9hG4bK"  # RFC 3261 §8.1.1.7: a branch that starts so is unique in space and time


class Via:
    """`sent_by` is the text "host" or "host:port" as it came; `value` the whole top element."""

    __slots__ = ("branch", "is_malformed", "others", "sent_by", "value", "wants_rport")

    def __init__(self, value: str, sent_by: str, branch: str, *, wants_rport: bool, others: str) -> None:
        self.value = value
        self.sent_by = sent_by
        self.branch = branch
        self.wants_rport = wants_rport
        self.others = others  # further elements on the same line, ready to follow the top one
        self.is_malformed = False  # wrong, but well enough to be answered

    def answered_from(self, source: Hop) -> tuple[str, Hop]:
        """The Via value to put in responses and the hop they go to.

        RFC 3261 §18.2.1: `received` when the sent-by differs from the source; RFC 3581 §4: with `rport`, its value
        and always `received`, and the response goes to the source port. maddr is not followed: it would let
        anyone have us send to a third party.
        """
        host, port = parse_host_port(self.sent_by, "Via")
        value = self.value
        if self.wants_rport:
            value = value.replace(";rport", f";rport={source.port}", 1) + f";received={source.host}"
            hop = source
        else:
            if host != source.host:
                value = f"{value};received={source.host}"
            hop = source if source.is_reliable else Hop(source.transport, source.host, port or 5060)
        return value + self.others, hop


def reopened_hop(response: bytes, hop: Hop) -> Hop | None:
    """Where a response goes whose connection `hop` is gone: the port of the top Via's sent-by at the address that the
    request came from (RFC 3261 §18.2.2); None for what is no response.

    That address is the `received` of the response's Via, or its sent-by where both are the same. Whether the name in a
    sent-by leads elsewhere (RFC 3263 §5) is not asked: it would let anyone have us send to a third party.
    """
    if not response.startswith(b"SIP/2.0 "):
        return None
    line = response.partition(b"\r\nVia: ")[2].partition(b"\r\n")[0].decode()
    via = parse_via(line)
    host, port = parse_host_port(via.sent_by, "Via")
    is_secure = hop.transport == "tls"
    # RFC 5922 §4: the certificate is to hold the name that the peer goes by.
    name = host if is_secure and not is_numeric_host(host) else ""
    return Hop(hop.transport, hop.host, port or (5061 if is_secure else 5060), name)


def parse_via(value: str) -> Via:
    """Parses the first element of a Via value. Raises PeerFault 400.

    via-parm = sent-protocol LWS sent-by *( SEMI via-params )        RFC 3261 §25.1
    """
    others = ""
    is_malformed = False
    if "," in value:
        is_malformed = not all(piece.strip(" \t") for piece in split_outside_quotes(value, ","))
        elements = split_elements(value, "Via")
        value = elements[0] if elements else ""
        if len(elements) > 1:
            others = ", " + ", ".join(elements[1:])
    protocol, _, rest = value.partition(" ")
    if not protocol.startswith("SIP/2.0/") or not rest or rest[0] == " " or " " in rest or "\t" in rest:
        value = _without_spaces(value)
        protocol, _, rest = value.partition(" ")
    pieces = rest.split(";")
    branch = ""
    wants_rport = False
    for piece in pieces:
        if piece.startswith("branch="):
            branch = piece[7:]
        elif piece == "rport":
            wants_rport = True
        elif piece[:7].lower() == "branch=":
            branch = piece[7:]
    sent_by = pieces[0]
    if not sent_by:
        raise PeerFault(400, "Malformed Via")
    via = Via(value, sent_by, branch, wants_rport=wants_rport, others=others)
    if is_malformed or protocol[:8] != "SIP/2.0/":
        via.is_malformed = True
    return via


def _without_spaces(value: str) -> str:
    """ "SIP / 2.0 / UDP  host : 5060 ; branch = x" as it would be written without its optional spaces."""
    words = value.replace("\t", " ").split()
    head = ""
    while words and head.count("/") < 2:
        head += words.pop(0)
    # The transport may be a word of its own: "SIP / 2.0 / UDP host".
    if head.endswith("/") and words:
        head += words.pop(0)
    name, _, tail = head.partition("/")
    version, slash, transport = tail.partition("/")
    if name.upper() != "SIP" or not version or not slash or not transport or not words:
        raise PeerFault(400, "Malformed Via")
    pieces = "".join(words).split(";")
    lowered = [piece.lower() if piece.lower() == "rport" else piece for piece in pieces]
    return f"SIP/{version}/{transport} " + ";".join(lowered)
