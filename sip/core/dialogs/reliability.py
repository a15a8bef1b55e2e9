"""Reliable provisional responses (RFC 3262): what is remembered of them on either side of a call."""

from __future__ import annotations

from typing import ClassVar

from sip.core.dialogs.session import Session
from sip.core.hop import Hop
from sip.core.messages.grammar import is_digits
from sip.core.messages.message import Message
from sip.core.transactions.states import Action, Compiled, Input, State, Table, compile_table
from sip.core.transactions.transaction import Ground, Transaction
from sip.errors import PeerFault

OPTION_TAG = "100rel"
WAITING_MAX = 8  # provisional responses that wait for the PRACK of the one before; the oldest gives way
FORKS_MAX = 16  # early dialogs of one INVITE whose order is kept
RSEQ_MAX = 2**31 - 1

S, I, A = State, Input, Action  # noqa: E741  the table below is read by column

# §3: sent again, T1 doubled without the cap of T2, until its PRACK; on any transport, for proxies may lose it too.
RELIABLE_PROVISIONAL: Table = {
    (S.ACCEPTED, I.TIMER_RESEND): (S.ACCEPTED, A.RESEND | A.START_RESEND),
    (S.ACCEPTED, I.TIMER_TIMEOUT): (S.TERMINATED, A.TIMED_OUT),
    (S.ACCEPTED, I.RECEIVE_ACK): (S.TERMINATED, A.PASS),
    (S.ACCEPTED, I.SEND_FINAL): (S.TERMINATED, A.NONE),
}

_SEND_FINAL = int(Input.SEND_FINAL)
HeaderPairs = list[tuple[str, str]]


class ReliableProvisional(Transaction):
    """One reliable 1xx of ours on its way; the INVITE's server transaction has sent it the first time."""

    __slots__ = ("has_body", "rseq", "user")

    TABLE: ClassVar[Compiled] = compile_table(RELIABLE_PROVISIONAL)

    def __init__(self, ground: Ground, hop: Hop, rseq: int, user: Session, *, has_body: bool) -> None:
        super().__init__(ground, f"{user.local_tag} {rseq}", hop, State.ACCEPTED)
        self.rseq = rseq
        self.has_body = has_body
        self.user: Session | None = user

    def start(self, data: bytes, now: float) -> None:
        """Starts the timers; `data` has been sent."""
        self.data = data
        self._start_resend(now)
        self.start_timeout(now)

    def next_interval(self, interval: float) -> float:
        return 2 * interval

    def detach(self) -> None:
        self.user = None


class Reliability:
    """Of one session. Calling side: the last RSeq by early dialog. Called side: what the peer can, what is under way,
    and what waits for it: further 1xx (status, body, headers, reason phrase) and the answer."""

    __slots__ = (
        "answer",
        "invite_cseq",
        "is_required",
        "is_supported",
        "pending",
        "remote_rseqs",
        "rseq",
        "waiting",
        "wants_offer",
    )

    def __init__(self, invite_cseq: int, *, is_supported: bool, is_required: bool, rseq: int) -> None:
        self.invite_cseq = invite_cseq
        self.is_supported = is_supported
        self.is_required = is_required
        self.rseq = rseq
        self.wants_offer = False
        self.pending: ReliableProvisional | None = None
        self.waiting: list[tuple[int, bytes, HeaderPairs, str | None]] = []
        self.answer: tuple[bytes, HeaderPairs] | None = None
        self.remote_rseqs: dict[str, int] = {}

    def finish(self) -> None:
        """The INVITE has its final response: nothing is sent again, nothing waits. A late PRACK is still known."""
        self.waiting.clear()
        self.answer = None
        if self.pending is not None:
            self.pending.step(_SEND_FINAL, 0.0)

    def is_next(self, tag: str, rseq: int) -> bool:
        """True for the one that is due from the peer of `tag` (§4); a copy, or one out of order, is passed over."""
        last = self.remote_rseqs.get(tag)
        if last is None:
            if len(self.remote_rseqs) >= FORKS_MAX:
                return False
        elif rseq != last + 1:
            return False
        self.remote_rseqs[tag] = rseq
        return True


def read_rseq(message: Message) -> int:
    """RSeq of a reliable 1xx, 0 where it is not reliable. Raises PeerFault 400."""
    headers = message.headers
    if "rseq" not in headers or OPTION_TAG not in headers.elements("require"):
        return 0
    return _number(headers.get("rseq"), "RSeq")


def read_rack(message: Message) -> tuple[int, int, str]:
    """RAck of a PRACK: RSeq, CSeq number and method. Raises PeerFault 400."""
    words = message.headers.get("rack").split()
    if len(words) != 3:
        raise PeerFault(400, "Malformed RAck")
    return _number(words[0], "RAck"), _number(words[1], "RAck"), words[2]


def _number(text: str, header: str) -> int:
    if not is_digits(text) or len(text) > 10 or int(text) > 2**32 - 1:
        raise PeerFault(400, f"Malformed {header}")
    return int(text)
