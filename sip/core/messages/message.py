"""Requests and responses as they arrived: a dict of first values, and structured headers on demand."""

from __future__ import annotations

from sip.core.messages.grammar import split_elements
from sip.core.messages.name_addr import NameAddr, parse_name_addr, tag_of
from sip.core.messages.uri import SipUri, parse_uri
from sip.core.messages.via import Via
from sip.errors import PeerFault


class Headers:
    """Header fields. Names are lower case and long-form ("call-id", never "i").

    `first` has the first value of each name; `repeated` all values, in order, of those that came on several lines.
    """

    __slots__ = ("first", "repeated")

    def __init__(self, first: dict[str, str], repeated: dict[str, list[str]]) -> None:
        self.first = first
        self.repeated = repeated

    def get(self, name: str, default: str = "") -> str:
        """The first value of `name` (lower case), or `default`."""
        return self.first.get(name, default)

    def get_all(self, name: str) -> list[str]:
        """All values of `name`, one per header line, in order."""
        value = self.first.get(name)
        if value is None:
            return []
        return [*self.repeated[name]] if name in self.repeated else [value]

    def elements(self, name: str) -> list[str]:
        """The comma-separated elements of all lines called `name`. Raises PeerFault 400 above the named limit."""
        value = self.first.get(name)
        if value is None:
            return []
        if name not in self.repeated:
            return split_elements(value, name.title())
        return [element for value in self.repeated[name] for element in split_elements(value, name.title())]

    def __contains__(self, name: object) -> bool:
        return name in self.first


class Message:
    """What requests and responses share. `via`, `call_id` and CSeq are read when parsing; the rest on demand."""

    __slots__ = (
        "_contact",
        "_from",
        "_from_tag",
        "_to",
        "_to_tag",
        "body",
        "call_id",
        "cseq_method",
        "cseq_number",
        "headers",
        "via",
    )

    def __init__(
        self, headers: Headers, body: bytes, via: Via, call_id: str, cseq_number: int, cseq_method: str
    ) -> None:
        self.headers = headers
        self.body = body
        self.via = via
        self.call_id = call_id
        self.cseq_number = cseq_number
        self.cseq_method = cseq_method
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None
        self._contact: NameAddr | None = None
        self._from_tag: str | None = None
        self._to_tag: str | None = None

    @property
    def from_tag(self) -> str:
        """The tag of From, "" when absent."""
        if self._from_tag is None:
            self._from_tag = tag_of(self.headers.first["from"])
        return self._from_tag

    @property
    def to_tag(self) -> str:
        """The tag of To, "" when absent."""
        if self._to_tag is None:
            self._to_tag = tag_of(self.headers.first["to"])
        return self._to_tag

    @property
    def from_(self) -> NameAddr:
        """From, parsed. Raises PeerFault when malformed; the user agent has checked it in dialog-making requests."""
        if self._from is None:
            self._from = parse_name_addr(self.headers.first["from"], "From")
        return self._from

    @property
    def to(self) -> NameAddr:
        """To, parsed. Raises PeerFault as `from_` does."""
        if self._to is None:
            self._to = parse_name_addr(self.headers.first["to"], "To")
        return self._to

    @property
    def contact(self) -> NameAddr | None:
        """The first Contact, None when absent or "*". Raises PeerFault when malformed."""
        if self._contact is None:
            value = self.headers.first.get("contact", "")
            if not value or value == "*":
                return None
            if "," in value:
                value = (split_elements(value, "Contact") or [""])[0]
            self._contact = parse_name_addr(value, "Contact")
        return self._contact


class Request(Message):
    """`uri_text` is the Request-URI as it came; `uri` the same parsed."""

    __slots__ = ("_uri", "method", "uri_text")

    def __init__(
        self,
        method: str,
        uri_text: str,
        headers: Headers,
        body: bytes,
        via: Via,
        call_id: str,
        cseq_number: int,
        cseq_method: str,
    ) -> None:
        # Not by way of super: this runs for every request, and the call is a fifth of it.
        self.headers = headers
        self.body = body
        self.via = via
        self.call_id = call_id
        self.cseq_number = cseq_number
        self.cseq_method = cseq_method
        self._from = self._to = self._contact = self._from_tag = self._to_tag = None
        self.method = method
        self.uri_text = uri_text
        self._uri: SipUri | None = None

    @property
    def uri(self) -> SipUri:
        """The Request-URI, parsed. Raises PeerFault 400, 414 or 416."""
        if self._uri is None:
            uri = parse_uri(self.uri_text, "Request-URI")
            if uri.headers:  # RFC 3261 §19.1.1, RFC 4475 §3.1.2.11
                raise PeerFault(400, "Headers In Request-URI")
            self._uri = uri
        return self._uri

    @property
    def max_forwards(self) -> int:
        """Max-Forwards, 70 when absent (RFC 3261 §16.6 step 3). Raises PeerFault 400."""
        text = self.headers.first.get("max-forwards")
        if text is None:
            return 70
        if not (text.isdigit() and text.isascii()) or len(text) > 10 or int(text) > 255:
            raise PeerFault(400, "Malformed Max-Forwards")
        return int(text)

    def __repr__(self) -> str:
        return f"Request({self.method}, cseq={self.cseq_number})"


class Response(Message):
    """`status` 100..699 and `reason`, the phrase as it came."""

    __slots__ = ("reason", "status")

    def __init__(
        self,
        status: int,
        reason: str,
        headers: Headers,
        body: bytes,
        via: Via,
        call_id: str,
        cseq_number: int,
        cseq_method: str,
    ) -> None:
        super().__init__(headers, body, via, call_id, cseq_number, cseq_method)
        self.status = status
        self.reason = reason

    def __repr__(self) -> str:
        return f"Response({self.status}, {self.cseq_method}, cseq={self.cseq_number})"
