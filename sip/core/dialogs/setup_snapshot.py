"""INVITEs without a final answer, as they are kept outside the process, so that a later one can end them."""

from __future__ import annotations

from typing import NamedTuple

from sip.core.dialogs.session import Session, SessionState
from sip.core.hop import Hop
from sip.core.transactions.states import State


class UnansweredInvite(NamedTuple):
    """A peer's INVITE that we have not answered; field by field as in its transaction. ``head`` and ``to`` hold
    telephone numbers, so it belongs in no log."""

    key: str
    hop: Hop
    cseq_number: int
    head: str
    to: str

    def __repr__(self) -> str:
        return f"UnansweredInvite({self.cseq_number})"


class SentInvite(NamedTuple):
    """An INVITE of ours that has not been answered; field by field as in ``InviteOrigin``. It belongs in no log."""

    hop: Hop
    uri_text: str
    branch: str
    from_: str
    to: str
    call_id: str
    cseq_number: int
    routes: str

    def __repr__(self) -> str:
        return f"SentInvite({self.branch})"


def unanswered_invite(session: Session) -> UnansweredInvite | None:
    """The INVITE that made an incoming session; None once it has its final answer."""
    server = session.server
    if session.outgoing or server is None or server.is_answered or session.state > SessionState.EARLY:
        return None
    return UnansweredInvite(server.key, server.hop, server.cseq_number, server.head, server.to)


def sent_invite(session: Session) -> SentInvite | None:
    """The INVITE that makes an outgoing session; None once it is answered or given up."""
    client = session.client
    if client is None or session.state > SessionState.EARLY or client.state > State.PROCEEDING:
        return None
    origin = client.origin
    return SentInvite(
        client.hop,
        origin.uri_text,
        origin.branch,
        origin.from_,
        origin.to,
        origin.call_id,
        origin.cseq_number,
        origin.routes,
    )
