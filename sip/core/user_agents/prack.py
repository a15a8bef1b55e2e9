"""The user agent and reliable provisional responses (RFC 3262), on either side of a call."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from sip.core.dialogs.reliability import (
    OPTION_TAG,
    RSEQ_MAX,
    WAITING_MAX,
    Reliability,
    ReliableProvisional,
    read_rack,
    read_rseq,
)
from sip.core.dialogs.session import Session, SessionState
from sip.core.events import PrackMissing, ReliableOffer
from sip.core.messages.builder import header_lines
from sip.core.messages.message import Request, Response
from sip.core.transactions.client_invite import ClientInviteTransaction
from sip.core.transactions.states import Input
from sip.core.user_agents.refresher import UserAgentRefresher
from sip.errors import LocalFault, PeerFault

_RECEIVE_ACK = int(Input.RECEIVE_ACK)
HeaderPairs = Iterable[tuple[str, str]]


class UserAgentPrack(UserAgentRefresher):
    """All of it asleep unless "100rel" is among the extensions of the settings."""

    # --- calling side ---------------------------------------------------------------------------------------------

    def prack(self, session: Session, response: Response, now: float, body: bytes, headers: HeaderPairs = ()) -> None:
        """PRACK with the answer to the offer in a reliable 1xx (see ReliableOffer).

        Raises LocalFault for a response that is not reliable, or once the INVITE has its final response.
        """
        rseq = read_rseq(response)
        if not rseq or session.state > SessionState.EARLY:
            raise LocalFault("nothing to PRACK")
        self._send_prack(session, rseq, response, header_lines(headers), body, now)

    def _take_reliable(
        self, transaction: ClientInviteTransaction, session: Session, response: Response, now: float
    ) -> bool:
        """False for a 1xx that must not be heard: a copy, or one out of order (§4)."""
        try:
            rseq = read_rseq(response) if self._has_reliability else 0
        except PeerFault:
            return False
        if not rseq:
            return True
        if session.reliability is None:
            cseq = transaction.origin.cseq_number
            session.reliability = Reliability(cseq, is_supported=True, is_required=False, rseq=0)
        if not session.reliability.is_next(response.to_tag, rseq):
            return False
        if response.body and not transaction.had_offer:
            self.events.append(ReliableOffer(session, response))
        else:
            self._send_prack(session, rseq, response, "", b"", now)
        return True

    def _send_prack(self, session: Session, rseq: int, response: Response, lines: str, body: bytes, now: float) -> None:
        rack = f"RAck: {rseq} {response.cseq_number} {response.cseq_method}\r\n"
        # Nobody waits for its response: without it the peer sends its 1xx again, and gives up by itself.
        self._send_in_dialog(session, "PRACK", rack + lines, "application/sdp", body, now, user=None)

    # --- called side ----------------------------------------------------------------------------------------------

    def _learn_reliability(self, session: Session, request: Request) -> None:
        """What the INVITE says of its sender. Raises PeerFault 400."""
        if not self._has_reliability:
            return
        headers = request.headers
        is_required = OPTION_TAG in headers.elements("require")
        if is_required or OPTION_TAG in headers.elements("supported"):
            # §3: anywhere in the lower half, so that there is room to count.
            rseq = zlib.crc32(session.local_tag.encode()) % (RSEQ_MAX // 2)
            session.reliability = Reliability(
                request.cseq_number, is_supported=True, is_required=is_required, rseq=rseq
            )
            session.reliability.wants_offer = not request.body

    def _progress_reliably(
        self, session: Session, status: int, now: float, body: bytes, headers: HeaderPairs, reason_phrase: str | None
    ) -> None:
        """Now, or when the PRACK of the one before has come (§3)."""
        reliability, server = session.reliability, session.server
        if reliability is None or server is None or session.state > SessionState.EARLY:
            return
        if reliability.wants_offer and not body:
            return  # §5: the first reliable response to an INVITE without an offer holds one, and there is none yet
        reliability.wants_offer = False
        pairs = list(headers)
        if reliability.pending is not None:
            if len(reliability.waiting) >= WAITING_MAX:
                del reliability.waiting[0]
            reliability.waiting.append((status, body, pairs, reason_phrase))
            return
        reliability.rseq += 1
        pending = ReliableProvisional(self._layer, server.hop, reliability.rseq, session, has_body=bool(body))
        pairs += [("Require", OPTION_TAG), ("RSeq", str(reliability.rseq))]
        self._respond_invite(session, status, now, body, pairs, reason_phrase)
        reliability.pending = pending
        pending.start(server.data, now)

    def _waits_for_prack(self, session: Session, body: bytes, headers: HeaderPairs) -> bool:
        """True when the answer must wait: a 1xx with SDP has no PRACK yet (§3). It goes out when that has come."""
        reliability = session.reliability
        if reliability is None or session.state > SessionState.EARLY:
            return False
        pending = reliability.pending
        if pending is None or not (pending.has_body or any(waiting[1] for waiting in reliability.waiting)):
            return False
        if reliability.answer is None:
            reliability.answer = (body, list(headers))
        return True

    def _acknowledge_reliable(self, session: Session, request: Request, now: float) -> bool:
        """Takes a PRACK; False when it matches nothing (§3: 481). Raises PeerFault 400."""
        rseq, cseq, method = read_rack(request)
        reliability = session.reliability
        pending = None if reliability is None else reliability.pending
        if reliability is None or pending is None:
            return False
        if (rseq, cseq, method) != (pending.rseq, reliability.invite_cseq, "INVITE"):
            return False
        pending.step(_RECEIVE_ACK, now)
        reliability.pending = None
        return True

    def _go_on_after_prack(self, session: Session, now: float) -> None:
        """What has waited for a PRACK goes out."""
        reliability = session.reliability
        if reliability is None or reliability.pending is not None:
            return
        if reliability.waiting:
            status, body, headers, phrase = reliability.waiting.pop(0)
            self._progress_reliably(session, status, now, body, headers, phrase)
        elif reliability.answer is not None:
            answer, reliability.answer = reliability.answer, None
            self._respond_invite(session, 200, now, answer[0], answer[1], None)

    def _prack_missed(self, session: Session, now: float) -> None:
        """§3: without PRACK for 64*T1 the INVITE is refused with a 5xx."""
        if session.reliability is not None:
            session.reliability.pending = None
        if session.state <= SessionState.EARLY:
            self._respond_invite(session, 504, now, b"", (), None)
            self.events.append(PrackMissing(session))

    def _respond_invite(
        self,
        session: Session,
        status: int,
        now: float,
        body: bytes,
        headers: HeaderPairs,
        reason_phrase: str | None,
    ) -> None:
        raise NotImplementedError  # the called side's
