"""What the user agent tells the transaction user."""

from __future__ import annotations

from dataclasses import dataclass

from sip.core.dialogs.session import OutgoingRequest, Session
from sip.core.hop import Hop
from sip.core.messages.message import Request, Response
from sip.core.transactions.server_transaction import ServerTransaction


@dataclass(slots=True)
class IncomingInvite:
    """A new call: 100 Trying is on its way. An INVITE without offer has an empty body."""

    session: Session
    transaction: ServerTransaction
    request: Request
    source: Hop


@dataclass(slots=True)
class InviteProgress:
    """A 1xx above 100. Forked early dialogs differ in `response.to_tag`."""

    session: Session
    response: Response


@dataclass(slots=True)
class InviteAnswered:
    """The first 2xx: call `acknowledge`, after a `cancel` that it crossed too (then `bye`)."""

    session: Session
    response: Response


@dataclass(slots=True)
class InviteFailed:
    """The INVITE came to nothing; the session is over. `response` is None when no peer said so: 408 for a time-out,
    487 for a cancelled INVITE that was never answered, 503 for a transport error."""

    session: Session
    status: int
    response: Response | None


@dataclass(slots=True)
class InviteCancelled:
    """CANCEL came in time: 200 and 487 are sent, the session is over."""

    session: Session
    request: Request


@dataclass(slots=True)
class InviteAcknowledged:
    """The first ACK of our 2xx, to an INVITE or a re-INVITE; its body may hold the answer to our offer."""

    session: Session
    request: Request


@dataclass(slots=True)
class AckMissing:
    """No ACK for our 2xx within 64*T1: the transaction user should `bye` (RFC 3261 §13.3.1.4)."""

    session: Session


@dataclass(slots=True)
class ReliableOffer:
    """A reliable 1xx to an INVITE without offer holds one: call `prack` with the answer (RFC 3262 §5). Only with the
    extension 100rel; its InviteProgress follows."""

    session: Session
    response: Response


@dataclass(slots=True)
class PrackMissing:
    """No PRACK for our reliable 1xx within 64*T1: the INVITE was refused with 504, the session is over."""

    session: Session


@dataclass(slots=True)
class SessionExpired:
    """The session was not refreshed in time, or is unknown to the peer: the transaction user should `bye` (RFC 4028
    §10). Only with the extension timer."""

    session: Session


@dataclass(slots=True)
class SessionEnded:
    """BYE received and answered; the session is over."""

    session: Session
    request: Request


@dataclass(slots=True)
class DialogRequest:
    """INFO, UPDATE, re-INVITE, … in the dialog: the transaction user must `respond`."""

    session: Session
    transaction: ServerTransaction
    request: Request


@dataclass(slots=True)
class DialogResponse:
    """The final response to `request` or `bye`; None with 408 for a time-out, 503 for a transport error."""

    session: Session
    method: str
    status: int
    response: Response | None


@dataclass(slots=True)
class IncomingRequest:
    """A request outside any dialog: the transaction user must `respond`."""

    transaction: ServerTransaction
    request: Request
    source: Hop


@dataclass(slots=True)
class RequestCompleted:
    """The final response to `send_request`; None with 408 or 503 as in DialogResponse."""

    outgoing: OutgoingRequest
    status: int
    response: Response | None


Event = (
    IncomingInvite
    | InviteProgress
    | InviteAnswered
    | InviteFailed
    | InviteCancelled
    | InviteAcknowledged
    | AckMissing
    | ReliableOffer
    | PrackMissing
    | SessionExpired
    | SessionEnded
    | DialogRequest
    | DialogResponse
    | IncomingRequest
    | RequestCompleted
)
