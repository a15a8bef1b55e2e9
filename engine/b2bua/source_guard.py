"""Keeps strangers from costing known peers anything: rates by source, bans with an end, silence towards scanners.

Trunks are never limited here; their caps are their own. A source that has shown right credentials gets room for an
office full of phones. All strangers together have a budget too, since source addresses of UDP can be made up.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from sip.core.hop import Hop

SOURCES_MAX = 65_536
"""Sources that are remembered; the one heard of longest ago is forgotten first, its ban with it."""
SCANNER_MARKS = (b"friendly-scanner", b"sipvicious", b"sipcli", b"sip-scan", b"sipsak", b"pplsip", b"VaxSIPUserAgent")
"""What well-known scanners call themselves in User-Agent or From; whoever sends one of these gets no answer at all."""
MARK_SEARCHED_OCTETS = 1500


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Datagrams a second, with bursts of two seconds' worth; a ban's length in seconds."""

    stranger_datagrams_per_second: float = 30.0
    known_datagrams_per_second: float = 1000.0
    all_strangers_datagrams_per_second: float = 400.0
    failures_max: int = 10
    """Wrong credentials without a right one in between; then the source is banned."""
    ban_seconds: float = 600.0


class _Source:
    __slots__ = ("banned_until", "failures", "is_known", "refilled_at", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.refilled_at = now
        self.banned_until = 0.0
        self.failures = 0
        self.is_known = False


class SourceGuard:
    """``is_trunk(host, port)`` says whose datagrams always come in."""

    def __init__(self, settings: GuardSettings, is_trunk: Callable[[str, int], bool]) -> None:
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._is_trunk = is_trunk
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._all_tokens = 2 * settings.all_strangers_datagrams_per_second
        self._all_refilled_at = 0.0

    def admit(self, data: bytes, hop: Hop, now: float) -> bool:
        """Whether a datagram is worth reading. What is refused is counted and not answered."""
        host = hop.host
        if self._is_trunk(host, hop.port):
            return True
        source = self._sources.get(host)
        if source is None:
            source = self._add(host, now)
        if source.banned_until > now:
            self.counters["dropped_banned"] += 1
            return False
        rate = (
            self._settings.known_datagrams_per_second
            if source.is_known
            else self._settings.stranger_datagrams_per_second
        )
        source.tokens = min(source.tokens + (now - source.refilled_at) * rate, 2 * rate)
        source.refilled_at = now
        if source.tokens < 1:
            self.counters["dropped_over_rate"] += 1
            return False
        if not source.is_known and not self._admit_stranger(data, source, now):
            return False
        source.tokens -= 1
        return True

    def authenticated(self, hop: Hop) -> None:
        """The source has shown right credentials."""
        source = self._sources.get(hop.host)
        if source is not None:
            source.is_known = True
            source.failures = 0

    def authentication_failed(self, hop: Hop, now: float) -> None:
        """The source has shown wrong credentials; a challenge that is yet to be answered is none."""
        source = self._sources.get(hop.host) or self._add(hop.host, now)
        source.failures += 1
        if source.failures >= self._settings.failures_max:
            self._ban(source, now)

    def _admit_stranger(self, data: bytes, source: _Source, now: float) -> bool:
        start = data[:MARK_SEARCHED_OCTETS]
        if any(mark in start for mark in SCANNER_MARKS):
            self._ban(source, now)
            self.counters["dropped_scanner"] += 1
            return False
        rate = self._settings.all_strangers_datagrams_per_second
        self._all_tokens = min(self._all_tokens + (now - self._all_refilled_at) * rate, 2 * rate)
        self._all_refilled_at = now
        if self._all_tokens < 1:
            self.counters["dropped_over_all_strangers_rate"] += 1
            return False
        self._all_tokens -= 1
        return True

    def _add(self, host: str, now: float) -> _Source:
        if len(self._sources) >= SOURCES_MAX:
            self._sources.popitem(last=False)
        source = self._sources[host] = _Source(2 * self._settings.stranger_datagrams_per_second, now)
        return source

    def _ban(self, source: _Source, now: float) -> None:
        self.counters["bans"] += 1
        source.banned_until = now + self._settings.ban_seconds
        source.failures = 0
        source.is_known = False
