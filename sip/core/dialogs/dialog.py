"""A dialog (RFC 3261 §12): who, in which order, and by which way."""

from __future__ import annotations

from sip.core.hop import Hop
from sip.core.messages.message import Request, Response
from sip.core.messages.name_addr import parse_name_addr
from sip.core.messages.uri import parse_uri
from sip.errors import PeerFault

ROUTES_MAX = 32  # Record-Route entries kept; more than any real path


class Dialog:
    """Both ends of one dialog.

    `local` and `remote` are whole From/To values, tags included; `remote_target` a URI text; `route_set` name-addr
    texts in the order in which we use them; `remote_cseq` -1 until the peer has sent a request.
    """

    __slots__ = (
        "_said",
        "call_id",
        "local",
        "local_cseq",
        "local_tag",
        "remote",
        "remote_cseq",
        "remote_tag",
        "remote_target",
        "route_set",
    )

    def __init__(self, call_id: str, local: str, local_tag: str, remote: str, remote_target: str) -> None:
        self.call_id = call_id
        self.local = local
        self.local_tag = local_tag
        self.remote = remote
        self.remote_tag = ""
        self.remote_target = remote_target
        self.route_set: tuple[str, ...] = ()
        self.local_cseq = 0
        self.remote_cseq = -1
        self._said: tuple[object, ...] | None = None

    def learn_from_response(self, response: Response) -> bool:
        """Takes tag, target and route set from a response to our INVITE (§12.1.2); False where it says nothing new, as
        a 200 after its 180.

        A malformed Contact or Record-Route is left aside: what we have already serves better than nothing.
        """
        headers = response.headers
        first = headers.first
        said = (first["to"], first.get("contact"), headers.get_all("record-route"))
        if said == self._said:
            return False
        self._said = said
        self.remote = headers.first["to"]
        self.remote_tag = response.to_tag
        self.refresh_target(response)
        if "record-route" not in headers:
            self.route_set = ()
            return True
        try:
            self._take_routes(list(reversed(headers.elements("record-route"))))
        except PeerFault:
            self.route_set = ()
        return True

    def forget_responses(self, remote: str, remote_target: str) -> None:
        """As before the first response, since its INVITE goes out once more, to these."""
        self.remote, self.remote_tag, self.remote_target = remote, "", remote_target
        self.route_set = ()
        self._said = None

    def learn_from_request(self, request: Request) -> None:
        """Takes tag, target, order and route set from the INVITE that makes the dialog (§12.1.1).

        Raises PeerFault for a malformed Contact or Record-Route: the INVITE is refused before a dialog exists.
        """
        self.remote_tag = request.from_tag
        self.remote_cseq = request.cseq_number
        contact = request.contact
        if contact is not None:
            self.remote_target = contact.uri_text
        if "record-route" in request.headers:
            self._take_routes(request.headers.elements("record-route"))

    def _take_routes(self, routes: list[str]) -> None:
        """Raises PeerFault for too many, or a first one that could not be followed later."""
        if len(routes) > ROUTES_MAX:
            raise PeerFault(400, "Too Many Record-Route Elements")
        if routes:
            parse_name_addr(routes[0], "Record-Route")
        self.route_set = tuple(routes)

    def refresh_target(self, message: Request | Response) -> bool:
        """The peer's new Contact (§12.2.2), where there is a well-formed one; True when there was."""
        try:
            contact = message.contact
        except PeerFault:
            return False
        if contact is None:
            return False
        self.remote_target = contact.uri_text
        return True

    def request_line_and_routes(self) -> tuple[str, str]:
        """The Request-URI and the Route lines of a request in this dialog (§12.2.1.1)."""
        routes = self.route_set
        if not routes:
            return self.remote_target, ""
        first = parse_name_addr(routes[0], "Route")
        if "lr" in first.uri.parameters:
            return self.remote_target, f"Route: {', '.join(routes)}\r\n"
        # A strict router (RFC 2543): it wants itself in the Request-URI and the target last in the route.
        return first.uri_text, "Route: " + ", ".join((*routes[1:], f"<{self.remote_target}>")) + "\r\n"

    def next_hop(self, transport: str) -> Hop | None:
        """Where a request in this dialog goes first, None when that host is a name: RFC 3263 will hook in here."""
        try:
            if self.route_set:
                return parse_name_addr(self.route_set[0], "Route").uri.hop(transport)
            return parse_uri(self.remote_target, "Contact").hop(transport)
        except PeerFault:
            return None
