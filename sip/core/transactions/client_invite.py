"""The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sip.core.authorization import Tries
from sip.core.hop import Hop
from sip.core.transactions.states import CLIENT_INVITE, Compiled, State, compile_table
from sip.core.transactions.transaction import Ground, Transaction

if TYPE_CHECKING:
    from sip.core.dialogs.session import Session


class InviteOrigin:
    """The fields of an INVITE that its CANCEL and its ACK for 3xx-6xx repeat (RFC 3261 §9.1, §17.1.1.3).

    `from_` and `to` are header values; `routes` is "" or whole "Route: …" lines.
    """

    __slots__ = ("branch", "call_id", "cseq_number", "from_", "routes", "to", "uri_text")

    def __init__(
        self, uri_text: str, branch: str, from_: str, to: str, call_id: str, cseq_number: int, routes: str
    ) -> None:
        self.uri_text = uri_text
        self.branch = branch
        self.from_ = from_
        self.to = to
        self.call_id = call_id
        self.cseq_number = cseq_number
        self.routes = routes


class Retry:
    """What it takes to send an INVITE once more, with another interval or with credentials: `lines` are those of the
    transaction user and of the user agent, without Route where the origin has it."""

    __slots__ = ("body", "content_type", "lines", "max_forwards", "tries")

    def __init__(self, lines: str, max_forwards: int, content_type: str, body: bytes) -> None:
        self.tries = Tries()
        self.lines = lines
        self.max_forwards = max_forwards
        self.content_type = content_type
        self.body = body


class ClientInviteTransaction(Transaction):
    """`data` is the INVITE until the first response, then empty, then the ACK.

    `user` goes once the 2xx is acknowledged: what is left to do, for 64*T1, needs no session.
    """

    __slots__ = (
        "answered_tag",
        "cancel_lines",
        "fallback",
        "had_offer",
        "is_cancelled",
        "is_initial",
        "is_refresh",
        "origin",
        "retry",
        "user",
    )

    TABLE: ClassVar[Compiled] = compile_table(CLIENT_INVITE)
    method: ClassVar[str] = "INVITE"

    def __init__(self, ground: Ground, key: str, hop: Hop, origin: InviteOrigin, user: Session | None) -> None:
        super().__init__(ground, key, hop, State.CALLING)
        self.origin = origin
        self.user: Session | None = user
        self.fallback = b""  # the same for UDP, of a request that was too large for it
        self.answered_tag = ""  # the To tag of the 2xx that was acknowledged
        self.is_initial = True
        self.is_refresh = False  # a re-INVITE of the session timer's
        self.retry: Retry | None = None
        self.had_offer = True
        self.is_cancelled = False
        self.cancel_lines: str | None = None  # of a CANCEL that waits for the first 1xx (RFC 3261 §9.1)

    def start(self, data: bytes, now: float) -> None:
        """Sends the INVITE and starts timers A and B."""
        self.data = data
        self._ground.datagrams.append((data, self.hop))
        self._start_resend(now)
        self.start_timeout(now)

    def next_interval(self, interval: float) -> float:
        """Timer A doubles without the cap of T2 (§17.1.1.2)."""
        return 2 * interval

    def linger_seconds(self) -> float:
        """Timer M in ACCEPTED, timer D (at least 32 s, none on a reliable transport) in COMPLETED."""
        if self.state is State.COMPLETED and self.hop.is_reliable:
            return 0.0
        return self._ground.timer_settings.transaction_seconds

    def detach(self) -> None:
        self.user = None
        self.retry = None
