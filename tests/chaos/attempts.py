"""What the callers saw: SIPp's own logs, call attempt by call attempt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Attempt:
    """Times are seconds since the epoch by SIPp's clock, None for what never happened."""

    call_id: str
    caller: str
    dialled: str
    invited_at: float | None = None
    heard_at: float | None = None
    """The first response of whatever kind."""
    status: int | None = None
    """The final one."""
    acknowledged_at: float | None = None
    """Of a 200: from here on it talks."""
    hung_up_at: float | None = None
    """The caller's own BYE."""
    hung_up_status: int | None = None
    was_hung_up_at: float | None = None
    """The BYE that came."""
    over_at: float | None = None
    """When either BYE was there: the other side's, or the answer to the caller's own."""

    def talks_at(self, moment: float) -> bool:
        """Whether it was talking then, as far as its caller knew."""
        ends = [at for at in (self.hung_up_at, self.was_hung_up_at) if at is not None]
        return self.acknowledged_at is not None and self.acknowledged_at < moment and all(moment < at for at in ends)


def read_attempts(logs: Iterable[tuple[Path, Path]]) -> list[Attempt]:
    """From each caller's log of calls (``call CALL_ID CALLER DIALLED``) and SIPp's log of short messages.

    Calls whose INVITE was never sent are left out.
    """
    attempts: dict[str, Attempt] = {}
    for calls, messages in logs:
        for line in _lines(calls):
            match line.split():
                case ["call", call_id, caller, dialled]:
                    attempts[call_id] = Attempt(call_id, caller, dialled)
        for line in _lines(messages):
            fields = line.split("\t")
            if len(fields) == 7 and fields[4] in attempts:
                _note(attempts[fields[4]], float(fields[2]), fields[3] == "S", fields[5], fields[6])
    return [attempt for attempt in attempts.values() if attempt.invited_at is not None]


def _note(attempt: Attempt, at: float, sent: bool, cseq: str, first_line: str) -> None:
    method = cseq.split()[-1]
    word, _, rest = first_line.partition(" ")
    if sent:
        if word == "INVITE":
            attempt.invited_at = attempt.invited_at or at
        elif word == "ACK" and attempt.status == 200:
            attempt.acknowledged_at = attempt.acknowledged_at or at
        elif word == "BYE":
            attempt.hung_up_at = attempt.hung_up_at or at
    elif word == "BYE":
        attempt.was_hung_up_at = attempt.was_hung_up_at or at
        attempt.over_at = attempt.over_at or at
    elif word == "SIP/2.0":
        status = int(rest[:3])
        if method == "INVITE":
            attempt.heard_at = attempt.heard_at or at
            if status >= 200:
                attempt.status = attempt.status or status
        elif method == "BYE":
            attempt.hung_up_status = attempt.hung_up_status or status
            attempt.over_at = attempt.over_at or at


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
