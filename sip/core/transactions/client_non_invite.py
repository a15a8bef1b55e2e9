"""The non-INVITE client transaction (RFC 3261 §17.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sip.core.hop import Hop
from sip.core.transactions.states import CLIENT_NON_INVITE, Compiled, State, compile_table
from sip.core.transactions.transaction import Ground, Transaction

if TYPE_CHECKING:
    from sip.core.dialogs.session import OutgoingRequest, Resend, Session, SessionRefresh


class ClientNonInviteTransaction(Transaction):
    """`user` is None for a CANCEL or a BYE that the user agent sends on its own account."""

    __slots__ = ("fallback", "method", "retry", "user")

    TABLE: ClassVar[Compiled] = compile_table(CLIENT_NON_INVITE)

    def __init__(
        self, ground: Ground, key: str, hop: Hop, method: str, user: Session | SessionRefresh | OutgoingRequest | None
    ) -> None:
        super().__init__(ground, key, hop, State.TRYING)
        self.fallback = b""  # the same for UDP, of a request that was too large for it
        self.retry: Resend | None = None
        self.method = method
        self.user = user

    def start(self, data: bytes, now: float) -> None:
        """Sends the request and starts timers E and F."""
        self.data = data
        self._ground.datagrams.append((data, self.hop))
        self._start_resend(now)
        self.start_timeout(now)

    def next_interval(self, interval: float) -> float:
        """Timer E: doubled up to T2, and T2 at once when a 1xx has come (§17.1.2.2)."""
        t2 = self._ground.timer_settings.t2
        return t2 if self.state is State.PROCEEDING else min(2 * interval, t2)

    def linger_seconds(self) -> float:
        """Timer K."""
        return 0.0 if self.hop.is_reliable else self._ground.timer_settings.t4

    def detach(self) -> None:
        self.user = None
        self.retry = None
