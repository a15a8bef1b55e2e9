"""Our answers to requests of the peer's (RFC 3261 §8.2.6, §8.2.7, §13.3.1, §21)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from sip.core.dialogs.session import Session, SessionState
from sip.core.dialogs.setup_snapshot import UnansweredInvite
from sip.core.hop import Hop
from sip.core.messages.builder import header_lines, one_line, response_octets
from sip.core.messages.message import Request
from sip.core.messages.status import reason_phrase as phrase_of
from sip.core.transactions.server_invite import ServerInviteTransaction
from sip.core.transactions.server_transaction import ServerTransaction
from sip.core.user_agents.client import UserAgentClient
from sip.errors import LocalFault

HeaderPairs = Iterable[tuple[str, str]]


class UserAgentResponder(UserAgentClient):
    """Provisional and final answers, with and without state."""

    def progress(
        self,
        session: Session,
        status: int,
        now: float,
        body: bytes = b"",
        headers: HeaderPairs = (),
        reason_phrase: str | None = None,
        *,
        reliable: bool | None = None,
    ) -> None:
        """A 1xx to an incoming call. Does nothing once it is answered, refused or cancelled.

        With the extension 100rel it is sent until its PRACK where the peer requires that, and with `reliable` where
        the peer supports it; one at a time, so further ones and the answer may wait. PrackMissing may follow.
        """
        if not 100 < status < 200:
            raise LocalFault("progress wants 101..199")
        reliability = session.reliability
        if reliability is not None and not session.outgoing and (reliable or reliability.is_required):
            self._progress_reliably(session, status, now, body, headers, reason_phrase)
            return
        self._respond_invite(session, status, now, body, headers, reason_phrase)

    def answer(self, session: Session, now: float, body: bytes, headers: HeaderPairs = ()) -> None:
        """200 to an incoming call, resent until its ACK; InviteAcknowledged or AckMissing follows.

        Does nothing once the call is answered, refused or cancelled.
        """
        if session.reliability is not None and not session.outgoing and self._waits_for_prack(session, body, headers):
            return
        self._respond_invite(session, 200, now, body, headers, None)

    def reject(
        self,
        session: Session,
        status: int,
        now: float,
        headers: HeaderPairs = (),
        reason_phrase: str | None = None,
        *,
        once: bool = False,
    ) -> None:
        """A 3xx-6xx to an incoming call; the session is over. Does nothing once it is answered or cancelled.

        With `once` it is not repeated until its ACK: a stranger with a made-up address would get ten for one, or make
        us send them to whom he likes (RFC 3261 §26.3.2.4). A copy of the INVITE still brings a copy of the answer.
        """
        if not 300 <= status < 700:
            raise LocalFault("reject wants 300..699")
        transaction = session.server
        if transaction is not None:
            self._withdraw_trying(transaction)
        self._respond_invite(session, status, now, b"", headers, reason_phrase)
        if once and transaction is not None:
            transaction.stop_resending()

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        now: float,
        body: bytes = b"",
        content_type: str | None = None,
        headers: HeaderPairs = (),
        reason_phrase: str | None = None,
    ) -> None:
        """Answers a request. A response after the final one is dropped: the peer's CANCEL or BYE may just have been
        answered for the transaction user. A 2xx to an INVITE is resent until its ACK.
        """
        if transaction.is_answered:
            return
        session = transaction.user
        lines = header_lines(headers)
        if session is not None and status < 300 and transaction.method in ("INVITE", "UPDATE"):
            contact = self._contact_line(transaction.hop, session.contact_user, is_secure=session.is_secure)
            if self._has_timers and status >= 200 and (transaction.method == "INVITE" or session.timer is not None):
                lines += self._answer_timer(session, transaction.timer_offer, now)
            lines = f"{transaction.extra}{contact}{lines}{self._capability_lines}"
            if body and status >= 200:
                session.local_sdp = body
        elif transaction.method == "OPTIONS" and status < 300:
            lines = f"{lines}{self._capability_lines}"  # §11.2
        else:
            lines = f"{lines}{self._agent_line}"
        reason = phrase_of(status) if reason_phrase is None else one_line(reason_phrase, "reason phrase")
        kind = "application/sdp" if content_type is None else one_line(content_type, "Content-Type")
        data = response_octets(status, reason, transaction.head, transaction.to, lines, kind, body)
        transaction.send(status, data, now)
        if session is not None and transaction is session.server:
            self._invite_responded(session, status)

    def refuse_earlier(self, invite: UnansweredInvite, status: int, now: float, headers: HeaderPairs = ()) -> None:
        """A 3xx-6xx to an INVITE that an earlier process of ours had and did not answer, repeated until its ACK; a copy
        of the INVITE gets it as well. Who had an answer takes it for a copy (RFC 3261 §17.1.1.2)."""
        if not 300 <= status < 700:
            raise LocalFault("refuse_earlier wants 300..699")
        transaction = ServerInviteTransaction(
            self._layer, invite.key, invite.hop, invite.cseq_number, invite.head, invite.to
        )
        self._layer.servers[invite.key] = transaction
        self.respond(transaction, status, now, headers=headers)

    # --- answering ------------------------------------------------------------------------------------------------

    def _respond_invite(
        self,
        session: Session,
        status: int,
        now: float,
        body: bytes,
        headers: HeaderPairs,
        reason_phrase: str | None,
    ) -> None:
        if session.outgoing:
            raise LocalFault("response on an outgoing session")
        if session.state <= SessionState.EARLY and session.server is not None:
            self.respond(session.server, status, now, body, None, headers, reason_phrase)

    def _withdraw_trying(self, transaction: ServerTransaction) -> None:
        """Takes back our 100 where it has not left yet: none is due before an answer at once (§17.2.1).

        Phones exist (pyVoIP 1.6) that take a 100 for the end of authentication, and never read the 401 behind it.
        """
        datagrams = self.datagrams
        if datagrams and datagrams[-1][0] is transaction.data and transaction.data.startswith(b"SIP/2.0 100 "):
            del datagrams[-1]

    def _reject_pending(self, session: Session, status: int, now: float, headers: HeaderPairs) -> None:
        self._respond_invite(session, status, now, b"", headers, None)

    def _invite_responded(self, session: Session, status: int) -> None:
        if session.reliability is not None and status >= 200:
            session.reliability.finish()
        if session.state > SessionState.EARLY:  # a re-INVITE
            if status >= 300:
                session.server = None
        elif status >= 300:
            self._end(session)
        elif status >= 200:
            session.state = SessionState.ANSWERED
        elif status > 100:
            session.state = SessionState.EARLY

    def _refuse(self, request: Request, source: Hop, status: int, reason: str | None = None, lines: str = "") -> None:
        """A final response without state (§8.2.7): a copy of the request gets the same one, a late ACK is dropped."""
        if request.method == "ACK":
            return
        via_value, hop = request.via.answered_from(source)
        first = request.headers.first
        if not (request.call_id and first.get("from") and first.get("to")):
            self._refuse_insufficient(request, via_value, hop, status, reason or phrase_of(status))
            return
        to = first["to"]
        if not request.to_tag:
            tag = zlib.crc32(f"{request.call_id} {request.via.branch}".encode())
            to = f"{to};tag={tag:08x}"
        head = self._head_of(request, via_value)
        text = reason or phrase_of(status)
        data = response_octets(status, text, head, to, f"{lines}{self._agent_line}", "", b"")
        self.datagrams.append((data, hop))

    def _refuse_insufficient(self, request: Request, via_value: str, hop: Hop, status: int, reason: str) -> None:
        """The answer to a request without From, To or Call-ID copies those that are there (RFC 4475 §3.3.1)."""
        first = request.headers.first
        lines = [f"SIP/2.0 {status} {reason}", f"Via: {via_value}"]
        lines += [f"Via: {value}" for value in request.headers.get_all("via")[1:]]
        names = (("From", "from"), ("To", "to"), ("Call-ID", "call-id"), ("CSeq", "cseq"))
        lines += [f"{name}: {first[key]}" for name, key in names if first.get(key)]
        text = "\r\n".join(lines)
        self.datagrams.append((f"{text}\r\n{self._agent_line}Content-Length: 0\r\n\r\n".encode(), hop))

    def _head_of(self, request: Request, via_value: str) -> str:
        """The lines that every response copies (§8.2.6.2) but To, which stands apart for its tag."""
        first = request.headers.first
        vias = request.headers.repeated.get("via", ())
        more = "".join(f"Via: {value}\r\n" for value in vias[1:]) if vias else ""
        return (
            f"Via: {via_value}\r\n{more}From: {first['from']}\r\nCall-ID: {request.call_id}\r\n"
            f"CSeq: {first['cseq']}\r\n"
        )
