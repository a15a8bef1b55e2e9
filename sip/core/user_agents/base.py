"""What the calling and the called side of a user agent share: tables, addresses, and how a session ends."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sip.core.dialogs.dialog import Dialog
from sip.core.dialogs.session import Session, SessionState
from sip.core.dialogs.session_timer import SessionTimerQueue
from sip.core.events import Event
from sip.core.hop import Hop, bracketed
from sip.core.transactions.transaction_layer import TransactionLayer
from sip.core.user_agents.settings import Counters, UserAgentSettings
from sip.errors import LocalFault


class UserAgentBase:
    """State of one user agent. `events` and `datagrams` are drained by the driver in place (`clear`)."""

    def __init__(self, *, settings: UserAgentSettings, new_token: Callable[[], str]) -> None:
        self.settings = settings
        self.events: list[Event] = []
        self.datagrams: list[tuple[bytes, Hop]] = []
        self.counters = Counters()
        self.sessions: dict[str, Session] = {}  # by our tag; at most settings.sessions_max
        # Incoming ones of an earlier process, by "call-id from-tag": our 200 may be all that their callers lack.
        self._taken_up: dict[str, Session] = {}
        # Our tags in calls that an earlier process was making: as many as it left behind.
        self._abandoned: set[str] = set()
        self._new_token = new_token
        self._layer = TransactionLayer(settings.timers, settings.transactions_max, self.datagrams)
        self._udp_only: dict[tuple[str, int], float] = {}  # peers that refused TCP, until when
        self._sent_by_ipv4 = _sent_by(settings.local_ipv4)
        self._sent_by_ipv6 = _sent_by(settings.local_ipv6)
        self._sent_by_stream = {
            (transport, is_ipv6): _sent_by(address and (address[0], port or address[1]))
            for transport, port in (("tcp", settings.local_tcp_port), ("tls", settings.local_tls_port))
            for is_ipv6, address in ((False, settings.local_ipv4), (True, settings.local_ipv6))
        }
        # Called with a TLS peer and its own port where its Via asks for connection reuse (RFC 5923).
        self.on_alias: Callable[[Hop, int], None] | None = None
        # Called with a session whose INVITE is about to go out anew, with credentials or another interval: whoever
        # keeps what a CANCEL repeats has to keep it again.
        self.on_invited_again: Callable[[Session], None] = lambda session: None
        self._has_reliability = "100rel" in settings.extensions
        self._has_timers = "timer" in settings.extensions
        self._session_timers = SessionTimerQueue()
        methods = settings.methods
        if self._has_reliability and "PRACK" not in methods:
            methods = (*methods, "PRACK")
        self._methods = frozenset(methods)
        self._agent_line = f"User-Agent: {settings.user_agent}\r\n"
        self._allow_line = f"Allow: {', '.join(methods)}\r\n"
        extensions = settings.extensions
        self._supported_line = f"Supported: {', '.join(extensions)}\r\n" if extensions else ""
        self._capability_lines = f"{self._allow_line}{self._supported_line}{self._agent_line}"
        others = [each for each in extensions if each != "100rel"]
        supported = f"Supported: {', '.join(others)}\r\n" if others else ""
        self._unreliable_lines = f"{self._allow_line}{supported}{self._agent_line}"

    @property
    def transactions(self) -> tuple[int, int]:
        """Client and server transactions as they stand, for whoever watches."""
        return self._layer.count

    def serve_streams(self, served: Collection[tuple[str, bool]]) -> None:
        """Says which stream transports there are, as (transport, is IPv6): a peer's Contact that asks for another is
        met where the peer was seen. All until this is called."""
        self._sent_by_stream = {key: value for key, value in self._sent_by_stream.items() if key in served}

    def _via(self, hop: Hop, branch: str) -> str:
        alias = ";alias" if hop.transport == "tls" else ""
        return f"SIP/2.0/{hop.transport.upper()} {self._sent_by(hop)};branch={branch};rport{alias}"

    def _sent_by(self, hop: Hop) -> str:
        sent_by = self._sent_by_of(hop)
        if not sent_by:
            raise LocalFault("no local address of the hop's family and transport")
        return sent_by

    def _sent_by_of(self, hop: Hop) -> str:
        """Our address towards `hop`, "" where we have none of its family or transport."""
        if hop.transport == "udp":
            return self._sent_by_ipv6 if ":" in hop.host else self._sent_by_ipv4
        return self._sent_by_stream.get((hop.transport, ":" in hop.host), "")

    def _contact_line(self, hop: Hop, user: str, *, is_secure: bool = False) -> str:
        at = f"{user}@" if user else ""
        if is_secure and hop.transport == "tls":
            return f"Contact: <sips:{at}{self._sent_by(hop)}>\r\n"
        transport = "" if hop.transport == "udp" else f";transport={hop.transport}"
        return f"Contact: <sip:{at}{self._sent_by(hop)}{transport}>\r\n"

    def _hop_of(self, session: Session) -> Hop:
        return session.source if session.use_source else session.hop

    def _next_hop(self, dialog: Dialog, known: Hop) -> Hop:
        """Where requests in `dialog` go; `known` is where the peer has been met, and stands in for a host name.

        It stands in for an address as well that we have no way to: a peer may write anything into its Contact. A TLS
        peer that was verified by a name is held to that name at its Contact's address too.
        """
        hop = dialog.next_hop(known.transport) or known
        if not self._sent_by_of(hop):
            return known
        return hop._replace(name=known.name) if known.name and hop.transport == "tls" else hop

    def _end(self, session: Session) -> None:
        """The session is over: out of the table, its references to transactions cut. Idempotent."""
        session.state = SessionState.ENDED
        if session.timer is not None:
            session.stop_timer()
        if session.reliability is not None:
            session.reliability.finish()
            session.reliability = None
        self.sessions.pop(session.dialog.local_tag, None)
        if self._taken_up and not session.outgoing:
            self._taken_up.pop(f"{session.dialog.call_id} {session.dialog.remote_tag}", None)
        server = session.server
        if server is not None:
            server.user = None
            session.server = None
        client = session.client
        if client is not None:
            client.user = None
            session.client = None


def _sent_by(address: tuple[str, int] | None) -> str:
    return f"{bracketed(address[0])}:{address[1]}" if address else ""
