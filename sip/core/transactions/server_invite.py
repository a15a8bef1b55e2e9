"""The INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1)."""

from __future__ import annotations

from typing import ClassVar

from sip.core.hop import Hop
from sip.core.transactions.server_transaction import ServerTransaction
from sip.core.transactions.states import SERVER_INVITE, Compiled, State, compile_table
from sip.core.transactions.transaction import Ground


class ServerInviteTransaction(ServerTransaction):
    """Resends its 2xx until the user agent steps it with RECEIVE_ACK; see the table's remark."""

    __slots__ = ()

    TABLE: ClassVar[Compiled] = compile_table(SERVER_INVITE)

    def __init__(self, ground: Ground, key: str, hop: Hop, cseq_number: int, head: str, to: str) -> None:
        super().__init__(ground, key, hop, "INVITE", cseq_number, State.PROCEEDING, head, to)

    def linger_seconds(self) -> float:
        """Timer L in ACCEPTED, timer I (none on a reliable transport) in CONFIRMED."""
        if self.state is State.ACCEPTED:
            return self._ground.timer_settings.transaction_seconds
        return 0.0 if self.hop.is_reliable else self._ground.timer_settings.t4
