"""One call leg, made by an INVITE either way; and a request outside any dialog."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from sip.core.dialogs.dialog import Dialog
from sip.core.hop import Hop
from sip.core.transactions.client_invite import ClientInviteTransaction
from sip.core.transactions.server_invite import ServerInviteTransaction

if TYPE_CHECKING:
    from sip.core.authorization import Authorization, Tries
    from sip.core.dialogs.reliability import Reliability
    from sip.core.dialogs.session_timer import SessionTimer


class SessionState(IntEnum):
    """Where a leg is. Only CONFIRMED and ENDING have a dialog that both ends agree on."""

    CALLING = 0  # INVITE sent, or received and not yet progressed
    EARLY = 1  # a 1xx above 100 was sent or received
    ANSWERED = 2  # 2xx sent or received, ACK outstanding
    CONFIRMED = 3  # ACK sent or received
    ENDING = 4  # our BYE is on its way, or waits for the ACK of our 2xx
    ENDED = 5


class Session:
    """`owner` is the transaction user's own and is not touched here. `hop` is where in-dialog requests go, `source`
    where the peer's last message of the dialog's making came from; set `use_source` for a peer behind NAT.
    `is_secure` for a sips: call, whose Contacts must be sips: as well (RFC 3261 §8.1.1.8).

    `local_sdp` is what was last put in force on our side: a refresh by re-INVITE repeats it (RFC 4028 §7.4). The
    transaction user may set it.
    """

    __slots__ = (
        "allows_update",
        "authorization",
        "bye_lines",
        "client",
        "contact_user",
        "dialog",
        "hop",
        "interval_min",
        "is_secure",
        "local_sdp",
        "outgoing",
        "owner",
        "pending_client",
        "reliability",
        "server",
        "source",
        "state",
        "timer",
        "use_source",
    )

    def __init__(self, dialog: Dialog, hop: Hop, *, outgoing: bool, contact_user: str) -> None:
        self.dialog = dialog
        self.hop = hop
        self.source = hop
        self.outgoing = outgoing
        self.contact_user = contact_user
        self.owner: object = None
        self.state = SessionState.CALLING
        self.use_source = False
        self.is_secure = False
        self.bye_lines: str | None = None  # of a BYE that waits for the ACK of our 2xx (RFC 3261 §15)
        # The INVITE transaction last begun each way; kept until its ACK is sent or has come.
        self.client: ClientInviteTransaction | None = None
        self.server: ServerInviteTransaction | None = None
        # A re-INVITE of ours without final response: another one in either direction is glare (RFC 3261 §14).
        self.pending_client = False
        self.local_sdp = b""
        self.authorization: Authorization | None = None  # where we have credentials to show
        self.allows_update = False
        self.interval_min = 0  # seconds: the Min-SE that a 422 demanded
        self.timer: SessionTimer | None = None
        self.reliability: Reliability | None = None

    def stop_timer(self) -> None:
        """No session timer runs after this. Idempotent."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        return self.dialog.call_id

    @property
    def local_tag(self) -> str:
        """Our tag: unique among this user agent's sessions."""
        return self.dialog.local_tag

    @property
    def remote_tag(self) -> str:
        """The peer's tag, "" until a response with one has come."""
        return self.dialog.remote_tag

    def __repr__(self) -> str:
        return f"Session({self.local_tag}, {self.state.name}, {'outgoing' if self.outgoing else 'incoming'})"


class SessionRefresh:
    """Whom an UPDATE of the session timer works for: the transaction user is not told of its response."""

    __slots__ = ("session",)

    def __init__(self, session: Session) -> None:
        self.session = session


class Resend:
    """What it takes to send a request other than INVITE once more: `lines` are whole header lines but Via, From, To,
    Call-ID, CSeq and credentials."""

    __slots__ = ("body", "content_type", "lines", "tries")

    def __init__(self, lines: str, content_type: str, body: bytes, tries: Tries) -> None:
        self.lines = lines
        self.content_type = content_type
        self.body = body
        self.tries = tries


class OutgoingRequest:
    """A request outside any dialog; `owner` is the transaction user's own. `from_`, `to` and `target` as they are on
    the wire; `cseq_number` is the one last used, which credentials make higher than the one asked for."""

    __slots__ = (
        "authorization",
        "call_id",
        "cseq_number",
        "from_",
        "hop",
        "local_tag",
        "method",
        "owner",
        "target",
        "to",
    )

    def __init__(self, method: str, hop: Hop, call_id: str, local_tag: str) -> None:
        self.authorization: Authorization | None = None
        self.cseq_number = 1
        self.from_ = self.to = self.target = ""
        self.method = method
        self.hop = hop
        self.call_id = call_id
        self.local_tag = local_tag
        self.owner: object = None
