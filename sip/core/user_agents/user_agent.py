"""The user agent: datagrams and timers in; events and datagrams out. The only class the product talks to.

Sans-IO: after each call the driver sends `datagrams` in order, handles `events`, clears both lists in place and asks
`next_deadline` when to call `fire_timers`. Calling and called side are in files of their own.
"""

from __future__ import annotations

from sip.core.dialogs.reliability import ReliableProvisional
from sip.core.dialogs.session import OutgoingRequest, Session, SessionRefresh
from sip.core.events import AckMissing
from sip.core.hop import Hop
from sip.core.messages.message import Request
from sip.core.messages.parser import parse_message
from sip.core.messages.uri import parse_host_port
from sip.core.transactions.client_invite import ClientInviteTransaction
from sip.core.transactions.client_non_invite import ClientNonInviteTransaction
from sip.core.transactions.server_transaction import ServerTransaction
from sip.core.transactions.states import Input, State
from sip.core.transactions.transaction import FAILED, RESEND, TIMED_OUT, Transaction
from sip.core.transactions.transaction_layer import ClientTransaction
from sip.core.user_agents.server import UserAgentServer
from sip.errors import PeerFault

__all__ = ["UserAgent"]

_TRANSPORT_ERROR = int(Input.TRANSPORT_ERROR)
_KEEP_ALIVE_OCTETS = b"\r\n\0 "


class UserAgent(UserAgentServer):
    """See the module; the public methods of both sides are inherited."""

    def receive_datagram(self, data: bytes, source: Hop, now: float) -> None:
        """Takes one datagram. Never raises for anything a peer can send."""
        if len(data) <= 4 and not data.strip(_KEEP_ALIVE_OCTETS):
            self.counters.keep_alives += 1
            if data == b"\r\n\r\n":
                self.datagrams.append((b"\r\n", source))  # RFC 5626 §3.5.1
            return
        if data[:1] in (b"\x00", b"\x01"):
            self.counters.ignored += 1  # STUN
            return
        request: Request | None = None
        try:
            message = parse_message(data)
            if isinstance(message, Request):
                request = message
                if source.transport == "tls" and self.on_alias is not None and ";alias" in message.via.value:
                    self.on_alias(source, parse_host_port(message.via.sent_by, "Via")[1] or 5061)
                if len(data) > self.settings.max_message_octets:
                    self.counters.too_large += 1
                    self._refuse(message, source, 513)
                    return
                self._receive_request(message, source, now)
            elif len(data) > self.settings.max_message_octets:
                self.counters.too_large += 1
            else:
                self._receive_response(message, source, now)
        except PeerFault as fault:
            self.counters.malformed += 1
            self._refuse_faulty(fault, fault.request or request, source)

    def _refuse_faulty(self, fault: PeerFault, request: Request | None, source: Hop) -> None:
        if request is None:
            return
        try:
            self._refuse(request, source, fault.status, fault.reason)
        except PeerFault:
            self.counters.ignored += 1  # its Via is no place to answer to

    def fire_timers(self, now: float) -> None:
        """Fires what is due at `now`."""
        for timer in self._layer.timers.pop_due(now):
            transaction = timer.target
            if transaction is None:
                continue
            user = transaction.user
            actions = transaction.step(timer.input, now)
            if actions & RESEND:
                self.counters.retransmissions_sent += 1
            elif actions & TIMED_OUT:
                self._told(transaction, user, 408, now)
        if self._has_timers:
            self._fire_session_timers(now)

    def next_deadline(self) -> float | None:
        """When `fire_timers` is next due, None when no timer runs."""
        deadline = self._layer.timers.next_deadline()
        if self._has_timers:
            alarm = self._session_timers.next_deadline()
            if alarm is not None and (deadline is None or alarm < deadline):
                return alarm
        return deadline

    def soonest_deadline(self) -> float:
        """Never later than `next_deadline`, and found without a look at each timer: a timer that was cancelled
        meanwhile may stand for it. inf without timers."""
        soonest = self._layer.timers.soonest
        alarm = self._session_timers.next_deadline() if self._has_timers else None
        return soonest if alarm is None or soonest < alarm else alarm

    def transport_failed(self, hop: Hop, now: float) -> None:
        """The transport could not deliver to `hop`: pending client transactions there fail with 503 (§8.1.3.1)."""
        self.counters.transport_failures += 1
        self._fail([each for each in self._layer.clients.values() if each.hop == hop], now)

    def connection_lost(self, hop: Hop, now: float) -> None:
        """A connection to `hop` is gone: what had no response on it yet fails as in `transport_failed`. What had one
        goes on: the peer opens another for the rest (§18.2.2)."""
        clients = self._layer.clients.values()
        self._fail([each for each in clients if each.hop == hop and each.state <= State.TRYING], now)

    def _fail(self, transactions: list[ClientTransaction], now: float) -> None:
        for transaction in transactions:
            if transaction.fallback and transaction.state <= State.TRYING:
                self._fall_back_to_udp(transaction, now)
                continue
            user = transaction.user
            if transaction.step(_TRANSPORT_ERROR, now) & FAILED:
                self._told(transaction, user, 503, now)

    def _told(self, transaction: Transaction, user: object, status: int, now: float) -> None:
        """A transaction that ended without an answer tells its user."""
        if isinstance(transaction, ClientInviteTransaction):
            if isinstance(user, Session):
                self._invite_unanswered(transaction, user, status, now)
        elif isinstance(transaction, ServerTransaction):
            if isinstance(user, Session) and user.server is transaction:
                user.server = None
                if user.bye_lines is not None:
                    self._send_bye(user, user.bye_lines, now)
                else:
                    self.events.append(AckMissing(user))
        elif isinstance(transaction, ReliableProvisional):
            if isinstance(user, Session):
                self._prack_missed(user, now)
        elif isinstance(transaction, ClientNonInviteTransaction) and isinstance(
            user, Session | OutgoingRequest | SessionRefresh
        ):
            self._non_invite_completed(user, transaction.method, status, None, now)
