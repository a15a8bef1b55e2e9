"""A call's trace as a ladder of text: a column for each leg, ours between the caller's and the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

COLUMN = 30
CLOCK = 12


class LadderMessage(Protocol):
    @property
    def at_us(self) -> int: ...
    @property
    def sent(self) -> bool: ...
    @property
    def peer(self) -> str: ...
    @property
    def leg(self) -> int: ...
    @property
    def first_line(self) -> str: ...


def ladder(messages: Sequence[LadderMessage]) -> str:
    """One line a message, with the seconds since the first; "" for none."""
    if not messages:
        return ""
    start_us = messages[0].at_us
    legs = sorted({0, *(message.leg for message in messages)})
    ours = 1  # our column comes after the caller's
    columns = {leg: 0 if leg == 0 else legs.index(leg) + 1 for leg in legs}
    peers = {message.leg: message.peer for message in reversed(messages)}
    count = len(legs) + 1
    titles = [""] * count
    titles[ours] = "axbridge"
    for leg, column in columns.items():
        titles[column] = peers.get(leg, "")
    lines = [" " * CLOCK + "".join(title.center(COLUMN) for title in titles).rstrip()]
    for message in messages:
        column = columns[message.leg]
        clock = f"{(message.at_us - start_us) / 1e6:.3f} s"
        lines.append(f"{clock:>{CLOCK}}" + _rung(count, ours, column, message.sent, _label(message.first_line)))
    return "\n".join(lines) + "\n"


def _label(first_line: str) -> str:
    """``INVITE`` of a request, ``180 Ringing`` of a response."""
    protocol, _, rest = first_line.partition(" ")
    return rest if protocol.upper().startswith("SIP/") else protocol


def _rung(count: int, ours: int, theirs: int, sent: bool, label: str) -> str:
    left, right = min(ours, theirs), max(ours, theirs)
    row = list(((" " * (COLUMN // 2)) + "│" + " " * (COLUMN - COLUMN // 2 - 1)) * count)
    start, end = left * COLUMN + COLUMN // 2 + 1, right * COLUMN + COLUMN // 2
    to_right = (theirs == right) == sent
    width = end - start
    label = label[: width - 4]
    row[start:end] = f" {label} ".center(width, "─")
    row[end - 1 if to_right else start] = ">" if to_right else "<"
    return "".join(row).rstrip()
