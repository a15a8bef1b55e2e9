"""The called side of the user agent: requests of the peer's (RFC 3261 §8.2, §9.2, §12.2.2, §14.2, §15.1.2)."""

from __future__ import annotations

from sip.core.dialogs.dialog import Dialog
from sip.core.dialogs.session import Session, SessionState
from sip.core.events import (
    DialogRequest,
    IncomingInvite,
    IncomingRequest,
    InviteAcknowledged,
    InviteCancelled,
    SessionEnded,
)
from sip.core.hop import Hop
from sip.core.messages.builder import response_octets
from sip.core.messages.grammar import parse_parameters
from sip.core.messages.message import Request
from sip.core.messages.via import MAGIC_COOKIE
from sip.core.transactions.server_invite import ServerInviteTransaction
from sip.core.transactions.server_non_invite import ServerNonInviteTransaction
from sip.core.transactions.server_transaction import ServerTransaction
from sip.core.transactions.states import Input, State
from sip.core.transactions.transaction_layer import server_key
from sip.core.user_agents.responder import UserAgentResponder
from sip.errors import PeerFault

_RECEIVE_REQUEST = int(Input.RECEIVE_REQUEST)
_RECEIVE_ACK = int(Input.RECEIVE_ACK)
_ONLY_IN_DIALOG = frozenset(("BYE", "INFO", "UPDATE", "PRACK"))
_ANY_MAX_FORWARDS = frozenset(("OPTIONS", "REGISTER"))


class UserAgentServer(UserAgentResponder):
    """Requests as they come in."""

    def _receive_request(self, request: Request, source: Hop, now: float) -> None:
        """Raises PeerFault for what a `_refuse` with its status answers."""
        method = request.method
        self.counters.requests += 1
        if method == "ACK":
            self._receive_ack(request, now)
            return
        key = server_key(request, method)
        known = self._layer.servers.get(key)
        if known is not None:
            self.counters.retransmissions_absorbed += 1
            known.step(_RECEIVE_REQUEST, now)
            return
        if method == "CANCEL":
            self._receive_cancel(request, source, now)
        elif method not in self._methods:
            self.counters.refused += 1
            self._refuse(request, source, 405, None, self._allow_line)
        elif request.to_tag:
            self._receive_in_dialog(request, source, key, now)
        else:
            self._receive_outside(request, source, key, now)

    def _receive_ack(self, request: Request, now: float) -> None:
        session = self.sessions.get(request.to_tag) or self._acknowledged_by_branch(request)
        server = None if session is None else session.server
        if (
            session is not None
            and server is not None
            and server.state is State.ACCEPTED
            and server.cseq_number == request.cseq_number
            and session.dialog.call_id == request.call_id
        ):
            server.step(_RECEIVE_ACK, now)
            session.server = None
            server.user = None
            server.data = b""
            if session.bye_lines is not None:
                self._send_bye(session, session.bye_lines, now)
                return
            if session.state is SessionState.ANSWERED:
                session.state = SessionState.CONFIRMED
            self.events.append(InviteAcknowledged(session, request))
            return
        known = self._layer.servers.get(server_key(request, "INVITE"))
        if known is not None and known.state is State.COMPLETED:
            known.step(_RECEIVE_ACK, now)
        elif known is not None or session is not None:
            self.counters.retransmissions_absorbed += 1
        else:
            self.counters.stray_acks += 1

    def _acknowledged_by_branch(self, request: Request) -> Session | None:
        """The call whose 2xx an ACK with a To tag of nobody's means, told by its INVITE's branch (RFC 6026 §7.1).

        pyVoIP 1.6 makes a new tag up for each ACK: unmatched, its calls would end after 64 × T1.
        """
        known = self._layer.servers.get(server_key(request, "INVITE"))
        session = None if known is None or known.state is not State.ACCEPTED else known.user
        return session if session is not None and session.dialog.remote_tag == request.from_tag else None

    def _receive_cancel(self, request: Request, source: Hop, now: float) -> None:
        known = self._layer.servers.get(server_key(request, "INVITE"))
        if known is None:
            self.counters.unknown_dialogs += 1
            self._refuse(request, source, 481)
            return
        # Stateless: a copy finds the INVITE answered and gets the same 200, its To tag that of the INVITE (§9.2).
        via_value, hop = request.via.answered_from(source)
        head = self._head_of(request, via_value)
        self.datagrams.append((response_octets(200, "OK", head, known.to, self._agent_line, "", b""), hop))
        if known.is_answered:
            return
        session = known.user
        self.respond(known, 487, now)
        if session is not None and session.state is SessionState.ENDED:
            self.events.append(InviteCancelled(session, request))

    def _receive_outside(self, request: Request, source: Hop, key: str, now: float) -> None:
        method = request.method
        layer = self._layer
        is_invite = method == "INVITE"
        if layer.is_full or (is_invite and len(self.sessions) >= self.settings.sessions_max):
            self.counters.refused_overload += 1
            self._refuse(request, source, 503, None, f"Retry-After: {self.settings.retry_after_seconds}\r\n")
            return
        if is_invite and self._answers_again(request, source, key, now):
            return
        timer_offer = self._read_timer_offer(request) if is_invite else None
        if self._is_too_small(timer_offer):
            self._refuse_interval(request, source)
            return
        if method in _ONLY_IN_DIALOG:
            self.counters.unknown_dialogs += 1
            self._refuse(request, source, 481)
            return
        # These raise here, so that the transaction user can rely on them.
        _ = request.uri, request.from_, request.to, request.contact
        if request.max_forwards == 0 and method not in _ANY_MAX_FORWARDS:
            raise PeerFault(483, "Too Many Hops")
        if self._refuses_required(request, source) or (is_invite and self._refuses_content(request, source)):
            return
        merge_key = f"{request.call_id} {request.from_tag} {request.cseq_number} {method}"
        if merge_key in layer.merge_keys:
            self.counters.merged_requests += 1
            self._refuse(request, source, 482, "Merged Request")
            return
        to = request.headers.first["to"]
        tag = self._new_token()
        via_value, hop = request.via.answered_from(source)
        head = self._head_of(request, via_value)
        tagged = f"{to};tag={tag}"
        transaction: ServerTransaction
        if is_invite:
            dialog = Dialog(request.call_id, tagged, tag, request.headers.first["from"], request.from_.uri_text)
            dialog.learn_from_request(request)
            # An RFC 2543 caller need not have one: its From stands in (RFC 4475 §3.4.1).
            if request.contact is None and request.via.branch.startswith(MAGIC_COOKIE):
                raise PeerFault(400, "Missing Contact")
            session = Session(dialog, self._next_hop(dialog, source), outgoing=False, contact_user="")
            session.source = source
            session.is_secure = request.uri.scheme == "sips"
            self._learn_reliability(session, request)
            if timer_offer is not None:
                session.allows_update = "UPDATE" in request.headers.elements("allow")
            transaction = self._start_server_invite(session, request, key, hop, head, tagged, to, now)
            transaction.timer_offer = timer_offer
            self.sessions[tag] = session
            self.events.append(IncomingInvite(session, transaction, request, source))
        else:
            transaction = ServerNonInviteTransaction(layer, key, hop, method, request.cseq_number, head, tagged)
            layer.servers[key] = transaction
            self.events.append(IncomingRequest(transaction, request, source))
        transaction.merge_key = merge_key
        layer.merge_keys[merge_key] = transaction

    def _answers_again(self, request: Request, source: Hop, key: str, now: float) -> bool:
        """True for a copy of the INVITE of a call that an earlier process answered: the caller has not heard that."""
        session = self._taken_up.get(f"{request.call_id} {request.from_tag}")
        if session is None or session.server is not None or session.state is not SessionState.CONFIRMED:
            return False
        if request.cseq_number != session.dialog.remote_cseq:
            return False
        via_value, hop = request.via.answered_from(source)
        head, local = self._head_of(request, via_value), session.dialog.local
        transaction = self._start_server_invite(session, request, key, hop, head, local, local, now)
        transaction.timer_offer = self._read_timer_offer(request)
        self.respond(transaction, 200, now, session.local_sdp)
        return True

    def _refuse_interval(self, request: Request, source: Hop) -> None:
        self.counters.refused += 1
        self._refuse(request, source, 422, None, f"Min-SE: {self.settings.session_expires_seconds_min}\r\n")

    def _start_server_invite(
        self, session: Session, request: Request, key: str, hop: Hop, head: str, tagged: str, to: str, now: float
    ) -> ServerInviteTransaction:
        transaction = ServerInviteTransaction(self._layer, key, hop, request.cseq_number, head, tagged)
        for value in request.headers.get_all("record-route"):
            transaction.extra += f"Record-Route: {value}\r\n"
        transaction.user = session
        session.server = transaction
        self._layer.servers[key] = transaction
        transaction.send(100, f"SIP/2.0 100 Trying\r\n{head}To: {to}\r\nContent-Length: 0\r\n\r\n".encode(), now)
        return transaction

    def _refuses_required(self, request: Request, source: Hop) -> bool:
        if "require" not in request.headers:
            return False
        extensions = self.settings.extensions
        unsupported = [tag for tag in request.headers.elements("require") if tag not in extensions]
        if not unsupported:
            return False
        self.counters.refused += 1
        self._refuse(request, source, 420, None, f"Unsupported: {', '.join(unsupported)}\r\n")
        return True

    def _refuses_content(self, request: Request, source: Hop) -> bool:
        """415 for a body of a kind that we do not read, 406 where no answer of ours would be read (§8.2.3, §20.1)."""
        first = request.headers.first
        kinds = self.settings.content_types
        if request.body:
            kind = first.get("content-type", kinds[0])
            if kind not in kinds and not _is_among(kind, kinds):
                handling = parse_parameters(first.get("content-disposition", ""), "Content-Disposition")
                if handling.get("handling", "").lower() != "optional":
                    self.counters.refused += 1
                    self._refuse(request, source, 415, None, f"Accept: {', '.join(kinds)}\r\n")
                    return True
        if "accept" not in first:
            return False
        if any(_is_among(each, kinds) for each in request.headers.elements("accept")):
            return False
        self.counters.refused += 1
        self._refuse(request, source, 406)
        return True

    def _receive_in_dialog(self, request: Request, source: Hop, key: str, now: float) -> None:
        session = self.sessions.get(request.to_tag)
        if (
            session is None
            or session.dialog.call_id != request.call_id
            or session.dialog.remote_tag != request.from_tag
        ):
            self.counters.unknown_dialogs += 1
            self._refuse(request, source, 481)
            return
        dialog = session.dialog
        if request.cseq_number < dialog.remote_cseq:
            self.counters.out_of_order += 1
            self._refuse(request, source, 500, "CSeq Out Of Order")
            return
        method = request.method
        if method == "BYE":
            dialog.remote_cseq = request.cseq_number
            self._receive_bye(session, request, source, key, now)
            return
        if session.state >= SessionState.ENDING:
            self._refuse(request, source, 481)
            return
        if self._refuses_required(request, source):
            return
        if self._layer.is_full:
            self.counters.refused_overload += 1
            self._refuse(request, source, 503, None, f"Retry-After: {self.settings.retry_after_seconds}\r\n")
            return
        timer_offer = self._read_timer_offer(request) if method in ("INVITE", "UPDATE") else None
        if self._is_too_small(timer_offer):
            self._refuse_interval(request, source)
            return
        dialog.remote_cseq = request.cseq_number
        if method == "PRACK" and not self._acknowledge_reliable(session, request, now):
            self.counters.unknown_dialogs += 1
            self._refuse(request, source, 481)
            return
        via_value, hop = request.via.answered_from(source)
        head = self._head_of(request, via_value)
        to = request.headers.first["to"]
        transaction: ServerTransaction
        if method == "INVITE":
            if self._refuses_reinvite(session, request, source):
                return
            transaction = self._start_server_invite(session, request, key, hop, head, to, to, now)
        else:
            transaction = ServerNonInviteTransaction(self._layer, key, hop, method, request.cseq_number, head, to)
            transaction.user = session
            self._layer.servers[key] = transaction
        transaction.timer_offer = timer_offer
        if method in ("INVITE", "UPDATE") and dialog.refresh_target(request) and not dialog.route_set:
            session.hop = self._next_hop(dialog, source)
            session.source = source
        if method == "PRACK" and not request.body:
            self.respond(transaction, 200, now)
        else:  # an offer or answer in a PRACK is the transaction user's to answer (RFC 3262 §5)
            self.events.append(DialogRequest(session, transaction, request))
        if method == "PRACK":
            self._go_on_after_prack(session, now)

    def _refuses_reinvite(self, session: Session, request: Request, source: Hop) -> bool:
        if (
            session.pending_client
            or session.state <= SessionState.EARLY
            or (session.server is not None and session.server.is_answered)
        ):
            self._refuse(request, source, 491)
            return True
        if session.server is not None:
            # §14.2: the first INVITE is not answered yet
            self._refuse(request, source, 500, None, "Retry-After: 2\r\n")
            return True
        return False

    def _receive_bye(self, session: Session, request: Request, source: Hop, key: str, now: float) -> None:
        via_value, hop = request.via.answered_from(source)
        head = self._head_of(request, via_value)
        to = request.headers.first["to"]
        data = response_octets(200, "OK", head, to, self._agent_line, "", b"")
        if self._layer.is_full:
            self.datagrams.append((data, hop))  # without state; a copy gets 481, which ends the peer's side as well
        else:
            transaction = ServerNonInviteTransaction(self._layer, key, hop, "BYE", request.cseq_number, head, to)
            self._layer.servers[key] = transaction
            transaction.send(200, data, now)
        if session.state is SessionState.ENDING and session.bye_lines is None:
            return  # BYE crosses BYE: ours is still to be answered, and DialogResponse will tell of it
        server = session.server
        if server is not None:
            if not server.is_answered:
                self.respond(server, 487, now)  # §15.1.2
            elif server.state is State.ACCEPTED:
                server.step(_RECEIVE_ACK, now)  # the peer has seen our 2xx: nothing more to resend
        client = session.client
        if client is not None and session.state <= SessionState.EARLY:
            self.cancel(session, now)
        self._let_go_of_reinvite(session, now)
        self._end(session)
        self.events.append(SessionEnded(session, request))


def _is_among(kind: str, kinds: tuple[str, ...]) -> bool:
    """True when a Content-Type or Accept element names one of `kinds`, by itself or by a range (§20.1)."""
    name = kind.partition(";")[0].strip(" \t").lower()
    main, _, sub = name.partition("/")
    return name in kinds or name == "*/*" or (sub == "*" and any(each.startswith(f"{main}/") for each in kinds))
