"""How often one may try to log in. Sans-IO: time is an argument."""

from __future__ import annotations

from collections import OrderedDict

ATTEMPTS_MAX = 10
"""For one login from one address within WINDOW_MS; then it waits."""
WINDOW_MS = 5 * 60 * 1000
ENTRIES_MAX = 10_000
"""Pairs of login and address that are remembered; a flood of others lets the oldest go, and costs no memory."""


class LoginAttempts:
    def __init__(self) -> None:
        self._windows: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()

    def wait_ms(self, login: str, address: str, now_ms: int) -> int:
        """Counts an attempt; how long to wait before the next is heard, 0 where this one is."""
        key = (login, address)
        began_ms, attempts = self._windows.pop(key, (now_ms, 0))
        if now_ms - began_ms >= WINDOW_MS:
            began_ms, attempts = now_ms, 0
        self._windows[key] = (began_ms, min(attempts + 1, ATTEMPTS_MAX + 1))
        while len(self._windows) > ENTRIES_MAX:
            self._windows.popitem(last=False)
        return 0 if attempts < ATTEMPTS_MAX else began_ms + WINDOW_MS - now_ms

    def forget(self, login: str, address: str) -> None:
        """After a success, earlier attempts do not count."""
        self._windows.pop((login, address), None)
