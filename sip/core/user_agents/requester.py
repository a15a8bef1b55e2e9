"""Requests of ours, as the transaction user asks for them (RFC 3261 §8.1, §9.1, §12.2.1, §13.2, §14.1, §15.1.1)."""

from __future__ import annotations

from collections.abc import Iterable

from sip.core.authorization import Accounts, Authorization, Tries
from sip.core.dialogs.dialog import Dialog
from sip.core.dialogs.session import OutgoingRequest, Resend, Session, SessionState
from sip.core.events import (
    DialogResponse,
    InviteFailed,
    RequestCompleted,
)
from sip.core.hop import Hop
from sip.core.messages.builder import header_lines, one_line
from sip.core.transactions.client_invite import Retry
from sip.core.transactions.states import State
from sip.core.user_agents.prack import UserAgentPrack
from sip.errors import LocalFault

HeaderPairs = Iterable[tuple[str, str]]


class UserAgentRequester(UserAgentPrack):
    """INVITE, CANCEL, ACK, BYE and the others."""

    def invite(
        self,
        *,
        target: str,
        hop: Hop,
        from_: str,
        to: str,
        now: float,
        body: bytes = b"",
        content_type: str = "application/sdp",
        headers: HeaderPairs = (),
        max_forwards: int = 70,
        contact_user: str = "",
        accounts: Accounts | None = None,
        reliable: bool = True,
    ) -> Session:
        """Calls `target` (a URI text) through `hop`; `from_` and `to` are name-addrs without tag.

        With `accounts` a 401 or 407 is answered with credentials, in this call and for all requests in its dialog.

        Without `reliable` the peer may not answer by reliable provisional responses: without `body` they would hold
        the offer and want an answer (see ReliableOffer).

        At a limit the session comes back ENDED and InviteFailed 503 follows as an event.
        Raises LocalFault for a line break in any argument or a hop of a family without local address.
        """
        tag = self._new_token()
        from_value = f"{one_line(from_, 'From')};tag={tag}"
        dialog = Dialog(self._new_token(), from_value, tag, one_line(to, "To"), one_line(target, "Request-URI"))
        dialog.local_cseq = 1
        session = Session(dialog, hop, outgoing=True, contact_user=one_line(contact_user, "Contact"))
        if self._layer.is_full or len(self.sessions) >= self.settings.sessions_max:
            self.counters.refused_overload += 1
            session.state = SessionState.ENDED
            self.events.append(InviteFailed(session, 503, None))
            return session
        pairs = list(headers)
        session.is_secure = target.startswith("sips:")
        contact = self._contact_line(hop, contact_user, is_secure=session.is_secure)
        lines = contact + header_lines(pairs) + (self._capability_lines if reliable else self._unreliable_lines)
        routes = header_lines((name, value) for name, value in pairs if name.lower() == "route") if pairs else ""
        session.local_sdp = body
        if accounts is not None:
            session.authorization = Authorization(accounts)
        timer_lines = self._timer_lines(session)
        transaction = self._start_invite(
            session, hop, target, routes, lines + timer_lines, max_forwards, content_type, body, now
        )
        transaction.had_offer = bool(body)
        if timer_lines or accounts is not None:
            transaction.retry = Retry(lines, max_forwards, content_type, body)
        self.sessions[tag] = session
        return session

    def cancel(self, session: Session, now: float, headers: HeaderPairs = ()) -> None:
        """Gives up a call of ours: CANCEL at once after a 1xx, else as soon as one comes (§9.1).

        Does nothing when a final response is there already. Raises LocalFault on an incoming session.
        """
        if not session.outgoing:
            raise LocalFault("cancel of an incoming session: use reject")
        transaction = session.client
        if transaction is None or session.state > SessionState.EARLY or transaction.cancel_lines is not None:
            return
        transaction.cancel_lines = header_lines(headers)
        if transaction.state is State.PROCEEDING:
            self._send_cancel(transaction, now)

    def acknowledge(self, session: Session, now: float, body: bytes = b"", headers: HeaderPairs = ()) -> None:
        """ACK for the 2xx of our INVITE or offerless re-INVITE; copies of that 2xx are answered alone from now on.

        Raises LocalFault when there is no 2xx to acknowledge.
        """
        transaction = session.client
        if transaction is None or transaction.state not in (State.ACCEPTED, State.TERMINATED):
            raise LocalFault("no 2xx to acknowledge")
        session.client = None
        transaction.user = None
        transaction.answered_tag = session.dialog.remote_tag
        hop = self._hop_of(session)
        data = self._acknowledgement(session.dialog, transaction.origin.cseq_number, hop, body, headers)
        if transaction.state is State.ACCEPTED:
            transaction.data = data
            transaction.hop = hop
        self.datagrams.append((data, hop))
        if body:
            session.local_sdp = body
        if session.state is SessionState.ANSWERED:
            session.state = SessionState.CONFIRMED

    def bye(self, session: Session, now: float, headers: HeaderPairs = ()) -> None:
        """Ends the call whatever its state: BYE when there is a dialog, CANCEL before the answer to our INVITE, 480
        before our answer to theirs. A 2xx of theirs is acknowledged first; ours waits for its ACK (§15).

        DialogResponse for BYE follows where BYE is sent. Does nothing on a session that is ending or over.
        """
        state = session.state
        if state >= SessionState.ENDING:
            return
        if state <= SessionState.EARLY:
            if session.outgoing:
                self.cancel(session, now, headers)
            else:
                self._reject_pending(session, 480, now, headers)
            return
        if state is SessionState.ANSWERED:
            if session.outgoing:
                self.acknowledge(session, now)
            elif session.server is not None:  # None once the wait for the ACK is over
                session.bye_lines = header_lines(headers)
                session.state = SessionState.ENDING
                return
        elif session.client is not None and session.client.state is State.ACCEPTED:
            self.acknowledge(session, now)  # the 2xx to a re-INVITE whose offer is not answered any more
        self._send_bye(session, header_lines(headers), now)

    def request(
        self,
        session: Session,
        method: str,
        now: float,
        body: bytes = b"",
        content_type: str | None = None,
        headers: HeaderPairs = (),
    ) -> None:
        """A request in the dialog: INFO, UPDATE, re-INVITE ("INVITE"), …; DialogResponse follows.

        The 2xx to a re-INVITE with a body is acknowledged at once; to one without, call `acknowledge` with the answer.
        Raises LocalFault without a dialog, after its end, or for a re-INVITE while another is pending (§14.1).
        """
        if method in ("ACK", "CANCEL", "BYE"):
            raise LocalFault(f"{method} has a method of its own")
        if session.state >= SessionState.ENDING or not session.dialog.remote_tag:
            raise LocalFault("no dialog to send a request in")
        if self._layer.is_full:
            self.counters.refused_overload += 1
            self.events.append(DialogResponse(session, method, 503, None))
            return
        kind = content_type or "application/sdp"
        lines = header_lines(headers)
        if method != "INVITE":
            if method == "UPDATE" and session.timer is not None:
                lines += self._timer_lines(session) + self._supported_line
            self._send_in_dialog(session, method, lines, kind, body, now, user=session)
            return
        server = session.server
        if session.state is not SessionState.CONFIRMED or session.pending_client or (server and not server.is_answered):
            raise LocalFault("an INVITE is pending in this dialog")
        self._start_reinvite(session, lines + self._timer_lines(session), kind, body, now)

    def send_request(
        self,
        *,
        method: str,
        target: str,
        hop: Hop,
        from_: str,
        to: str,
        now: float,
        headers: HeaderPairs = (),
        body: bytes = b"",
        content_type: str | None = None,
        call_id: str = "",
        cseq_number: int = 1,
        contact_user: str = "",
        accounts: Accounts | None = None,
    ) -> OutgoingRequest:
        """A request outside any dialog (OPTIONS, REGISTER, MESSAGE); RequestCompleted follows, 503 at the limit.

        REGISTER refreshes pass the same `call_id` and a rising `cseq_number` (§10.2). A Contact among `headers` takes
        the place of our own. With `accounts` a 401 or 407 is answered with credentials and the next CSeq.
        """
        if method in ("INVITE", "ACK", "CANCEL", "BYE"):
            raise LocalFault(f"{method} has a method of its own")
        tag = self._new_token()
        outgoing = OutgoingRequest(method, hop, one_line(call_id, "Call-ID") or self._new_token(), tag)
        if self._layer.is_full:
            self.counters.refused_overload += 1
            self.events.append(RequestCompleted(outgoing, 503, None))
            return outgoing
        outgoing.cseq_number = cseq_number
        outgoing.target = one_line(target, "Request-URI")
        outgoing.from_ = f"{one_line(from_, 'From')};tag={tag}"
        outgoing.to = one_line(to, "To")
        if accounts is not None:
            outgoing.authorization = Authorization(accounts)
        pairs = list(headers)
        lines = header_lines(pairs) + self._agent_line
        if all(name.lower() not in ("contact", "m") for name, _ in pairs):
            lines = self._contact_line(hop, one_line(contact_user, "Contact")) + lines
        kind = one_line(content_type or "text/plain", "Content-Type")
        self._send_outside(outgoing, Resend(lines, kind, body, Tries()), now)
        return outgoing

    def _reject_pending(self, session: Session, status: int, now: float, headers: HeaderPairs) -> None:
        raise NotImplementedError  # the called side's
