"""Whose fault it was: the peer's (answerable, counted, never a crash) or our own (a programming mistake)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sip.core.messages.message import Request


class PeerFault(Exception):
    """The peer sent something wrong.

    `status` and `reason` are what a request deserves as its answer (RFC 3261 §21); `reason` names the header at
    fault and never repeats its value, which may hold a phone number. `request` is set when enough of the message
    was understood to answer it.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.request: Request | None = None


class LocalFault(Exception):
    """We misused the stack: a header value with a line break, an answer to a call that is already over, …"""
