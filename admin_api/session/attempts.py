"""How often one may try to log in: each failure makes the next wait longer. Sans-IO: time is an argument.

In memory, and bounded. A database that whoever is not logged in can make write is worth more to an attacker than a
counter that a restart clears: restarts are rare and not his to make, and SQLite has one writer, whom calls need.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

FIRST_DELAY_MS = 1_000
"""After the free failures; each further one doubles it."""
QUIET_MS = 30 * 60 * 1000
"""Without a failure for so long, the earlier ones do not count."""
ENTRIES_MAX = 10_000
"""Logins, addresses and pairs that are remembered; a flood of others lets the oldest go, and costs no memory."""


@dataclass(frozen=True, slots=True)
class Patience:
    free_failures: int
    delay_ms_max: int

    def delay_ms(self, failures: int) -> int:
        over = failures - self.free_failures
        return 0 if over < 0 else min(FIRST_DELAY_MS << min(over, 30), self.delay_ms_max)


OF_PAIR = Patience(free_failures=5, delay_ms_max=15 * 60 * 1000)
OF_ADDRESS = Patience(free_failures=30, delay_ms_max=15 * 60 * 1000)
"""Behind one address may be an office of a hundred agents on a Monday morning."""
OF_LOGIN = Patience(free_failures=20, delay_ms_max=60 * 1000)
"""From all addresses. Short at most, or anybody could keep somebody out; and not asked where he has been before."""

_Key = tuple[str, ...]


class LoginAttempts:
    def __init__(self) -> None:
        self._failures: OrderedDict[_Key, tuple[int, int]] = OrderedDict()  # their number, and the last one's time
        self._known: OrderedDict[_Key, None] = OrderedDict()  # (login, address) that have logged in

    def wait_ms(self, login: str, address: str, now_ms: int) -> int:
        """How long to wait before an attempt is heard; 0 where it is now."""
        waits = [self._wait(("pair", login, address), OF_PAIR, now_ms), self._wait(("at", address), OF_ADDRESS, now_ms)]
        if (login, address) not in self._known:
            waits.append(self._wait(("login", login), OF_LOGIN, now_ms))
        return max(waits)

    def failed(self, login: str, address: str, now_ms: int) -> None:
        for key in (("pair", login, address), ("at", address), ("login", login)):
            failures, last_ms = self._failures.pop(key, (0, now_ms))
            self._failures[key] = (1 if now_ms - last_ms >= QUIET_MS else failures + 1, now_ms)
        _bound(self._failures)

    def succeeded(self, login: str, address: str) -> None:
        """His failures do not count any more. The address's do: a login of his own would free a thief's others."""
        self._failures.pop(("pair", login, address), None)
        self._failures.pop(("login", login), None)
        self._known.pop((login, address), None)
        self._known[login, address] = None
        _bound(self._known)

    def _wait(self, key: _Key, patience: Patience, now_ms: int) -> int:
        failures, last_ms = self._failures.get(key, (0, 0))
        if now_ms - last_ms >= QUIET_MS:
            return 0
        return max(0, last_ms + patience.delay_ms(failures) - now_ms)


def _bound(entries: OrderedDict[_Key, tuple[int, int]] | OrderedDict[_Key, None]) -> None:
    while len(entries) > ENTRIES_MAX:
        entries.popitem(last=False)
