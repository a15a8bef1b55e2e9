"""Our credentials towards others (RFC 3261 §22, RFC 7616): challenges that were met are met again with the next count.

One for each call or request of ours that was given accounts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sip.core.digest import authorize, challenge_realm
from sip.core.messages.message import Response
from sip.errors import PeerFault

CHALLENGES_MAX = 8  # looked at in one response; a server offers one an algorithm
TRIES_MAX = 3  # of one request: for a proxy, for the peer behind it, and for a nonce that went stale between

# Status -> header of the challenge, header of the credentials
_HEADERS = {401: ("www-authenticate", "Authorization"), 407: ("proxy-authenticate", "Proxy-Authorization")}


@dataclass(frozen=True, slots=True)
class Account:
    """`ha1_by_algorithm` is for the realm that it was asked for (see `digest.digest_ha1`); no password is kept."""

    username: str
    ha1_by_algorithm: dict[str, str]

    def __repr__(self) -> str:
        return f"Account({self.username!r})"


Accounts = Callable[[str], Account | None]  # by realm; None where we have none there


class Authorization:
    """The client side of digest; holds the last challenge of each kind and counts its uses."""

    __slots__ = ("_accounts", "_met")

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._met: dict[int, tuple[str, Account, int]] = {}  # status -> challenge, account, times used

    def take(self, response: Response) -> bool:
        """Learns from a 401 or 407; True when there is a challenge among its that we can meet."""
        status = response.status
        for challenge in response.headers.get_all(_HEADERS[status][0])[:CHALLENGES_MAX]:
            try:
                account = self._accounts(challenge_realm(challenge))
                if account is None or self._value(challenge, account, "REGISTER", "sip:x", "x", 1) is None:
                    continue
            except PeerFault:
                continue
            self._met[status] = (challenge, account, 0)
            return True
        return False

    def lines(self, method: str, uri: str, new_token: Callable[[], str]) -> str:
        """The header lines for a request; "" before any challenge."""
        text = ""
        for status, (challenge, account, used) in self._met.items():
            self._met[status] = (challenge, account, used + 1)
            value = self._value(challenge, account, method, uri, new_token(), used + 1)
            text = f"{text}{_HEADERS[status][1]}: {value}\r\n"
        return text

    @staticmethod
    def _value(challenge: str, account: Account, method: str, uri: str, cnonce: str, count: int) -> str | None:
        return authorize([challenge], account.ha1_by_algorithm, account.username, method, uri, cnonce, count)


class Tries:
    """Which challenges one request has been through: each kind once, and once more where only the nonce was old."""

    __slots__ = ("_count", "_seen")

    def __init__(self) -> None:
        self._count = 0
        self._seen: set[int] = set()

    def allows(self, response: Response) -> bool:
        """True when another try has a chance; counts it."""
        status = response.status
        if status not in _HEADERS or self._count >= TRIES_MAX:
            return False
        values = response.headers.get_all(_HEADERS[status][0])
        is_stale = any("stale=true" in value.lower().replace(" ", "") for value in values)
        if status in self._seen and not is_stale:
            return False  # the secret is wrong: asking again would only lock the account
        self._seen.add(status)
        self._count += 1
        return True
