"""A confirmed session as it is kept outside the process, so that a later one can go on with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sip.core.dialogs.dialog import Dialog
from sip.core.dialogs.session import Session, SessionState
from sip.core.hop import Hop
from sip.core.transactions.states import State

CSEQ_LEAP = 1000
"""A resumed session's requests are numbered so far ahead: some were sent after the snapshot was taken. RFC 3261
§12.2.2 has the peer take any higher number. No leg sends a thousand requests between two snapshots of itself."""


@dataclass(slots=True)
class SessionSnapshot:
    """What of a leg cannot be learnt again from its peer. Field by field as in `Session` and `Dialog`; holds a phone
    number in `remote` and `remote_target`, so it belongs in no log. `interval_seconds` 0 without a session timer."""

    call_id: str
    local: str
    local_tag: str
    remote: str
    remote_tag: str
    remote_target: str
    route_set: tuple[str, ...]
    local_cseq: int
    remote_cseq: int
    hop: Hop
    source: Hop
    outgoing: bool
    contact_user: str
    use_source: bool
    is_secure: bool
    local_sdp: bytes
    allows_update: bool
    interval_seconds: int
    is_refresher: bool
    answer: bytes = b""
    """Our 200 with all its lines, where its ACK has not come; to `answer_hop`."""
    answer_hop: Hop | None = None

    def __repr__(self) -> str:
        return f"SessionSnapshot({self.local_tag})"

    def acknowledged(self) -> SessionSnapshot:
        """The same leg, now that its ACK has come."""
        return replace(self, answer=b"", answer_hop=None)

    def session(self) -> Session:
        """The leg, confirmed, with neither transaction nor timer nor credentials."""
        dialog = Dialog(self.call_id, self.local, self.local_tag, self.remote, self.remote_target)
        dialog.remote_tag = self.remote_tag
        dialog.route_set = self.route_set
        dialog.local_cseq = self.local_cseq + CSEQ_LEAP
        dialog.remote_cseq = self.remote_cseq
        session = Session(dialog, self.hop, outgoing=self.outgoing, contact_user=self.contact_user)
        session.source = self.source
        session.use_source = self.use_source
        session.is_secure = self.is_secure
        session.local_sdp = self.local_sdp
        session.allows_update = self.allows_update
        session.state = SessionState.CONFIRMED
        return session


def take_snapshot(session: Session) -> SessionSnapshot:
    """Of a leg whose dialog both ends know: one that is answered, or about to be with `local_sdp`."""
    dialog, timer, server = session.dialog, session.timer, session.server
    waits = server is not None and server.state is State.ACCEPTED
    return SessionSnapshot(
        dialog.call_id,
        dialog.local,
        dialog.local_tag,
        dialog.remote,
        dialog.remote_tag,
        dialog.remote_target,
        dialog.route_set,
        dialog.local_cseq,
        dialog.remote_cseq,
        session.hop,
        session.source,
        session.outgoing,
        session.contact_user,
        session.use_source,
        session.is_secure,
        session.local_sdp,
        session.allows_update,
        timer.interval if timer is not None else 0,
        timer is not None and timer.is_refresher,
        server.data if server is not None and waits else b"",
        server.hop if server is not None and waits else None,
    )
