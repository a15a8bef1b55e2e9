"""What both server transactions need to answer: the response's head, built once from the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip.core.hop import Hop
from sip.core.transactions.states import Input, State
from sip.core.transactions.transaction import Ground, Transaction

if TYPE_CHECKING:
    from sip.core.dialogs.session import Session
    from sip.core.dialogs.session_timer import TimerOffer

SEND_1XX = int(Input.SEND_1XX)
SEND_2XX = int(Input.SEND_2XX)
SEND_FINAL = int(Input.SEND_FINAL)


class ServerTransaction(Transaction):
    """`head` holds the Via, From, Call-ID and CSeq lines, `to` the To value with our tag, `extra` the Record-Route
    lines of a dialog-making request; `merge_key` is "" inside a dialog (RFC 3261 §8.2.2.2)."""

    __slots__ = ("cseq_number", "extra", "head", "merge_key", "method", "timer_offer", "to", "user")

    def __init__(
        self, ground: Ground, key: str, hop: Hop, method: str, cseq_number: int, state: State, head: str, to: str
    ) -> None:
        super().__init__(ground, key, hop, state)
        self.method = method
        self.cseq_number = cseq_number
        self.head = head
        self.to = to
        self.extra = ""
        self.merge_key = ""
        self.timer_offer: TimerOffer | None = None  # of an INVITE or UPDATE
        self.user: Session | None = None

    @property
    def is_answered(self) -> bool:
        """True once a final response was sent: responding again would be a LocalFault."""
        return self.state > State.PROCEEDING

    def send(self, status: int, data: bytes, now: float) -> None:
        """Sends a response. Raises LocalFault after a final one."""
        self.step(SEND_1XX if status < 200 else SEND_2XX if status < 300 else SEND_FINAL, now, data)

    def detach(self) -> None:
        self.user = None
