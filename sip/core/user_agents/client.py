"""The calling side of the user agent: responses to requests of ours (RFC 3261 §8.1.3, §13.2.2, §14.1, §22.2)."""

from __future__ import annotations

from collections.abc import Iterable

from sip.core.dialogs.dialog import Dialog
from sip.core.dialogs.session import OutgoingRequest, Resend, Session, SessionRefresh, SessionState
from sip.core.dialogs.session_snapshot import CSEQ_LEAP
from sip.core.dialogs.setup_snapshot import SentInvite
from sip.core.events import (
    DialogResponse,
    InviteAnswered,
    InviteFailed,
    InviteProgress,
    RequestCompleted,
)
from sip.core.hop import Hop
from sip.core.messages.builder import header_lines
from sip.core.messages.message import Response
from sip.core.transactions.client_invite import ClientInviteTransaction, InviteOrigin, Retry
from sip.core.transactions.states import Input, State
from sip.core.transactions.transaction import ACK, PASS, RESEND, STOP
from sip.core.transactions.transaction_layer import client_key
from sip.core.user_agents.requester import UserAgentRequester

_RECEIVE_1XX = int(Input.RECEIVE_1XX)
_RECEIVE_2XX = int(Input.RECEIVE_2XX)
_RECEIVE_FINAL = int(Input.RECEIVE_FINAL)
HeaderPairs = Iterable[tuple[str, str]]


class UserAgentClient(UserAgentRequester):
    """What comes back for requests of ours."""

    def _receive_response(self, response: Response, source: Hop, now: float) -> None:
        self.counters.responses += 1
        transaction = self._layer.find_client(response)
        if transaction is None:
            self.counters.unmatched_responses += 1
            self._answered_to_earlier(response, source, now)
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
            if session.state is SessionState.ENDING:
                self._let_go_of_reinvite(session, now)  # our BYE went before this first response came
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
        dialog.forget_responses(origin.to, origin.uri_text)
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
        self.on_invited_again(session)

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

    def cancel_earlier(self, sent: SentInvite, now: float, headers: HeaderPairs = ()) -> None:
        """Gives up a call that an earlier process of ours was making. Who has answered meanwhile is hung up; whoever
        never had the INVITE answers 481."""
        origin = InviteOrigin(
            sent.uri_text, sent.branch, sent.from_, sent.to, sent.call_id, sent.cseq_number, sent.routes
        )
        transaction = ClientInviteTransaction(self._layer, client_key(sent.branch, "INVITE"), sent.hop, origin, None)
        transaction.state = State.PROCEEDING
        self._layer.clients[transaction.key] = transaction
        transaction.cancel_lines = header_lines(headers)
        self._send_cancel(transaction, now)

    def abandon(self, local_tags: Iterable[str]) -> None:
        """Calls that an earlier process of ours was making: who answers one is acknowledged, and hung up."""
        self._abandoned.update(local_tags)

    def _answered_to_earlier(self, response: Response, source: Hop, now: float) -> None:
        """A 2xx for an INVITE that we have not sent, or that is long forgotten. Strangers get nothing."""
        if response.cseq_method != "INVITE" or not 200 <= response.status < 300:
            return
        tag = response.from_tag
        session = self.sessions.get(tag)
        if session is None:
            if tag in self._abandoned:
                self._end_answered(response.call_id, response.headers.first["from"], tag, response, source, now)
            return
        is_its = (session.call_id, session.remote_tag) == (response.call_id, response.to_tag)
        if is_its and session.outgoing and session.state >= SessionState.CONFIRMED and session.client is None:
            hop = self._hop_of(session)
            self.datagrams.append((self._acknowledgement(session.dialog, response.cseq_number, hop, b"", ()), hop))

    def _end_fork(self, transaction: ClientInviteTransaction, response: Response, source: Hop, now: float) -> None:
        """A 2xx of another fork (§13.2.2.4): a call nobody wants, acknowledged and ended on our own account."""
        self.counters.forked_answers += 1
        origin = transaction.origin
        self._end_answered(origin.call_id, origin.from_, origin.from_.rpartition("=")[2], response, source, now)

    def _end_answered(self, call_id: str, from_: str, tag: str, response: Response, source: Hop, now: float) -> None:
        """Stateless but for the BYE's transaction: a copy of this 2xx does the same again, and its BYE gets 481."""
        to = response.headers.first["to"]
        dialog = Dialog(call_id, from_, tag, to, response.to.uri_text)
        dialog.learn_from_response(response)
        hop = self._next_hop(dialog, source)
        self.datagrams.append((self._acknowledgement(dialog, response.cseq_number, hop, b"", ()), hop))
        # PRACKs may have been numbered in it, by this process or the one before, and a peer may refuse a CSeq twice.
        dialog.local_cseq = response.cseq_number + CSEQ_LEAP
        unwanted = Session(dialog, hop, outgoing=True, contact_user="")
        unwanted.state = SessionState.ENDED  # in no table, so that nothing is told of it
        self._send_in_dialog(unwanted, "BYE", "", "", b"", now, user=unwanted)

    def _adopt(self, session: Session, response: Response, source: Hop) -> None:
        if session.dialog.learn_from_response(response) or session.source != source:
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
