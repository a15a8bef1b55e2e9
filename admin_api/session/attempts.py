"""How often one may try to log in: each failure makes the next wait longer, whichever API process hears it.

Sans-IO: the failures are ``engine.store.access.login_failures``', and time is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.store.access.login_failures import QUIET_MS, subject_of

FIRST_DELAY_MS = 1_000
"""After the free failures; each further one doubles it."""


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


class Attempt:
    """Somebody's at an address. ``stored`` is what is known of its ``subjects``: failures, and the last one's time."""

    def __init__(self, login: str, address: str) -> None:
        self._pair = subject_of("pair", login, address)
        self._address = subject_of("at", address)
        self._login = subject_of("login", login)
        self.known = subject_of("known", login, address)

    @property
    def subjects(self) -> tuple[str, ...]:
        return (*self.counted, self.known)

    @property
    def counted(self) -> tuple[str, ...]:
        """What a failure is counted of."""
        return (self._pair, self._address, self._login)

    @property
    def forgiven(self) -> tuple[str, ...]:
        """By a success. The address's failures are not: a login of his own would free a thief's others."""
        return (self._pair, self._login)

    def wait_ms(self, stored: Mapping[str, tuple[int, int]], now_ms: int) -> int:
        """How long to wait before the attempt is heard; 0 where it is now."""
        asked = [(self._pair, OF_PAIR), (self._address, OF_ADDRESS)]
        if self.known not in stored:
            asked.append((self._login, OF_LOGIN))
        return max(_wait(stored.get(subject, (0, 0)), patience, now_ms) for subject, patience in asked)


def _wait(stored: tuple[int, int], patience: Patience, now_ms: int) -> int:
    failures, last_ms = stored
    if now_ms - last_ms >= QUIET_MS:
        return 0
    return max(0, last_ms + patience.delay_ms(failures) - now_ms)
