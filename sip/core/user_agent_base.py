"""What the calling and the called side of a user agent share: tables, addresses, and how a session ends."""

from __future__ import annotations

from collections.abc import Callable

from sip.core.events import Event
from sip.core.hop import Hop, bracketed
from sip.core.session import Session, SessionState
from sip.core.transaction_layer import TransactionLayer
from sip.core.user_agent_settings import Counters, UserAgentSettings
from sip.errors import LocalFault


class UserAgentBase:
    """State of one user agent. `events` and `datagrams` are drained by the driver in place (`clear`)."""

    def __init__(self, *, settings: UserAgentSettings, new_token: Callable[[], str]) -> None:
        self.settings = settings
        self.events: list[Event] = []
        self.datagrams: list[tuple[bytes, Hop]] = []
        self.counters = Counters()
        self.sessions: dict[str, Session] = {}  # by our tag; at most settings.sessions_max
        self._new_token = new_token
        self._layer = TransactionLayer(settings.timers, settings.transactions_max, self.datagrams)
        self._sent_by_ipv4 = _sent_by(settings.local_ipv4)
        self._sent_by_ipv6 = _sent_by(settings.local_ipv6)
        self._methods = frozenset(settings.methods)
        self._agent_line = f"User-Agent: {settings.user_agent}\r\n"
        self._allow_line = f"Allow: {', '.join(settings.methods)}\r\n"
        supported = f"Supported: {', '.join(settings.extensions)}\r\n" if settings.extensions else ""
        self._capability_lines = f"{self._allow_line}{supported}{self._agent_line}"

    def _via(self, hop: Hop, branch: str) -> str:
        return f"SIP/2.0/{hop.transport.upper()} {self._sent_by(hop)};branch={branch};rport"

    def _sent_by(self, hop: Hop) -> str:
        sent_by = self._sent_by_ipv6 if ":" in hop.host else self._sent_by_ipv4
        if not sent_by:
            raise LocalFault("no local address of the hop's family")
        return sent_by

    def _contact_line(self, hop: Hop, user: str) -> str:
        at = f"{user}@" if user else ""
        transport = "" if hop.transport == "udp" else f";transport={hop.transport}"
        return f"Contact: <sip:{at}{self._sent_by(hop)}{transport}>\r\n"

    def _hop_of(self, session: Session) -> Hop:
        return session.source if session.use_source else session.hop

    def _end(self, session: Session) -> None:
        """The session is over: out of the table, its references to transactions cut. Idempotent."""
        session.state = SessionState.ENDED
        self.sessions.pop(session.dialog.local_tag, None)
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
