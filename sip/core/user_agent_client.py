"""The calling side of the user agent: INVITE, CANCEL, ACK, BYE and other requests of ours (RFC 3261 §8.1, §9.1,
§12.2.1, §13.2, §14.1, §15.1.1)."""

from __future__ import annotations

from collections.abc import Iterable

from sip.core.authorization import Accounts, Authorization, Tries
from sip.core.builder import header_lines, one_line
from sip.core.dialog import Dialog
from sip.core.events import (
    DialogResponse,
    InviteAnswered,
    InviteFailed,
    InviteProgress,
    RequestCompleted,
)
from sip.core.hop import Hop
from sip.core.message import Response
from sip.core.session import OutgoingRequest, Resend, Session, SessionRefresh, SessionState
from sip.core.transactions.client_invite import ClientInviteTransaction, Retry
from sip.core.transactions.states import Input, State
from sip.core.transactions.transaction import ACK, PASS, RESEND, STOP
from sip.core.user_agent_prack import UserAgentPrack
from sip.errors import LocalFault

_RECEIVE_1XX = int(Input.RECEIVE_1XX)
_RECEIVE_2XX = int(Input.RECEIVE_2XX)
_RECEIVE_FINAL = int(Input.RECEIVE_FINAL)
HeaderPairs = Iterable[tuple[str, str]]


class UserAgentClient(UserAgentPrack):
    """Requests of ours and what comes back."""

    # --- public ---------------------------------------------------------------------------------------------------

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
    ) -> Session:
        """Calls `target` (a URI text) through `hop`; `from_` and `to` are name-addrs without tag.

        With `accounts` a 401 or 407 is answered with credentials, in this call and for all requests in its dialog.

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
        lines = contact + header_lines(pairs) + self._capability_lines
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

    # --- receiving ------------------------------------------------------------------------------------------------

    def _receive_response(self, response: Response, source: Hop, now: float) -> None:
        self.counters.responses += 1
        transaction = self._layer.find_client(response)
        if transaction is None:
            self.counters.unmatched_responses += 1
            return
        status = response.status
        # Taken before the step, which on a reliable transport ends the transaction with its final response.
        user, retry = transaction.user, transaction.retry
        input_ = _RECEIVE_1XX if status < 200 else _RECEIVE_2XX if status < 300 else _RECEIVE_FINAL
        actions = transaction.step(input_, now)
        if isinstance(transaction, ClientInviteTransaction):
            transaction.retry = retry if isinstance(retry, Retry) else None
            if actions & ACK:
                data = self._repeat_origin("ACK", transaction.origin, transaction.hop, response.headers.first["to"], "")
                transaction.data = data
                self.datagrams.append((data, transaction.hop))
            if actions & PASS:
                if isinstance(user, Session):
                    self._invite_response(transaction, user, response, source, now)
                elif status < 200:
                    # The peer's BYE has ended the session before any response came: nobody else gives the call up.
                    if transaction.cancel_lines is not None and not transaction.is_cancelled:
                        self._send_cancel(transaction, now)
                    elif actions & STOP:  # a re-INVITE whose session is over: it need not be answered any more
                        transaction.start_timeout(now)
                elif status < 300:
                    self._answered_again(transaction, transaction.answered_tag, response, source, now)
            elif actions & RESEND:
                self.counters.retransmissions_absorbed += 1
        elif not actions & PASS:
            self.counters.retransmissions_absorbed += 1
        elif status >= 200 and isinstance(user, Session | OutgoingRequest | SessionRefresh):
            if isinstance(retry, Resend) and self._authorizes(user, transaction.method, retry, response, now):
                return
            self._non_invite_completed(user, transaction.method, status, response, now)

    def _authorizes(
        self,
        user: Session | OutgoingRequest | SessionRefresh,
        method: str,
        resend: Resend,
        response: Response,
        now: float,
    ) -> bool:
        """True when the request goes out once more, with credentials."""
        owner = user.session if isinstance(user, SessionRefresh) else user
        authorization = owner.authorization
        if authorization is None or response.status not in (401, 407) or self._layer.is_full:
            return False
        if not resend.tries.allows(response) or not authorization.take(response):
            return False
        if isinstance(user, OutgoingRequest):
            user.cseq_number += 1
            self._send_outside(user, resend, now)
            return True
        session = user.session if isinstance(user, SessionRefresh) else user
        if session.state is SessionState.ENDED:
            return False
        lines, kind, body = resend.lines, resend.content_type, resend.body
        self._send_in_dialog(session, method, lines, kind, body, now, user=user, tries=resend.tries)
        return True

    def _invite_response(
        self, transaction: ClientInviteTransaction, session: Session, response: Response, source: Hop, now: float
    ) -> None:
        status = response.status
        if status < 200:
            transaction.data = b""  # no retransmission after a 1xx (§17.1.1.2)
            if transaction.cancel_lines is not None and not transaction.is_cancelled:
                self._send_cancel(transaction, now)
            if status > 100 and transaction.is_initial and session.state <= SessionState.EARLY:
                tag = response.to_tag
                if tag and tag != session.dialog.remote_tag:
                    self._adopt(session, response, source)
                session.state = SessionState.EARLY
                if self._take_reliable(transaction, session, response, now):
                    self.events.append(InviteProgress(session, response))
                else:
                    self.counters.retransmissions_absorbed += 1
        elif status < 300:
            self._invite_succeeded(transaction, session, response, source, now)
        elif transaction.is_initial:
            if self._tries_again(transaction, session, response, now):
                return
            self._end(session)
            self.events.append(InviteFailed(session, status, response))
        else:
            session.pending_client = False
            session.client = None
            transaction.user = None
            if self._reinvites_again(transaction, session, response, now):
                return
            if transaction.is_refresh:
                self._refreshed(session, status, response, now)
            else:
                self.events.append(DialogResponse(session, "INVITE", status, response))

    def _tries_again(
        self, transaction: ClientInviteTransaction, session: Session, response: Response, now: float
    ) -> bool:
        """True when the INVITE goes out once more, as a request of its own in the same call (§22.2, RFC 4028 §7.3)."""
        retry = transaction.retry
        if retry is None or transaction.cancel_lines is not None or self._layer.is_full:
            return False
        if response.status == 422:
            if not self._take_interval_min(session, response):
                return False
        elif not self._may_authorize(session, retry, response):
            return False
        self._invite_again(transaction, session, retry, now)
        return True

    def _may_authorize(self, session: Session, retry: Retry, response: Response) -> bool:
        authorization = session.authorization
        return authorization is not None and retry.tries.allows(response) and authorization.take(response)

    def _reinvites_again(
        self, transaction: ClientInviteTransaction, session: Session, response: Response, now: float
    ) -> bool:
        retry = transaction.retry
        if retry is None or session.state is not SessionState.CONFIRMED or self._layer.is_full:
            return False
        if not self._may_authorize(session, retry, response):
            return False
        again = self._start_reinvite(session, retry.lines, retry.content_type, retry.body, now)
        again.is_refresh = transaction.is_refresh
        if again.retry is not None:
            again.retry.tries = retry.tries
        return True

    def _invite_again(self, transaction: ClientInviteTransaction, session: Session, retry: Retry, now: float) -> None:
        origin, dialog = transaction.origin, session.dialog
        # What a provisional response made of the dialog was of the INVITE that is over.
        dialog.remote, dialog.remote_tag, dialog.remote_target = origin.to, "", origin.uri_text
        dialog.route_set = ()
        dialog.local_cseq += 1
        session.state = SessionState.CALLING
        session.reliability = None
        transaction.user = None
        credentials = ""
        if session.authorization is not None:
            credentials = session.authorization.lines("INVITE", origin.uri_text, self._new_token)
        lines = f"{retry.lines}{credentials}{self._timer_lines(session)}"
        again = self._start_invite(
            session,
            transaction.hop,
            origin.uri_text,
            origin.routes,
            lines,
            retry.max_forwards,
            retry.content_type,
            retry.body,
            now,
        )
        again.retry = retry
        again.had_offer = bool(retry.body)

    def _invite_succeeded(
        self, transaction: ClientInviteTransaction, session: Session, response: Response, source: Hop, now: float
    ) -> None:
        first = session.client is transaction and (
            session.state <= SessionState.EARLY if transaction.is_initial else session.pending_client
        )
        if first:
            transaction.data = b""
            if transaction.is_initial:
                self._adopt(session, response, source)
                session.state = SessionState.ANSWERED
                self._take_timer(session, response, now)
                self.events.append(InviteAnswered(session, response))
                return
            session.pending_client = False
            self._refresh(session, response)
            if transaction.had_offer:
                self.acknowledge(session, now)
            if transaction.is_refresh:
                self._refreshed(session, response.status, response, now)
                return
            if transaction.retry is not None and transaction.retry.body:
                session.local_sdp = transaction.retry.body
            self._take_timer(session, response, now)
            self.events.append(DialogResponse(session, "INVITE", response.status, response))
        else:
            self._answered_again(transaction, session.dialog.remote_tag, response, source, now)

    def _answered_again(
        self, transaction: ClientInviteTransaction, tag: str, response: Response, source: Hop, now: float
    ) -> None:
        """A 2xx after the first: a copy of it (the same ACK again, once there is one) or another fork's."""
        if response.to_tag == tag:
            self.counters.retransmissions_absorbed += 1
            if transaction.data:
                self.datagrams.append((transaction.data, transaction.hop))
                self.counters.retransmissions_sent += 1
        else:
            self._end_fork(transaction, response, source, now)

    def _end_fork(self, transaction: ClientInviteTransaction, response: Response, source: Hop, now: float) -> None:
        """A 2xx of another fork (§13.2.2.4): a call nobody wants, acknowledged and ended on our own account.

        Stateless but for the BYE's transaction: a copy of this 2xx does the same again, and its BYE gets 481.
        """
        self.counters.forked_answers += 1
        origin = transaction.origin
        tag = origin.from_.rpartition("=")[2]
        dialog = Dialog(origin.call_id, origin.from_, tag, origin.to, origin.uri_text)
        dialog.learn_from_response(response)
        hop = self._next_hop(dialog, source)
        self.datagrams.append((self._acknowledgement(dialog, origin.cseq_number, hop, b"", ()), hop))
        dialog.local_cseq = origin.cseq_number
        unwanted = Session(dialog, hop, outgoing=True, contact_user="")
        unwanted.state = SessionState.ENDED  # in no table, so that nothing is told of it
        self._send_in_dialog(unwanted, "BYE", "", "", b"", now, user=unwanted)

    def _adopt(self, session: Session, response: Response, source: Hop) -> None:
        session.dialog.learn_from_response(response)
        session.source = source
        session.hop = self._next_hop(session.dialog, source)

    def _refresh(self, session: Session, response: Response) -> None:
        if session.dialog.refresh_target(response) and not session.dialog.route_set:
            session.hop = self._next_hop(session.dialog, session.hop)

    def _non_invite_completed(
        self,
        user: Session | OutgoingRequest | SessionRefresh,
        method: str,
        status: int,
        response: Response | None,
        now: float,
    ) -> None:
        if isinstance(user, OutgoingRequest):
            self.events.append(RequestCompleted(user, status, response))
            return
        if isinstance(user, SessionRefresh):
            session = user.session
            if response is not None and status < 300:
                self._refresh(session, response)
            self._refreshed(session, status, response, now)
            return
        if user.state is SessionState.ENDED:
            return  # the peer's BYE came first, or an unwanted fork
        if method == "BYE":
            self._end(user)
        elif response is not None and method == "UPDATE" and status < 300:
            self._refresh(user, response)
            if user.timer is not None:
                self._take_timer(user, response, now)
        self.events.append(DialogResponse(user, method, status, response))

    def _invite_unanswered(
        self, transaction: ClientInviteTransaction, session: Session, status: int, now: float
    ) -> None:
        """Timer B, the end of the wait after CANCEL, or a transport error."""
        if not transaction.is_initial:
            session.pending_client = False
            session.client = None
            if transaction.is_refresh:
                self._refreshed(session, status, None, now)
            else:
                self.events.append(DialogResponse(session, "INVITE", status, None))
        else:
            self._end(session)
            self.events.append(InviteFailed(session, 487 if transaction.is_cancelled else status, None))
