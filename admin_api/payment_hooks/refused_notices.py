"""Notices that were not believed, counted in memory: strangers send them, and may not make the database write."""

from __future__ import annotations

from dataclasses import dataclass, field

NOTED_MS = 60_000
"""How often one provider's are written down at most: the first at once, the others as a number with the next."""


@dataclass(slots=True)
class RefusedNotices:
    """Of this process. By provider, of whom there are three: bounded by that."""

    _counts: dict[str, int] = field(default_factory=dict)
    _noted_at_ms: dict[str, int] = field(default_factory=dict)

    def count(self, provider: str, now_ms: int) -> int:
        """One more was refused: how many to write down now, itself among them; 0 for none yet."""
        self._counts[provider] = self._counts.get(provider, 0) + 1
        noted_at_ms = self._noted_at_ms.get(provider)
        if noted_at_ms is not None and now_ms - noted_at_ms < NOTED_MS:
            return 0
        self._noted_at_ms[provider] = now_ms
        return self._counts.pop(provider)
