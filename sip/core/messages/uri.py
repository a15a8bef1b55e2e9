"""SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966)."""

from __future__ import annotations

from functools import lru_cache

from sip.core.hop import Hop, bracketed, is_numeric_host
from sip.core.messages.grammar import is_digits, parse_parameters
from sip.errors import PeerFault

SCHEMES = frozenset(("sip", "sips", "tel"))
URI_OCTETS_MAX = 1024
HOST_PORT_OCTETS_MAX = 262  # a name has 255 at most (RFC 1035 §2.3.4), a colon and a port follow
HOSTS_CACHED_MAX = 2048
"""A trunk's and a softphone's host stands in each of their messages several times; it is looked at once."""
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")
_SCHEME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+-.")  # in lower case
_IPV6_CHARACTERS = frozenset("0123456789abcdefABCDEF:.")
# unreserved, escaped, user-unreserved, and the ":" of a password;
# plus what phones send unescaped ("#" of a feature code)
_USER_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()%&=+$,;?/:#")
_NO_PARAMETERS: dict[str, str] = {}


class SipUri:
    """One URI. `host` has no brackets; `port` is 0 when absent; a tel URI has its number in `user`, host "".

    `parameters` must not be changed in place: it may be shared.
    """

    __slots__ = ("headers", "host", "parameters", "port", "scheme", "user")

    def __init__(
        self,
        scheme: str,
        user: str,
        host: str,
        port: int = 0,
        parameters: dict[str, str] | None = None,
        headers: str = "",
    ) -> None:
        self.scheme = scheme
        self.user = user
        self.host = host
        self.port = port
        self.parameters = _NO_PARAMETERS if parameters is None else parameters
        self.headers = headers

    def __str__(self) -> str:
        text = f"{self.scheme}:{self.user}"
        if self.host:
            text = f"{text}@{bracketed(self.host)}" if self.user else f"{text}{bracketed(self.host)}"
            if self.port:
                text = f"{text}:{self.port}"
        for name, value in self.parameters.items():
            text = f"{text};{name}={value}" if value else f"{text};{name}"
        return f"{text}?{self.headers}" if self.headers else text

    def __repr__(self) -> str:
        # The user part is a phone number: it must not reach a log by way of repr.
        return f"SipUri({self.scheme}:***@{self.host})"

    def __eq__(self, other: object) -> bool:
        """RFC 3261 §19.1.4, without the comparison of unknown parameters present on one side only."""
        if not isinstance(other, SipUri):
            return NotImplemented
        if (self.scheme, self.user, self.host.lower(), self.port) != (
            other.scheme,
            other.user,
            other.host.lower(),
            other.port,
        ):
            return False
        for name in ("user", "ttl", "method", "maddr", "transport"):
            if self.parameters.get(name, "").lower() != other.parameters.get(name, "").lower():
                return False
        return all(
            value.lower() == other.parameters[name].lower()
            for name, value in self.parameters.items()
            if name in other.parameters
        )

    def __hash__(self) -> int:
        return hash((self.scheme, self.user, self.host.lower(), self.port))

    @property
    def user_unescaped(self) -> str:
        """The user part with %HH resolved and any password left off."""
        user = self.user.partition(":")[0]
        return unescape(user) if "%" in user else user

    @property
    def number(self) -> str:
        """The telephone number in the user part (RFC 3966 visual separators removed), "" when there is none."""
        user = self.user_unescaped.partition(";")[0]
        for separator in "-.() ":
            user = user.replace(separator, "")
        digits = user[1:] if user[:1] == "+" else user
        return user if digits and digits.isascii() and digits.replace("*", "").replace("#", "").isdigit() else ""

    def hop(self, transport: str = "udp") -> Hop | None:
        """Where a message for this URI goes when its host is numeric, else None: RFC 3263 hooks in for names."""
        host = self.host
        if not host or not is_numeric_host(host):
            return None
        transport = self.parameters.get("transport", transport).lower()
        if self.scheme == "sips":  # with transport=tcp too: TLS over TCP (RFC 3261 §26.2.2)
            transport = "tls"
        return Hop(transport, host, self.port or (5061 if transport == "tls" else 5060))


def unescape(text: str) -> str:
    """%HH resolved as UTF-8; a "%" that starts no escape stays as it is."""
    pieces = text.split("%")
    octets = bytearray(pieces[0].encode())
    for piece in pieces[1:]:
        code = piece[:2]
        if len(code) == 2 and all(character in "0123456789abcdefABCDEF" for character in code):
            octets.append(int(code, 16))
            octets += piece[2:].encode()
        else:
            octets += b"%" + piece.encode()
    return octets.decode("utf-8", "replace")


def parse_uri(text: str, header: str = "Request-URI") -> SipUri:
    """Parses a URI without angle brackets.

    Raises PeerFault 416 for a Request-URI of a scheme we do not speak, 414 above URI_OCTETS_MAX, 400 for
    anything malformed; the reason names `header`.
    """
    if len(text) > URI_OCTETS_MAX:
        raise PeerFault(414, "Request-URI Too Long" if header == "Request-URI" else f"{header} Too Long")
    if " " in text or "\t" in text:  # it would break the Request-Line that it may come to stand in
        raise PeerFault(400, f"Malformed {header}")
    scheme, colon, rest = text.partition(":")
    if scheme not in SCHEMES:
        scheme = scheme.lower()
        if not colon:
            raise PeerFault(400, f"Malformed {header}")
        if scheme not in SCHEMES:
            # 416 speaks of the Request-URI alone (RFC 3261 §21.4.14); elsewhere it is a malformed header to us.
            if header != "Request-URI" or not _SCHEME_CHARACTERS.issuperset(scheme):
                raise PeerFault(400, f"Malformed {header}")
            raise PeerFault(416, "Unsupported URI Scheme")
    if scheme == "tel":
        number, semicolon, tail = rest.partition(";")
        if not number or not _USER_CHARACTERS.issuperset(number):
            raise PeerFault(400, f"Malformed {header}")
        return SipUri("tel", number, "", 0, parse_parameters(tail, header) if semicolon else None)
    # The user part may itself hold ";" and "?" (RFC 3261 §25.1, user-unreserved): look for "@" first.
    user, at, host_part = rest.rpartition("@")
    # A number is told several times as fast by str itself as by a set.
    if at and not (user.isdigit() and user.isascii()) and (not user or not _USER_CHARACTERS.issuperset(user)):
        raise PeerFault(400, f"Malformed {header}")
    headers = ""
    if "?" in host_part:
        host_part, _, headers = host_part.partition("?")
    host_part, semicolon, tail = host_part.partition(";")
    host, port = parse_host_port(host_part, header)
    return SipUri(scheme, user, host, port, parse_parameters(tail, header) if semicolon else None, headers)


@lru_cache(HOSTS_CACHED_MAX)
def parse_host_port(text: str, header: str) -> tuple[str, int]:
    """hostport = host [ ":" port ]: the host without brackets and the port or 0. Raises PeerFault 400."""
    if len(text) > HOST_PORT_OCTETS_MAX:
        raise PeerFault(400, f"Malformed {header} Host")
    if text[:1] == "[":
        host, bracket, port_part = text[1:].partition("]")
        if not bracket or ":" not in host or not _IPV6_CHARACTERS.issuperset(host):
            raise PeerFault(400, f"Malformed {header} Host")
        if port_part and port_part[0] != ":":
            raise PeerFault(400, f"Malformed {header} Host")
        port_text = port_part[1:]
        colon = port_part
    else:
        host, colon, port_text = text.partition(":")
        if not (host.isascii() and host.replace(".", "").isalnum()) and (
            not host or not _HOST_CHARACTERS.issuperset(host)
        ):
            raise PeerFault(400, f"Malformed {header} Host")
    if not colon:
        return host, 0
    if not is_digits(port_text) or len(port_text) > 5 or not 0 < int(port_text) < 65536:
        raise PeerFault(400, f"Malformed {header} Port")
    return host, int(port_text)
