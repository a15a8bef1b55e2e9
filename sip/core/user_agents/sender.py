"""Requests of ours on their way out: filled in from the dialog, encoded, handed to a transaction."""

from __future__ import annotations

from collections.abc import Iterable

from sip.core.authorization import Tries
from sip.core.dialogs.dialog import Dialog
from sip.core.dialogs.session import OutgoingRequest, Resend, Session, SessionRefresh, SessionState
from sip.core.hop import Hop
from sip.core.messages.builder import header_lines, one_line, request_octets
from sip.core.messages.via import MAGIC_COOKIE
from sip.core.transactions.client_invite import ClientInviteTransaction, InviteOrigin, Retry
from sip.core.transactions.client_non_invite import ClientNonInviteTransaction
from sip.core.transactions.states import State
from sip.core.transactions.transaction_layer import ClientTransaction, client_key
from sip.core.user_agents.base import UserAgentBase

HeaderPairs = Iterable[tuple[str, str]]

UDP_ONLY_PEERS_MAX = 1024  # peers that refused TCP; all are tried anew when there are more
UDP_ONLY_SECONDS = 300.0


class UserAgentSender(UserAgentBase):
    """Builds and sends; decides nothing."""

    def _start_invite(
        self,
        session: Session,
        hop: Hop,
        uri_text: str,
        routes: str,
        lines: str,
        max_forwards: int,
        content_type: str,
        body: bytes,
        now: float,
    ) -> ClientInviteTransaction:
        dialog = session.dialog
        branch = MAGIC_COOKIE + self._new_token()
        cseq = dialog.local_cseq
        origin = InviteOrigin(uri_text, branch, dialog.local, dialog.remote, dialog.call_id, cseq, routes)
        transaction = ClientInviteTransaction(self._layer, client_key(branch, "INVITE"), hop, origin, session)
        data = request_octets(
            "INVITE",
            uri_text,
            self._via(hop, branch),
            max_forwards,
            dialog.local,
            dialog.remote,
            dialog.call_id,
            cseq,
            lines,
            one_line(content_type, "Content-Type"),
            body,
        )
        self._layer.clients[transaction.key] = transaction
        session.client = transaction
        if self._is_too_large(data, hop):
            self._start_by_tcp(transaction, data, branch, now)
        else:
            transaction.start(data, now)
        return transaction

    def _start_non_invite(
        self,
        branch: str,
        hop: Hop,
        method: str,
        user: Session | SessionRefresh | OutgoingRequest | None,
        data: bytes,
        now: float,
        retry: Resend | None = None,
    ) -> None:
        transaction = ClientNonInviteTransaction(self._layer, client_key(branch, method), hop, method, user)
        transaction.retry = retry
        self._layer.clients[transaction.key] = transaction
        if self._is_too_large(data, hop):
            self._start_by_tcp(transaction, data, branch, now)
        else:
            transaction.start(data, now)

    def _is_too_large(self, data: bytes, hop: Hop) -> bool:
        """True for what must not go by UDP, which may lose a part of it for the whole (RFC 3261 §18.1.1)."""
        limit = self.settings.tcp_from_octets
        return 0 < limit < len(data) and hop.transport == "udp"

    def _start_by_tcp(self, transaction: ClientTransaction, data: bytes, branch: str, now: float) -> None:
        hop = transaction.hop
        if self._udp_only.get((hop.host, hop.port), now) > now:
            transaction.start(data, now)
            return
        self.counters.moved_to_tcp += 1
        by_tcp = hop._replace(transport="tcp")
        transaction.hop, transaction.fallback = by_tcp, data
        old, new = self._via(hop, branch), self._via(by_tcp, branch)
        transaction.start(data.replace(old.encode(), new.encode(), 1), now)

    def _fall_back_to_udp(self, transaction: ClientTransaction, now: float) -> None:
        """TCP met no listener: the request goes by UDP after all (§18.1.1), as others do for a while."""
        self.counters.fallen_back_to_udp += 1
        hop, data = transaction.hop._replace(transport="udp"), transaction.fallback
        if len(self._udp_only) >= UDP_ONLY_PEERS_MAX:
            self._udp_only.clear()
        self._udp_only[hop.host, hop.port] = now + UDP_ONLY_SECONDS
        transaction.hop, transaction.fallback = hop, b""
        transaction.start(data, now)

    def _send_in_dialog(
        self,
        session: Session,
        method: str,
        lines: str,
        content_type: str,
        body: bytes,
        now: float,
        *,
        user: Session | SessionRefresh | None,
        tries: Tries | None = None,
    ) -> None:
        """A request in the dialog; its final response goes to `user`. `tries` when it is sent once more."""
        dialog = session.dialog
        dialog.local_cseq += 1
        hop = self._hop_of(session)
        branch = MAGIC_COOKIE + self._new_token()
        uri_text, routes = dialog.request_line_and_routes()
        contact = ""
        if method in ("UPDATE", "NOTIFY"):  # target refresh requests carry a Contact (RFC 3311 §5.1, RFC 6665 §4.2.2)
            contact = self._contact_line(hop, session.contact_user, is_secure=session.is_secure)
        retry = None
        credentials = ""
        if session.authorization is not None:
            retry = Resend(lines, content_type, body, tries or Tries())
            credentials = session.authorization.lines(method, uri_text, self._new_token)
        data = request_octets(
            method,
            uri_text,
            self._via(hop, branch),
            70,
            dialog.local,
            dialog.remote,
            dialog.call_id,
            dialog.local_cseq,
            f"{routes}{contact}{lines}{credentials}{self._agent_line}",
            one_line(content_type, "Content-Type"),
            body,
        )
        self._start_non_invite(branch, hop, method, user, data, now, retry)

    def _send_outside(self, outgoing: OutgoingRequest, resend: Resend, now: float) -> None:
        branch = MAGIC_COOKIE + self._new_token()
        method, hop = outgoing.method, outgoing.hop
        authorization = outgoing.authorization
        credentials = ""
        if authorization is not None:
            credentials = authorization.lines(method, outgoing.target, self._new_token)
        data = request_octets(
            method,
            outgoing.target,
            self._via(hop, branch),
            70,
            outgoing.from_,
            outgoing.to,
            outgoing.call_id,
            outgoing.cseq_number,
            resend.lines + credentials,
            resend.content_type,
            resend.body,
        )
        self._start_non_invite(branch, hop, method, outgoing, data, now, resend if authorization else None)

    def _start_reinvite(
        self, session: Session, lines: str, content_type: str, body: bytes, now: float
    ) -> ClientInviteTransaction:
        dialog = session.dialog
        dialog.local_cseq += 1
        hop = self._hop_of(session)
        contact = self._contact_line(hop, session.contact_user, is_secure=session.is_secure)
        uri_text, routes = dialog.request_line_and_routes()
        credentials = ""
        if session.authorization is not None:
            credentials = session.authorization.lines("INVITE", uri_text, self._new_token)
        own = f"{contact}{lines}{credentials}{self._capability_lines}"
        transaction = self._start_invite(session, hop, uri_text, routes, routes + own, 70, content_type, body, now)
        transaction.is_initial = False
        transaction.had_offer = bool(body)
        transaction.retry = Retry(lines, 70, content_type, body)
        session.pending_client = True
        return transaction

    def _send_bye(self, session: Session, lines: str, now: float) -> None:
        session.state = SessionState.ENDING
        session.bye_lines = None
        self._let_go_of_reinvite(session, now)
        self._send_in_dialog(session, "BYE", lines, "application/sdp", b"", now, user=session)

    def _let_go_of_reinvite(self, session: Session, now: float) -> None:
        """A re-INVITE of ours that has a 1xx waits without a timer; once the session ends it is to end too."""
        if session.pending_client and session.client is not None and session.client.state is State.PROCEEDING:
            session.client.start_timeout(now)

    def _send_cancel(self, transaction: ClientInviteTransaction, now: float) -> None:
        origin = transaction.origin
        data = self._repeat_origin("CANCEL", origin, transaction.hop, origin.to, transaction.cancel_lines or "")
        transaction.is_cancelled = True
        transaction.start_timeout(now)
        self._start_non_invite(origin.branch, transaction.hop, "CANCEL", None, data, now)

    def _repeat_origin(self, method: str, origin: InviteOrigin, hop: Hop, to: str, lines: str) -> bytes:
        """CANCEL or the ACK for a 3xx-6xx: the INVITE's own fields, one Via (§9.1, §17.1.1.3)."""
        return request_octets(
            method,
            origin.uri_text,
            self._via(hop, origin.branch),
            70,
            origin.from_,
            to,
            origin.call_id,
            origin.cseq_number,
            f"{origin.routes}{lines}{self._agent_line}",
            "",
            b"",
        )

    def _acknowledgement(self, dialog: Dialog, cseq_number: int, hop: Hop, body: bytes, headers: HeaderPairs) -> bytes:
        uri_text, routes = dialog.request_line_and_routes()
        return request_octets(
            "ACK",
            uri_text,
            self._via(hop, MAGIC_COOKIE + self._new_token()),
            70,
            dialog.local,
            dialog.remote,
            dialog.call_id,
            cseq_number,
            f"{routes}{header_lines(headers)}{self._agent_line}",
            "application/sdp",
            body,
        )
