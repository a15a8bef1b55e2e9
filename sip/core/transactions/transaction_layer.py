"""All transactions of one user agent: matching, bounds, and the ground they stand on."""

from __future__ import annotations

from sip.core.hop import Hop
from sip.core.messages.message import Request, Response
from sip.core.messages.via import MAGIC_COOKIE
from sip.core.transactions.client_invite import ClientInviteTransaction
from sip.core.transactions.client_non_invite import ClientNonInviteTransaction
from sip.core.transactions.server_transaction import ServerTransaction
from sip.core.transactions.timers import TimerQueue, TimerSettings
from sip.core.transactions.transaction import Transaction

ClientTransaction = ClientInviteTransaction | ClientNonInviteTransaction


class TransactionLayer:
    """Holds at most `transactions_max` transactions; `is_full` says when no more may be made."""

    def __init__(
        self, timer_settings: TimerSettings, transactions_max: int, datagrams: list[tuple[bytes, Hop]]
    ) -> None:
        self.timers: TimerQueue[Transaction] = TimerQueue()
        self.timer_settings = timer_settings
        self.datagrams = datagrams
        self.resent = 0
        self._transactions_max = transactions_max
        self.clients: dict[str, ClientTransaction] = {}
        self.servers: dict[str, ServerTransaction] = {}
        # "call-id from-tag cseq" of each pending out-of-dialog request, to tell a merged one (RFC 3261 §8.2.2.2).
        self.merge_keys: dict[str, ServerTransaction] = {}

    @property
    def is_full(self) -> bool:
        """True when transactions_max is reached."""
        return len(self.clients) + len(self.servers) >= self._transactions_max

    @property
    def count(self) -> tuple[int, int]:
        """Client and server transactions, the lingering ones among them."""
        return len(self.clients), len(self.servers)

    def forget(self, transaction: Transaction) -> None:
        """Takes a terminated transaction out of the tables. Idempotent."""
        if isinstance(transaction, ServerTransaction):
            self.servers.pop(transaction.key, None)
            if transaction.merge_key:
                self.merge_keys.pop(transaction.merge_key, None)
        else:
            self.clients.pop(transaction.key, None)

    def find_client(self, response: Response) -> ClientTransaction | None:
        """RFC 3261 §17.1.3: branch and CSeq method."""
        return self.clients.get(f"{response.via.branch} {response.cseq_method}")


def server_key(request: Request, method: str) -> str:
    """What tells one server transaction from another; `method` is INVITE for an ACK or CANCEL to be matched.

    RFC 3261 §17.2.3: branch, sent-by and method. The CSeq number is added because phones exist (pyVoIP) that use one
    branch for an INVITE and for the INVITE that answers its 401: those are two transactions. A branch without the
    magic cookie is no identity (RFC 2543 clients), so the rest of that section's list stands in for it.
    """
    via = request.via
    if via.branch.startswith(MAGIC_COOKIE) and len(via.branch) > len(MAGIC_COOKIE):  # RFC 4475 §3.2.1
        return f"{via.branch} {via.sent_by} {method} {request.cseq_number}"
    return f"{request.uri_text} {request.call_id} {request.from_tag} {via.value} {method} {request.cseq_number}"


def client_key(branch: str, method: str) -> str:
    """The key of a client transaction."""
    return f"{branch} {method}"
