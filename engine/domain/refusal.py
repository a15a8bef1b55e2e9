"""What somebody asked for and cannot have, as every audience's API answers it."""

from __future__ import annotations

from collections.abc import Iterable


class Refusal(Exception):
    """The request's fault: ``field`` names what of it, ``reason`` why, and ``code`` says so to machines. No number."""

    def __init__(self, code: str, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.code = code
        self.field = field
        self.reason = reason
        self.more: tuple[tuple[str, str], ...] = ()
        """Further fields and reasons."""


class NotNow(Refusal):
    """What is there does not allow it; ``allowed`` is what could be asked for instead."""

    def __init__(self, code: str, field: str, reason: str, allowed: Iterable[str] = ()) -> None:
        super().__init__(code, field, reason)
        self.allowed = tuple(allowed)


class NotThere(Exception):
    """There is no such thing, or it is somebody else's: the answer is the same."""

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no such {what}")
