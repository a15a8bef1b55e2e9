"""The non-INVITE server transaction (RFC 3261 §17.2.2)."""

from __future__ import annotations

from typing import ClassVar

from sip.core.hop import Hop
from sip.core.transactions.server_transaction import ServerTransaction
from sip.core.transactions.states import SERVER_NON_INVITE, Compiled, State, compile_table
from sip.core.transactions.transaction import Ground


class ServerNonInviteTransaction(ServerTransaction):
    """Keeps its final response for timer J."""

    __slots__ = ()

    TABLE: ClassVar[Compiled] = compile_table(SERVER_NON_INVITE)

    def __init__(self, ground: Ground, key: str, hop: Hop, method: str, cseq_number: int, head: str, to: str) -> None:
        super().__init__(ground, key, hop, method, cseq_number, State.TRYING, head, to)

    def linger_seconds(self) -> float:
        """Timer J."""
        return 0.0 if self.hop.is_reliable else self._ground.timer_settings.transaction_seconds
